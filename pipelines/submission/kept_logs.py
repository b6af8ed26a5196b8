"""The logs that steps have kept with their MLflow runs, for runs whose pods are gone."""

from __future__ import annotations

import tempfile
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from kineflow.storage.errors import KineflowError


@dataclass(frozen=True)
class KeptLog:
    """What the latest attempt at a step printed.

    Attributes:
        step: What the recipe calls it.
        run_id: MLflow's.
        status: As MLflow has it: ``FAILED``, ``FINISHED``, …
        text: The last lines.
    """

    step: str
    run_id: str
    status: str
    text: str

    def as_json(self) -> dict[str, str]:
        """For ``--json``, beside the logs of pods."""
        return {"step": self.step, "mlflow_run": self.run_id, "phase": self.status, "text": self.text}


def kept_logs(run_id: str, wanted: Set[str], lines: int, root: Path) -> list[KeptLog]:
    """The kept logs of a run, in the order in which its steps began.

    Args:
        run_id: Kubeflow's.
        wanted: Names of steps, the recipe's and Kubeflow's; empty for all.
        lines: How many, from the end of each.
        root: The project's folder, for its tracking store where no other is named.

    Raises:
        KineflowError: The tracking store cannot be used, or a file in it is larger than any of ours.
    """
    from kineflow.serving.stored_files import fetch, files_of_run, listed
    from kineflow.tracking.closing import latest_steps, task_of
    from kineflow.tracking.kept_log import LOG_FILE, MOST_BYTES
    from kineflow.tracking.store import tracking_uri

    store = tracking_uri(root)
    found = []
    for run in latest_steps(run_id, root=root):
        if wanted and wanted.isdisjoint({run.info.run_name, task_of(run)}):
            continue
        files = files_of_run(run.info.run_id, run.info.artifact_uri, store)
        if LOG_FILE not in {name for name, _, _ in listed(files, ".")}:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = fetch(files, LOG_FILE, Path(folder), MOST_BYTES)
            text = path.read_text(encoding="utf-8", errors="replace")
        last = "".join(text.splitlines(keepends=True)[-lines:])
        found.append(KeptLog(task_of(run), run.info.run_id, run.info.status, last))
    return found


def kept_or(fault: KineflowError, run_id: str, wanted: Set[str], lines: int, root: Path) -> list[KeptLog]:
    """The kept logs, where the pods' cannot be had.

    Raises:
        KineflowError: None is kept either; ``fault`` says why there is none of a pod.
    """
    try:
        found = kept_logs(run_id, wanted, lines, root)
    except KineflowError as unread:
        raise KineflowError(
            f"{fault.problem}; and MLflow has none: {unread.problem}", where=fault.where, remedy=fault.remedy
        ) from None
    if not found:
        raise KineflowError(
            f"{fault.problem}; and MLflow keeps no log of it", where=fault.where, remedy=fault.remedy
        ) from None
    return found
