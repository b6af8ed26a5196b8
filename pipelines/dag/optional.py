"""Sections that a recipe does without, and the steps that come with them.

A recipe gives such a section the default None, and leaves its steps out where it is None. Sections that come together
stand in one group::

    @dsl.pipeline(name="d3d")
    @with_optional_sections(["descriptor", "selection"], ["own_teacher"])
    def d3d(seed: int, ingestion: dict, descriptor: dict | None = None, …) -> None:

KFP, whose graphs are fixed before parameters are known, traces that without them; :func:`with_sections` traces it with
the groups that a parameter file has a section of.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any

_WHOLE, _GROUPS = "whole_signature", "section_groups"


def with_optional_sections(*groups: Collection[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Hide the sections of a recipe whose default is None from KFP; every one is in one of the groups."""

    def hide(recipe: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(recipe)
        vars(recipe)[_WHOLE] = signature
        vars(recipe)[_GROUPS] = tuple(frozenset(group) for group in groups)
        vars(recipe)["__signature__"] = _without(signature, frozenset().union(*groups))
        return recipe

    return hide


def section_groups(pipeline: Any) -> tuple[frozenset[str], ...]:
    """The groups of sections that a recipe does without."""
    groups: tuple[frozenset[str], ...] = vars(pipeline.pipeline_func).get(_GROUPS, ())
    return groups


def with_sections(pipeline: Any, given: Collection[str]) -> Any:
    """The recipe traced with the groups that have a section among ``given``; itself where none has."""
    from kfp import dsl

    groups = section_groups(pipeline)
    absent = [group for group in groups if group.isdisjoint(given)]
    if len(absent) == len(groups):
        return pipeline
    recipe, described = pipeline.pipeline_func, pipeline.pipeline_spec.pipeline_info
    signature = _without(vars(recipe)[_WHOLE], frozenset().union(*absent))

    def traced(*sections: Any) -> None:
        recipe(**dict(zip(signature.parameters, sections, strict=True)))

    vars(traced)["__signature__"] = signature
    return dsl.pipeline(name=described.name, description=described.description)(traced)


def _without(signature: inspect.Signature, names: Collection[str]) -> inspect.Signature:
    """The signature without some sections; those that are left are required."""
    return signature.replace(
        parameters=[
            each.replace(annotation=dict, default=each.empty) if each.default is None else each
            for each in signature.parameters.values()
            if each.name not in names
        ]
    )
