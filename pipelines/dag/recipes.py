"""The recipes by name, found by listing their folder, and how one is loaded."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from kineflow.storage.errors import KineflowError
from pipelines.dag.optional import with_sections

_FOLDER = Path(__file__).resolve().parents[1] / "recipes"


def recipe_names() -> tuple[str, ...]:
    """Names of all recipes, sorted: each is a file of ``pipelines/recipes/`` with a pipeline of the same name."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.py") if path.stem != "__init__"))


def load_pipeline(recipe: str, given: Collection[str] = ()) -> Any:
    """The KFP pipeline function of a recipe.

    Args:
        recipe: Its name.
        given: Keys of a parameter file. With a section that the recipe does without it has the steps that come with it.

    Raises:
        KineflowError: No such recipe.
    """
    if recipe not in (known := recipe_names()):
        raise KineflowError(f"no recipe {recipe!r}", remedy=f"choose one of {', '.join(known)}")
    pipeline = getattr(importlib.import_module(f"pipelines.recipes.{recipe}"), recipe)
    return with_sections(pipeline, given)
