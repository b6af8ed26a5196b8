"""Models, clip set and flow set to what the models' features tell of motion."""

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
from kineflow.evaluation.probe_settings import ProbeSettings
from kineflow.tracking.tracker import NULL_TRACKER, Tracker


def probe_motion(
    *,
    clips: DatasetInput,
    flow: DatasetInput,
    models: Annotated[list[ModelInput], Between(1, 6)],
    params: ProbeSettings,
    seed: int = 0,
    tracker: Tracker = NULL_TRACKER,
    probes: DatasetOutput,
    report: HtmlOutput,
) -> MeasuredResult:
    """Compare up to six networks by the optical flow that can be decoded from their features.

    Beside each stands an untrained one like it (D3D §3.1).

    An interrupted run continues with the first network that it had not finished.

    Args:
        clips: Clip set.
        flow: Flow set; what is decoded.
        models: Model bundles of S3D or S3D-G, one to six.
        params: See :class:`kineflow.evaluation.probe_settings.ProbeSettings`.
        seed: Decides untrained networks, the decoders' first weights, the order of the clips, and windows and crops.
        tracker: Tells which run the report belongs to.
        probes: Folder to write: errors, ``metrics.json`` and a table, as in :mod:`kineflow.evaluation.probe_results`.
        report: HTML page to write.
    """
    from pathlib import Path

    from kineflow.evaluation.probe_results import probe_metrics, write_probing
    from kineflow.evaluation.probing import probe_networks
    from kineflow.evaluation.report.probe_page import write_probe_report
    from kineflow.sets.clip_set import clips_digest
    from kineflow.spec.split import Split
    from kineflow.storage.files import atomic_folder
    from kineflow.tracking.lineage import lineage_tags
    from kineflow.training.outputs import load_data, training_work

    data = load_data(clips, flow)
    assert data.flow_set is not None
    with training_work(probes, clips, flow, models, params, seed) as work:
        probing = probe_networks(models, data.clip_set, data.flow_set, params, seed=seed, work=work)
        version = clips_digest(data.clip_set.usable(Split(params.split)))
        lineage = {"clips and labels (sha256)": version, "steps of each decoder": str(params.steps)}
        lineage |= {
            name: fact for name, fact in lineage_tags(Path()).items() if not name.startswith(("env.", "mlflow."))
        }
        if run_id := getattr(tracker, "run_id", None):
            lineage["run"] = run_id
        write_probe_report(report, probing, title="Motion probes", lineage=lineage)
        with atomic_folder(probes) as partial:
            write_probing(partial, probing, facts={"version": version, "bound_px": data.flow_set.bound_px})
    site = probing.sites[-1]
    return StepResult(
        metrics=probe_metrics(probing),
        summary=f"px at {site[0]} by {site[1]}: "
        + ", ".join(f"{each.name} {probing.summary(each.name, site).error.value:.3f}" for each in probing.networks),
        artifacts={"probes": probes, "report.html": report},
        tags={"probes.data_version": version, "probes.split": params.split},
    )


if __name__ == "__main__":
    command(probe_motion)
