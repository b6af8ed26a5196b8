"""The recipes by name, found by listing their folder, and how one is loaded."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from kineflow.storage.errors import KineflowError
from pipelines.dag.optional import left_out, traced_for

_FOLDER = Path(__file__).resolve().parents[1] / "recipes"


def recipe_names() -> tuple[str, ...]:
    """Names of all recipes, sorted: each is a file of ``pipelines/recipes/`` with a pipeline of the same name."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.py") if path.stem != "__init__"))


def load_pipeline(recipe: str, given: Collection[str] = ()) -> Any:
    """The KFP pipeline function of a recipe.

    Args:
        recipe: Its name.
        given: Contents of a parameter file, or its keys. With a section that the recipe does without it has the steps
            that come with it.

    Raises:
        KineflowError: No such recipe.
    """
    return traced_for(_pipeline(recipe), given)


def tasks_left_out(recipe: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Tasks that a recipe does without because of values in its parameters, each with the reason.

    Raises:
        KineflowError: No such recipe.
    """
    return left_out(_pipeline(recipe), values)


def _pipeline(recipe: str) -> Any:
    if recipe not in (known := recipe_names()):
        raise KineflowError(f"no recipe {recipe!r}", remedy=f"choose one of {', '.join(known)}")
    return getattr(importlib.import_module(f"pipelines.recipes.{recipe}"), recipe)
