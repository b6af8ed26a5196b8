"""What a recipe does without: sections and the steps that come with them, and steps of no use with these parameters.

A recipe gives such a section the default None, and leaves its steps out where it is None. Where values decide, it has
a keyword that tells how, and that KFP does not see::

    @dsl.pipeline(name="d3d")
    @with_optional_sections
    def d3d(
        seed: int,
        ingestion: dict,
        descriptor: dict | None = None,
        *,
        distilled: Annotated[bool, Where(has_unlabelled, "it would be the student again")] = True,
    ) -> None:

KFP, whose graphs are fixed before parameters are known, traces that without the sections; :func:`traced_for` traces it
for a parameter file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

_WHOLE, _SWITCHES = "whole_signature", "switches"


@dataclass(frozen=True)
class Where:
    """When a recipe has a step.

    Attributes:
        holds: Tells it by the parameters, as they are written: any value may be missing or of any type.
        otherwise: Why it does without, in words.
    """

    holds: Callable[[Mapping[str, Any]], bool]
    otherwise: str


def with_optional_sections(recipe: Callable[..., None]) -> Callable[..., None]:
    """Hide from KFP the sections of a recipe whose default is None, and its keywords."""
    signature = inspect.signature(recipe)
    keywords = [each for each in signature.parameters.values() if each.kind is each.KEYWORD_ONLY]
    sections = [each for each in signature.parameters.values() if each not in keywords]
    required = [each for each in sections if each.default is not None]
    given = [each.replace(annotation=dict, default=each.empty) if each.default is None else each for each in sections]
    vars(recipe)[_WHOLE] = signature.replace(parameters=given)
    vars(recipe)[_SWITCHES] = {each.name: each.annotation.__metadata__[0] for each in keywords}
    vars(recipe)["__signature__"] = signature.replace(parameters=required)
    return recipe


def optional_sections(pipeline: Any) -> frozenset[str]:
    """Names of the sections that a traced recipe does without."""
    recipe = pipeline.pipeline_func
    known = vars(recipe).get(_WHOLE)
    return frozenset(known.parameters) - frozenset(inspect.signature(recipe).parameters) if known else frozenset()


def left_out(pipeline: Any, values: Mapping[str, Any]) -> dict[str, str]:
    """Names of the tasks that a recipe does without because of values in the parameters, each with the reason."""
    switches: Mapping[str, Where] = vars(pipeline.pipeline_func).get(_SWITCHES, {})
    return {name: where.otherwise for name, where in switches.items() if not where.holds(values)}


def traced_for(pipeline: Any, given: Collection[str]) -> Any:
    """The recipe traced for a parameter file: with all of its optional sections if one is there.

    Args:
        pipeline: As KFP has traced it.
        given: Contents of the file; keys alone decide nothing by values.
    """
    off = left_out(pipeline, given) if isinstance(given, Mapping) else {}
    whole = not optional_sections(pipeline).isdisjoint(given)
    if not (whole or off):
        return pipeline
    from kfp import dsl

    recipe, described = pipeline.pipeline_func, pipeline.pipeline_spec.pipeline_info

    def traced(*sections: Any) -> None:
        recipe(*sections, **dict.fromkeys(off, False))

    vars(traced)["__signature__"] = vars(recipe)[_WHOLE] if whole else inspect.signature(recipe)
    return dsl.pipeline(name=described.name, description=described.description)(traced)
