"""Runs of this machine that are recorded as running, and whose process is gone: closed by the next command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kineflow.storage.project import current_project
from kineflow.tracking.marks import Mark, is_marked, remove_mark, stale_marks
from kineflow.tracking.runs import ERROR_TAG, PIPELINE_TAG
from kineflow.tracking.store import connect, experiment_ids, named_failures, tracking_uri

_WORDS = "its process ended without a word: it was killed, or its machine went down"
_MOST_RUNS = 5000


def close_abandoned(root: Path | None = None, *, ended: str | None = None) -> int:
    """Close runs as ``KILLED``, with words in the tag ``error``, whose process is gone; costs nothing where none is.

    Args:
        root: The project's folder; the one around when None.
        ended: A pipeline run of which no process is left: what its steps have left open is closed too.

    Returns:
        How many.

    Raises:
        KineflowError: The store cannot be used.
    """
    root = current_project() if root is None else root
    uri = tracking_uri(root)
    stale = [*stale_marks(uri, root), *([Mark("pipeline", ended)] if ended else [])]
    if not stale:
        return 0
    client, closed = connect(uri), 0
    with named_failures(uri):
        for mark in stale:
            for run in _runs_of(client, mark):
                lives = mark.kind == "pipeline" and is_marked(Mark("step", run.info.run_id), uri, root)
                if run.info.status == "RUNNING" and not lives:
                    client.set_tag(run.info.run_id, ERROR_TAG, _WORDS)
                    client.set_terminated(run.info.run_id, "KILLED")
                    closed += 1
            remove_mark(mark, uri, root)
    return closed


def _runs_of(client: Any, mark: Mark) -> list[Any]:
    """A step's run; or that of a pipeline run, and those of its steps."""
    wanted = (
        f"tags.`{PIPELINE_TAG}` = '{mark.run_id}'"
        if mark.kind == "pipeline"
        else f"attributes.run_id = '{mark.run_id}'"
    )
    return list(client.search_runs(experiment_ids(client), wanted, max_results=_MOST_RUNS))
