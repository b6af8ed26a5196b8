"""Models and clips to scores, figures and one report."""

from __future__ import annotations

from typing import Annotated

from components.frontend.command import command
from components.frontend.contract import (
    Between,
    ClassifiedResult,
    DatasetInput,
    DatasetOutput,
    HtmlOutput,
    ModelInput,
    StepResult,
)
from kineflow.evaluation.settings import EvaluateSettings
from kineflow.tracking.tracker import NULL_TRACKER, Tracker


def evaluate(
    *,
    clips: DatasetInput,
    flow: DatasetInput | None = None,
    warped: DatasetInput | None = None,
    models: Annotated[list[ModelInput], Between(1, 8)],
    params: EvaluateSettings,
    tracker: Tracker = NULL_TRACKER,
    evaluation: DatasetOutput,
    report: HtmlOutput,
) -> ClassifiedResult:
    """Score up to eight models on the same clips, fuse and compare them.

    Args:
        clips: Clip set.
        flow: Flow set; needed by models that take flow, and shown in the report.
        warped: Flow set without the camera's motion; needed by models that take warped flow.
        models: Model bundles, one to eight. Their names are those in their ``model.json``.
        params: See :class:`kineflow.evaluation.settings.EvaluateSettings`.
        tracker: Tells which run the report belongs to.
        evaluation: Folder to write: scores, ``metrics.json`` and tables, as in :mod:`kineflow.evaluation.results`.
        report: HTML page to write.
    """
    from kineflow.evaluation.compare import compare_models
    from kineflow.evaluation.metrics import confusion_of
    from kineflow.evaluation.report.outputs import tags_of, warnings_of, write_outputs
    from kineflow.evaluation.results import evaluation_metrics
    from kineflow.sets.clip_set import ClipSet, clips_digest
    from kineflow.sets.flow_set import FlowSet
    from kineflow.spec.split import Split

    clip_set = ClipSet.load(clips)
    flow_set = FlowSet.load(flow) if flow else None
    warped_set = FlowSet.load(warped) if warped else None
    compared = compare_models(models, clip_set, flow_set, params, warped_set=warped_set)
    version = clips_digest(clip_set.usable(Split(params.split)))
    write_outputs(
        compared,
        clip_set,
        flow_set,
        folder=evaluation,
        report=report,
        title=f"{compared.student}: evaluation",
        protocol=params.protocol,
        views=params.views,
        other_views={model: params.views_of(model) for model in params.clips_per_video_of},
        version=version,
        examples=params.examples,
        run_id=getattr(tracker, "run_id", None),
    )
    counts = confusion_of(compared.scores_of(compared.student)).tolist()
    metrics = evaluation_metrics(compared)
    words = [", ".join(f"{model.name} {metrics[f'{model.name}/top1']:.1%}" for model in compared.models)]
    words += [compared.choice.sentence] if compared.choice else []
    return StepResult(
        metrics=metrics,
        summary="; ".join([*words, *warnings_of(compared)]),
        confusion=(list(compared.scores_of(compared.student).classes), counts),
        artifacts={"evaluation": evaluation, "report.html": report},
        tags=tags_of(evaluation, version=version, split=params.split, protocol=params.protocol),
    )


if __name__ == "__main__":
    command(evaluate)
