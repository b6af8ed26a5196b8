"""Descriptions of labelled clips to the model that they choose, and what it has shown."""

from __future__ import annotations

from components.frontend.command import command
from components.frontend.contract import (
    ClassifiedResult,
    DatasetInput,
    DatasetOutput,
    HtmlOutput,
    ModelInput,
    ModelOutput,
    StepResult,
)
from kineflow.selection.settings import SelectSettings
from kineflow.tracking.tracker import NULL_TRACKER, Tracker


def select_model(
    *,
    clips: DatasetInput,
    flow: DatasetInput | None = None,
    descriptions: DatasetInput,
    descriptor: ModelInput,
    params: SelectSettings,
    seed: int = 0,
    tracker: Tracker = NULL_TRACKER,
    model: ModelOutput,
    evaluation: DatasetOutput,
    report: HtmlOutput,
) -> ClassifiedResult:
    """Choose among families of descriptors by folds, average the best, and judge that.

    Where the clip set has labelled test clips, they judge; else nested folds do: every clip is scored by a model that
    was chosen and fitted without any clip of its group. The model that is written has learnt from all clips of
    ``train`` and ``val``.

    Args:
        clips: Clip set.
        flow: Flow set; shown in the report.
        descriptions: Feature set of the step describe.
        descriptor: Bundle of the network that made it.
        params: See :class:`SelectSettings`.
        seed: Decides the folds.
        tracker: Tells which run the report belongs to.
        model: Folder to write: the bundle.
        evaluation: Folder to write: scores, ``metrics.json`` and tables, as the step evaluate does.
        report: HTML page to write.

    Raises:
        KineflowError: Descriptions are another network's, or a class has clips of one group only.
    """
    from kineflow.evaluation.metrics import confusion_of
    from kineflow.evaluation.report.outputs import tags_of, warnings_of, write_outputs
    from kineflow.evaluation.results import evaluation_metrics
    from kineflow.models.bundle import save_bundle
    from kineflow.selection.outcome import select
    from kineflow.sets.clip_set import ClipSet, clips_digest
    from kineflow.sets.feature_set import FeatureSet
    from kineflow.sets.flow_set import FlowSet

    clip_set, flow_set = ClipSet.load(clips), FlowSet.load(flow) if flow else None
    outcome = select(clip_set, FeatureSet.load(descriptions), descriptor, params, seed=seed)
    judged, version = outcome.evaluation, clips_digest(outcome.judged)
    scores = judged.scores_of(params.name)
    write_outputs(
        judged,
        clip_set,
        flow_set,
        folder=evaluation,
        report=report,
        title=f"{params.name}: chosen by folds",
        protocol=params.protocol(scores.split),
        views=outcome.views,
        version=version,
        examples=params.examples,
        run_id=getattr(tracker, "run_id", None),
    )
    save_bundle(model, outcome.network, outcome.card)
    # A column of each family would hide in MLflow what was chosen; the report and metrics.json have them.
    kept = (f"{params.name}/", "baselines/")
    metrics = {name: value for name, value in evaluation_metrics(judged).items() if name.startswith(kept)}
    chosen = f"{params.name} is the mean of {', '.join(outcome.members)}: {metrics[f'{params.name}/top1']:.1%}"
    return StepResult(
        metrics=metrics,
        summary="; ".join([chosen, *warnings_of(judged)]),
        confusion=(list(scores.classes), confusion_of(scores).tolist()),
        artifacts={"model": model, "evaluation": evaluation, "report.html": report},
        tags=tags_of(evaluation, version=version, split=scores.split, protocol=params.protocol(scores.split)),
    )


if __name__ == "__main__":
    command(select_model)
