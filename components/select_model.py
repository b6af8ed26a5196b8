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
    from pathlib import Path

    from kineflow.evaluation.metrics import confusion_of
    from kineflow.evaluation.report.page import write_report
    from kineflow.evaluation.report.strips import example_clips, wheel_key
    from kineflow.evaluation.results import evaluation_metrics, write_evaluation
    from kineflow.models.bundle import save_bundle
    from kineflow.selection.outcome import select
    from kineflow.sets.clip_set import ClipSet, clips_digest
    from kineflow.sets.feature_set import FeatureSet
    from kineflow.sets.flow_set import FlowSet
    from kineflow.storage.files import atomic_folder
    from kineflow.tracking.lineage import lineage_tags

    clip_set, flow_set = ClipSet.load(clips), FlowSet.load(flow) if flow else None
    outcome = select(clip_set, FeatureSet.load(descriptions), descriptor, params, seed=seed)
    judged, version = outcome.evaluation, clips_digest(outcome.judged)
    lineage = {"clips and labels (sha256)": version, "test protocol": params.protocol(judged.models[0].scores.split)}
    lineage |= {name: fact for name, fact in lineage_tags(Path()).items() if not name.startswith(("env.", "mlflow."))}
    if run_id := getattr(tracker, "run_id", None):
        lineage["run"] = run_id
    write_report(
        report,
        judged,
        title=f"{params.name}: chosen by folds",
        examples=example_clips(judged, clip_set, flow_set, params.examples),
        wheel=wheel_key(),
        lineage=lineage,
    )
    with atomic_folder(evaluation) as partial:
        write_evaluation(partial, judged, version=version)
    save_bundle(model, outcome.network, outcome.card)
    # A column of each family would hide in MLflow what was chosen; the report and metrics.json have them.
    kept = (f"{params.name}/", "baselines/")
    metrics = {name: value for name, value in evaluation_metrics(judged).items() if name.startswith(kept)}
    scores = judged.scores_of(params.name)
    return StepResult(
        metrics=metrics,
        summary=f"{params.name} is the mean of {', '.join(outcome.members)}: {metrics[f'{params.name}/top1']:.1%}",
        confusion=(list(scores.classes), confusion_of(scores).tolist()),
        artifacts={"model": model, "evaluation": evaluation, "report.html": report},
        tags={"evaluation.data_version": version, "evaluation.split": scores.split},
    )


if __name__ == "__main__":
    command(select_model)
