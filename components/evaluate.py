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
    models: Annotated[list[ModelInput], Between(1, 6)],
    params: EvaluateSettings,
    tracker: Tracker = NULL_TRACKER,
    evaluation: DatasetOutput,
    report: HtmlOutput,
) -> ClassifiedResult:
    """Score up to six models on the same clips, fuse and compare them.

    Args:
        clips: Clip set.
        flow: Flow set; needed by models that take flow, and shown in the report.
        warped: Flow set without the camera's motion; needed by models that take warped flow.
        models: Model bundles, one to six. Their names are those in their ``model.json``.
        params: See :class:`kineflow.evaluation.settings.EvaluateSettings`.
        tracker: Tells which run the report belongs to.
        evaluation: Folder to write: scores, ``metrics.json`` and tables, as in :mod:`kineflow.evaluation.results`.
        report: HTML page to write.
    """
    from pathlib import Path

    from kineflow.evaluation.compare import compare_models
    from kineflow.evaluation.metrics import confusion_of
    from kineflow.evaluation.report.findings import against_trivial, is_beaten, one_answer
    from kineflow.evaluation.report.page import write_report
    from kineflow.evaluation.report.strips import example_clips, wheel_key
    from kineflow.evaluation.results import clips_digest, evaluation_metrics, write_evaluation
    from kineflow.sets.clip_set import ClipSet
    from kineflow.sets.flow_set import FlowSet
    from kineflow.spec.split import Split
    from kineflow.storage.files import atomic_folder
    from kineflow.tracking.lineage import lineage_tags

    clip_set = ClipSet.load(clips)
    flow_set = FlowSet.load(flow) if flow else None
    warped_set = FlowSet.load(warped) if warped else None
    compared = compare_models(models, clip_set, flow_set, params, warped_set=warped_set)
    version = clips_digest(clip_set.usable(Split(params.split)))
    lineage = {"clips and labels (sha256)": version, "test protocol": params.protocol}
    lineage |= {name: fact for name, fact in lineage_tags(Path()).items() if not name.startswith(("env.", "mlflow."))}
    if run_id := getattr(tracker, "run_id", None):
        lineage["run"] = run_id
    write_report(
        report,
        compared,
        title=f"{compared.student}: evaluation",
        examples=example_clips(compared, clip_set, flow_set, params.examples),
        wheel=wheel_key(),
        lineage=lineage,
    )
    with atomic_folder(evaluation) as partial:
        write_evaluation(partial, compared, version=version)
    warnings = [against_trivial(compared)] if is_beaten(compared) else []
    warnings += filter(None, [one_answer(compared.scores_of(compared.student))])
    counts = confusion_of(compared.scores_of(compared.student)).tolist()
    metrics = evaluation_metrics(compared)
    return StepResult(
        metrics=metrics,
        summary="; ".join([", ".join(f"{m.name} {metrics[f'{m.name}/top1']:.1%}" for m in compared.models), *warnings]),
        confusion=(list(compared.scores_of(compared.student).classes), counts),
        artifacts={"evaluation": evaluation, "report.html": report},
        tags={"evaluation.data_version": version, "evaluation.split": params.split},
    )


if __name__ == "__main__":
    command(evaluate)
