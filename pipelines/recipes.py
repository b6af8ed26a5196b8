"""The recipes by name, and how one is loaded."""

from __future__ import annotations

import importlib
from typing import Any

from kineflow.errors import KineflowError

RECIPES = ("d3d", "d3d_variants", "tsn", "st_resnet", "alstm", "videolstm")


def load_pipeline(recipe: str) -> Any:
    """The KFP pipeline function of a recipe.

    Raises:
        KineflowError: No such recipe.
    """
    if recipe not in RECIPES:
        raise KineflowError(f"no recipe {recipe!r}", remedy=f"choose one of {', '.join(RECIPES)}")
    return getattr(importlib.import_module(f"pipelines.{recipe}"), recipe)
