"""The recipes by name, found by listing their folder, and how one is loaded."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from kineflow.storage.errors import KineflowError

_FOLDER = Path(__file__).resolve().parents[1] / "recipes"


def recipe_names() -> tuple[str, ...]:
    """Names of all recipes, sorted: each is a file of ``pipelines/recipes/`` with a pipeline of the same name."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.py") if path.stem != "__init__"))


def load_pipeline(recipe: str) -> Any:
    """The KFP pipeline function of a recipe.

    Raises:
        KineflowError: No such recipe.
    """
    if recipe not in (known := recipe_names()):
        raise KineflowError(f"no recipe {recipe!r}", remedy=f"choose one of {', '.join(known)}")
    return getattr(importlib.import_module(f"pipelines.recipes.{recipe}"), recipe)
