"""Pipeline runs side by side, as plain rows for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kineflow.storage.credentials import mask_uri
from kineflow.storage.errors import KineflowError
from kineflow.tracking.runs import KIND_TAG, PIPELINE_TAG
from kineflow.tracking.store import connect, database_file, experiment_ids, named_failures, tracking_uri

EVALUATED = "evaluation.data_version"
"""Tag of a step that has judged models."""
RUN, ID, STARTED, STATUS, DATA, COMMIT = "run", "id", "started", "status", "data", "commit"


def compare(run_ids: Sequence[str] = (), *, limit: int = 10, root: Path | None = None) -> list[dict[str, Any]]:
    """What pipeline runs have shown, latest first.

    Args:
        run_ids: Pipeline run ids or MLflow ids of their parent runs, each as a whole or as a beginning of at least
            four characters; the latest runs when empty.
        limit: Most rows when ``run_ids`` is empty.
        root: The project's folder; the working folder when None.

    Returns:
        A row per pipeline run: ``run`` (name), ``id`` (pipeline run id), ``started`` (UTC, to the minute), ``status``,
        ``data`` (version), ``commit``, and the figures of its evaluate step by name.

    Raises:
        KineflowError: No run has one of the ids, or the store cannot be used.
    """
    uri = tracking_uri(root)
    database = database_file(uri)
    if database is not None and not database.exists() and not run_ids:
        return []
    client = connect(uri, must_exist=True)
    with named_failures(uri):
        parents = _search(client, experiment_ids(client), f"tags.`{KIND_TAG}` = 'pipeline'")
        chosen = [_find(parents, wanted, uri) for wanted in run_ids] if run_ids else parents[:limit]
        return [_row(client, run) for run in chosen]


def _row(client: Any, run: Any) -> dict[str, Any]:
    tags = run.data.tags
    evaluations = f"tags.`mlflow.parentRunId` = '{run.info.run_id}' AND tags.`{EVALUATED}` != ''"
    children = _search(client, [run.info.experiment_id], evaluations)
    figures = children[0].data.metrics if children else {}
    started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    return {
        RUN: run.info.run_name,
        ID: tags[PIPELINE_TAG],
        STARTED: f"{started:%Y-%m-%d %H:%M}",
        STATUS: run.info.status,
        DATA: tags.get("dvc.data.md5", ""),
        COMMIT: tags.get("git.commit", "")[:8] + ("+" if tags.get("git.dirty") == "true" else ""),
        **dict(sorted(figures.items())),
    }


def _find(parents: list[Any], wanted: str, uri: str) -> Any:
    names = [(run, (run.data.tags[PIPELINE_TAG], run.info.run_id)) for run in parents]
    exact = [run for run, ids in names if wanted in ids]
    matches = exact or [run for run, ids in names if len(wanted) >= 4 and any(name.startswith(wanted) for name in ids)]
    if len(matches) != 1:
        raise KineflowError(
            f"{len(matches) or 'no'} pipeline runs have the id {wanted!r}",
            where=mask_uri(uri),
            remedy="list the latest ones with: kineflow compare",
        )
    return matches[0]


def _search(client: Any, experiments: list[str], query: str) -> list[Any]:
    """All runs that match, latest first."""
    runs: list[Any] = []
    token = None
    while True:
        page = client.search_runs(experiments, query, order_by=["attributes.start_time DESC"], page_token=token)
        runs.extend(page)
        token = page.token
        if not token:
            return runs
