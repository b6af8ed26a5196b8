"""Where attention networks look: tubes, figures against true boxes, and a report with pictures."""

from __future__ import annotations

from typing import Annotated

from components.frontend.command import command
from components.frontend.contract import (
    Between,
    DatasetInput,
    DatasetOutput,
    HtmlOutput,
    MeasuredResult,
    ModelInput,
    StepResult,
)
from kineflow.evaluation.attention.settings import LocaliseSettings
from kineflow.tracking.tracker import NULL_TRACKER, Tracker


def localise(
    *,
    clips: DatasetInput,
    flow: DatasetInput | None = None,
    models: Annotated[list[ModelInput], Between(1, 4)],
    params: LocaliseSettings,
    tracker: Tracker = NULL_TRACKER,
    localisation: DatasetOutput,
    report: HtmlOutput,
) -> MeasuredResult:
    """Find actors by the attention of up to four models.

    Where there are true boxes, it is compared with them.

    Args:
        clips: Clip set.
        flow: Flow set; needed by models that take flow, and shown in the report.
        models: Model bundles with attention over maps, one to four.
        params: See :class:`kineflow.evaluation.attention.settings.LocaliseSettings`.
        tracker: Tells which run the report belongs to.
        localisation: Folder to write: figures and tubes, as in :mod:`kineflow.evaluation.attention.compare`.
        report: HTML page to write.
    """
    from pathlib import Path

    from kineflow.evaluation.attention.compare import compare_attention, localisation_metrics, write_localisation
    from kineflow.evaluation.attention.page import Report, write_localisation_page
    from kineflow.evaluation.report.strips import wheel_key
    from kineflow.sets.clip_set import ClipSet, clips_digest
    from kineflow.sets.flow_set import FlowSet
    from kineflow.storage.files import atomic_folder
    from kineflow.tracking.lineage import lineage_tags

    clip_set = ClipSet.load(clips)
    flow_set = FlowSet.load(flow) if flow else None
    compared = compare_attention(models, clip_set, flow_set, params)
    version = clips_digest(compared.clips)
    lineage = {"clips and labels (sha256)": version}
    lineage |= {name: fact for name, fact in lineage_tags(Path()).items() if not name.startswith(("env.", "mlflow."))}
    if run_id := getattr(tracker, "run_id", None):
        lineage["run"] = run_id
    write_localisation_page(
        report,
        Report(
            settings=params,
            clips=len(compared.clips),
            figures=compared.figures,
            whole_frame=compared.whole_frame,
            most_entropy=compared.most_entropy,
            examples=compared.examples,
            wheel=wheel_key(),
            lineage=lineage,
        ),
    )
    with atomic_folder(localisation) as partial:
        write_localisation(partial, compared, params, version=version)
    metrics = localisation_metrics(compared)
    metric = "video_map" if compared.whole_frame else "entropy"
    return StepResult(
        metrics=metrics,
        summary=f"{metric}: " + ", ".join(f"{model} {metrics[f'{model}/{metric}']:.3f}" for model in compared.figures),
        artifacts={"localisation": localisation, "report.html": report},
        tags={"localisation.data_version": version, "localisation.split": params.split},
    )


if __name__ == "__main__":
    command(localise)
