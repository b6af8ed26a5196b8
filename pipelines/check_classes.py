"""What takes one class a clip, where the lists give clips several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kineflow.data.layouts.rows import ListedClip
from kineflow.spec.classes import several_classes
from kineflow.storage.errors import KineflowError
from pipelines.plan import Plan

_OF_ONE_CLASS = "mean_class_accuracy"


def look_at_classes(plan: Plan, listed: Sequence[ListedClip]) -> Iterator[KineflowError]:
    """Trainings, folds, tests and gates that cannot do with the clips of a source."""
    from kineflow.evaluation.settings import EvaluateSettings
    from kineflow.registry.policy import Gate
    from kineflow.selection.settings import BlendSettings
    from kineflow.training.recurrent_settings import RecurrentSettings
    from kineflow.training.settings import RunSettings

    if not any(clip.also for clip in listed):
        return
    for key, kind in {key: kind for _, key, kind in plan.sections()}.items():
        values = plan.values[key]
        if issubclass(kind, RecurrentSettings):
            cannot = "" if values["network"].get("multi_label") else f"{key} without network.multi_label"
        elif issubclass(kind, EvaluateSettings):
            cannot = "view_aggregation: majority" if values["view_aggregation"] == "majority" else ""
        else:
            cannot = f"{key} of {plan.graph.recipe}" if issubclass(kind, RunSettings | BlendSettings) else ""
        if cannot:
            error = several_classes(cannot)
            yield KineflowError(error.problem, where=key, remedy=error.remedy)
    for _, key, _ in plan.sections(Gate):
        values = plan.values[key]
        asked = {"primary_metric": [values["primary_metric"]], "floors": values["floors"]}
        for where, figures in asked.items():
            if _OF_ONE_CLASS in figures:
                yield KineflowError(
                    f"clips of several classes have no {_OF_ONE_CLASS}",
                    where=f"{key}.{where}",
                    remedy="choose top1, or average_precision with test: none (docs/systems.md)",
                )
