"""Where attention networks look: tubes, figures against true boxes, and a report with pictures."""

from __future__ import annotations

from components.contract import Input, Output, StepResult
from components.localise.params import LocaliseParams
from kineflow.tracking.tracker import NULL_TRACKER, Tracker


def localise(
    *,
    clips: Input,
    flow: Input | None = None,
    first: Input,
    second: Input | None = None,
    third: Input | None = None,
    fourth: Input | None = None,
    params: LocaliseParams,
    seed: int = 0,  # noqa: ARG001  every step takes a seed; nothing here is drawn at random
    tracker: Tracker = NULL_TRACKER,
    localisation: Output,
    report: Output,
) -> StepResult:
    """Find actors by the attention of up to four models, and compare with true boxes where there are any.

    Args:
        clips: Clip set.
        flow: Flow set; needed by models that take flow, and shown in the report.
        first: Model bundle with attention over maps; so are ``second`` to ``fourth``.
        second: See ``first``.
        third: See ``first``.
        fourth: See ``first``.
        params: See :class:`kineflow.evaluation.attention.settings.LocaliseSettings`.
        seed: Unused.
        tracker: Tells which run the report belongs to.
        localisation: Folder to write: figures and tubes, as in :mod:`kineflow.evaluation.attention.compare`.
        report: HTML page to write.
    """
    from pathlib import Path

    from kineflow.data.manifest import ClipSet
    from kineflow.evaluation.attention.compare import compare_attention, flat_metrics, write_localisation
    from kineflow.evaluation.attention.page import Report, write_report
    from kineflow.evaluation.report.strips import wheel_key
    from kineflow.evaluation.results import data_version
    from kineflow.flow.store import FlowSet
    from kineflow.storage.files import atomic_folder
    from kineflow.tracking.lineage import lineage_tags

    clip_set = ClipSet.load(clips)
    flow_set = FlowSet.load(flow) if flow else None
    bundles = [bundle for bundle in (first, second, third, fourth) if bundle]
    compared = compare_attention(bundles, clip_set, flow_set, params)
    version = data_version(compared.clips)
    lineage = {"clips and labels (sha256)": version}
    lineage |= {name: fact for name, fact in lineage_tags(Path()).items() if not name.startswith(("env.", "mlflow."))}
    if run_id := getattr(tracker, "run_id", None):
        lineage["run"] = run_id
    write_report(
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
    metrics = flat_metrics(compared)
    told = "video_map" if compared.whole_frame else "entropy"
    return StepResult(
        metrics=metrics,
        summary=f"{told}: " + ", ".join(f"{model} {metrics[f'{model}/{told}']:.3f}" for model in compared.figures),
        artifacts={"localisation": localisation, "report.html": report},
        tags={"localisation.data_version": version, "localisation.split": params.split},
    )
