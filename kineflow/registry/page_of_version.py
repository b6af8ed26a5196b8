"""The page of a version: kept with the run that registered it, and named in the version's description."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from kineflow.models.card import ModelCard
from kineflow.registry.aliases import store_errors
from kineflow.registry.measured import Measured
from kineflow.registry.model_page import describe, render
from kineflow.registry.origins import origins_of
from kineflow.registry.standing import standing_of
from kineflow.tracking.addresses import file_page
from kineflow.tracking.runs import StepRun
from kineflow.tracking.store import connect, tracking_uri
from kineflow.tracking.tracker import Tracker

PAGE_FILE = "model.html"


def keep_page(
    name: str,
    version: str,
    *,
    card: ModelCard,
    measured: Measured,
    evaluation: Path,
    intended_use: str,
    tracker: Tracker,
    root: Path | None = None,
) -> None:
    """Make the page of a registered version, and describe the version in the registry.

    Args:
        name, version: Of the registered model.
        card: Of its bundle.
        measured: What it has shown.
        evaluation: Folder of its evaluation.
        intended_use: In the words of whoever registers it.
        tracker: Of the step; one that keeps files keeps the page, and the pipeline run it is part of too.
        root: The project's folder; the working folder when None.

    Raises:
        KineflowError: The store cannot be used.
    """
    uri = tracking_uri(root)
    client = connect(uri)
    with store_errors(uri):
        kept = standing_of(client, client.get_model_version(name, version), uri).measured
        measured = dataclasses.replace(
            measured, latency_ms=kept.latency_ms, size_mb=kept.size_mb, validation=kept.validation
        )
        origins = origins_of(name, version, root=root)
        page = report = ""
        if isinstance(tracker, StepRun):
            page = file_page(tracker.experiment_id, tracker.run_id, PAGE_FILE)
            report = (
                "report.html of the step that judged it, in the same run of the recipe" if tracker.parent_id else ""
            )
            html = render(origins, card, measured, evaluation, intended_use=intended_use, report=report)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / PAGE_FILE
                file.write_text(html, encoding="utf-8")
                tracker.record({}, {PAGE_FILE: file}, {})
        words = describe(origins, card, measured, intended_use=intended_use, page=page)
        client.update_model_version(name, version, words)
