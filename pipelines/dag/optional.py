"""What a recipe does without: sections and the steps that come with them, and steps of no use with these parameters.

A recipe gives such a section the default None, and leaves its steps out where it is None. Sections that come together
stand in one group. Where values decide, it has a keyword that tells how::

    @dsl.pipeline(name="d3d")
    @with_optional_sections(["descriptor", "selection"], ["own_teacher"])
    def d3d(
        seed: int,
        ingestion: dict,
        descriptor: dict | None = None,
        *,
        distilled: Annotated[bool, Where(has_unlabelled, "it would be the student again")] = True,
    ) -> None:

KFP, whose graphs are fixed before parameters are known, traces that without the sections, and does not see the
keywords; :func:`traced_for` traces it for a parameter file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

_WHOLE, _GROUPS, _SWITCHES = "whole_signature", "section_groups", "switches"


@dataclass(frozen=True)
class Where:
    """When a recipe has a step.

    Attributes:
        holds: Tells it by the parameters, as they are written: any value may be missing or of any type.
        otherwise: Why it does without, in words.
    """

    holds: Callable[[Mapping[str, Any]], bool]
    otherwise: str


def with_optional_sections(*groups: Collection[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Hide from KFP the sections of a recipe whose default is None, each in one of the groups, and its keywords."""

    def hide(recipe: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(recipe)
        keywords = [each for each in signature.parameters.values() if each.kind is each.KEYWORD_ONLY]
        whole = _without(signature, {each.name for each in keywords})
        vars(recipe)[_WHOLE] = whole
        vars(recipe)[_GROUPS] = tuple(frozenset(group) for group in groups)
        vars(recipe)[_SWITCHES] = {each.name: each.annotation.__metadata__[0] for each in keywords}
        vars(recipe)["__signature__"] = _without(whole, frozenset().union(*groups))
        return recipe

    return hide


def section_groups(pipeline: Any) -> tuple[frozenset[str], ...]:
    """The groups of sections that a recipe does without."""
    groups: tuple[frozenset[str], ...] = vars(pipeline.pipeline_func).get(_GROUPS, ())
    return groups


def left_out(pipeline: Any, values: Mapping[str, Any]) -> dict[str, str]:
    """Names of the tasks that a recipe does without because of values in the parameters, each with the reason."""
    switches: Mapping[str, Where] = vars(pipeline.pipeline_func).get(_SWITCHES, {})
    return {name: where.otherwise for name, where in switches.items() if not where.holds(values)}


def traced_for(pipeline: Any, given: Collection[str]) -> Any:
    """The recipe traced for a parameter file: with the groups of optional sections of which one is there.

    Args:
        pipeline: As KFP has traced it.
        given: Contents of the file; keys alone decide nothing by values.
    """
    off = left_out(pipeline, given) if isinstance(given, Mapping) else {}
    groups = section_groups(pipeline)
    absent = [group for group in groups if group.isdisjoint(given)]
    if len(absent) == len(groups) and not off:
        return pipeline
    from kfp import dsl

    recipe, described = pipeline.pipeline_func, pipeline.pipeline_spec.pipeline_info
    whole = vars(recipe).get(_WHOLE) or inspect.signature(recipe)
    signature = _without(whole, frozenset().union(*absent))

    def traced(*sections: Any) -> None:
        recipe(**dict(zip(signature.parameters, sections, strict=True)), **dict.fromkeys(off, False))

    vars(traced)["__signature__"] = signature
    return dsl.pipeline(name=described.name, description=described.description)(traced)


def _without(signature: inspect.Signature, names: Collection[str]) -> inspect.Signature:
    """The signature without some parameters; sections that are left are required."""
    return signature.replace(
        parameters=[
            each.replace(annotation=dict, default=each.empty) if each.default is None else each
            for each in signature.parameters.values()
            if each.name not in names
        ]
    )
