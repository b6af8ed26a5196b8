"""Sections that a recipe does without, and the steps that come with them.

A recipe gives such a section the default None, and leaves its steps out where it is None::

    @dsl.pipeline(name="d3d")
    @with_optional_sections
    def d3d(seed: int, ingestion: dict, descriptor: dict | None = None) -> None:

KFP, whose graphs are fixed before parameters are known, traces that without them; :func:`whole` traces it with all.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

_WHOLE = "whole_signature"


def with_optional_sections(recipe: Callable[..., None]) -> Callable[..., None]:
    """Hide the sections of a recipe whose default is None from KFP."""
    signature = inspect.signature(recipe)
    sections = signature.parameters.values()
    required = [each for each in sections if each.default is not None]
    given = [each.replace(annotation=dict, default=each.empty) if each.default is None else each for each in sections]
    vars(recipe)[_WHOLE] = signature.replace(parameters=given)
    vars(recipe)["__signature__"] = signature.replace(parameters=required)
    return recipe


def optional_sections(pipeline: Any) -> frozenset[str]:
    """Names of the sections that a traced recipe does without."""
    recipe = pipeline.pipeline_func
    known = vars(recipe).get(_WHOLE)
    return frozenset(known.parameters) - frozenset(inspect.signature(recipe).parameters) if known else frozenset()


def whole(pipeline: Any) -> Any:
    """The recipe traced with all of its optional sections."""
    from kfp import dsl

    recipe, described = pipeline.pipeline_func, pipeline.pipeline_spec.pipeline_info

    def traced(*sections: Any) -> None:
        recipe(*sections)

    vars(traced)["__signature__"] = vars(recipe)[_WHOLE]
    return dsl.pipeline(name=described.name, description=described.description)(traced)
