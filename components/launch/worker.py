"""What a process of several knows of itself, and what it says to the one that has started them all."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file

LAUNCH = "KINEFLOW_LAUNCH"  # folder where processes leave word for the one that has started them
MISTAKE_FILE = "mistake.json"

_PARENT_DEATH_SIGNAL = 1  # prctl's PR_SET_PDEATHSIG
_MOST_BYTES = 1 << 20


def is_worker() -> bool:
    """Whether torch's launcher has started this process, ours or a user's ``torchrun``."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_main_process() -> bool:
    """Whether this process writes outputs and talks to MLflow; so does one that was started alone."""
    return not is_worker() or int(os.environ["RANK"]) == 0


def check_worker(module: str, *, is_training: bool) -> None:
    """Check that a step which several processes have been started for can use them.

    Args:
        module: Of the step.
        is_training: Whether its settings are those of a training.

    Raises:
        KineflowError: It is no training, so that each process would do and write the same.
    """
    if not is_training and int(os.environ["WORLD_SIZE"]) > 1:
        raise KineflowError(f"the step {module} runs in one process", remedy=f"start it as: python -m {module} …")


def init_worker() -> None:
    """Do what a process of :func:`components.launch.local.launch` does first; nothing in any other.

    It ends with its launcher, even when that is killed, and at once where another process has found a mistake.
    """
    if LAUNCH not in os.environ:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if (Path(os.environ[LAUNCH]) / MISTAKE_FILE).exists():
        sys.exit(0)


def restarts_done() -> int:
    """How often the launcher has started this process's predecessors."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def report_to_launcher(error: KineflowError) -> bool:
    """Leave a mistake to the launcher, which says it once; False where there is no launcher of ours to say it."""
    from kineflow.training.processes import LOST_PROCESS

    if LAUNCH not in os.environ:
        return False
    mistake = Path(os.environ[LAUNCH]) / MISTAKE_FILE
    if error.exit_code != LOST_PROCESS and not mistake.exists():
        where = None if error.where is None else str(error.where)
        report = {
            "problem": error.problem,
            "where": where,
            "remedy": error.remedy,
            "exit_code": error.exit_code,
        }
        with atomic_file(mistake) as partial:
            partial.write_text(json.dumps(report))
    return True


def raise_mistake(folder: Path) -> None:
    """Raise what :func:`report_to_launcher` has left in a folder, and forget it; nothing where nothing readable is.

    Raises:
        KineflowError: The mistake, in the words of the process that met it.
    """
    try:
        with (folder / MISTAKE_FILE).open("rb") as stream:
            report = json.loads(stream.read(_MOST_BYTES))
    except (OSError, ValueError):
        return
    forget_mistake(folder)
    raise KineflowError(
        report["problem"],
        where=report["where"],
        remedy=report["remedy"],
        exit_code=report["exit_code"],
    ) from None


def forget_mistake(folder: Path) -> None:
    """Remove what an earlier attempt has found wrong: processes would stop at once otherwise."""
    (folder / MISTAKE_FILE).unlink(missing_ok=True)
