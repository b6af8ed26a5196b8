"""Disturbances of a run: which signal, to which of its processes, and when."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

_POLL_SECONDS = 0.001
_STOPPED_SECONDS = 1.5
_UNHIT_SECONDS = 2.0  # how much longer than usual a moment is waited for

# What is done, and to whom. The run is the process of the command, its group that and all that it starts.
DEEDS = (
    "KILL the group", "KILL the group", "KILL the run", "KILL DVC", "KILL the step", "KILL one", "TERM the run",
    "TERM the group", "INT the group", "HUP the run", "STOP the group", "STOP one",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a stage works.

    Attributes:
        project: Its folder.
        stage: Name.
        lock_bytes: Size of ``dvc.lock`` before it.
    """

    project: Path
    stage: str
    lock_bytes: int

    @property
    def outputs(self) -> Path:
        """Folder of what the stage makes."""
        return self.project / "outputs" / self.stage


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _any(folder: Path, pattern: str) -> bool:
    try:
        return next(folder.glob(pattern), None) is not None
    except OSError:
        return False


def _rwlock(place: Place) -> Path:
    return place.project / ".dvc" / "tmp" / "rwlock"


# Moments that are short, and in which something is half done.
MOMENTS: dict[str, Callable[[Place], bool]] = {
    "dvc.lock is being written": lambda p: 0 <= _size(p.project / "dvc.lock") < p.lock_bytes,
    "dvc.lock has been written": lambda p: _size(p.project / "dvc.lock") > p.lock_bytes,
    "the rwlock is being written": lambda p: _size(_rwlock(p)) == 0,
    "the rwlock names somebody": lambda p: _size(_rwlock(p)) > 60,
    "MLflow writes": lambda p: (p.project / "mlflow.db-journal").exists(),
    "a mark is made": lambda p: _any(p.project, "mlflow.db.running/step-*"),
    "a file is being written": lambda p: _any(p.outputs, ".*.partial.*") or _any(p.outputs, ".*-work/*/.*.partial*"),
    "a folder is being written": lambda p: _any(p.outputs, ".*.partial"),
    "a checkpoint is there": lambda p: _any(p.outputs, ".*-work/*/last.ckpt"),
    "the output is there": lambda p: _any(p.outputs, "[!.]*"),
    "the metrics are there": lambda p: (p.outputs / "metrics.json").exists(),
    "media are being written": lambda p: _any(p.project / "media", "*/*/.*.partial*"),
}


@dataclass(frozen=True)
class Disturbance:
    """One.

    Attributes:
        stage: That is done when it comes.
        deed: One of :data:`DEEDS`.
        moment: One of :data:`MOMENTS`, or empty.
        delay: Seconds after the moment, or after the run has begun where there is none.
        seed: Of what else is drawn.
    """

    stage: str
    deed: str
    moment: str
    delay: float
    seed: int

    @classmethod
    def draw(cls, seed: int, seconds_of: dict[str, float], startup_seconds: float) -> Disturbance:
        """A random one; half of them at a chosen moment.

        Args:
            seed: Equal seeds draw equal ones.
            seconds_of: How long each stage usually takes.
            startup_seconds: How long a run usually takes until its stage begins.
        """
        rng = random.Random(seed)
        stage = rng.choice(sorted(seconds_of))
        moment = rng.choice(sorted(MOMENTS)) if rng.random() < 0.5 else ""
        delay = rng.choice([0.0, 0.0, 0.01, 0.1]) if moment else rng.uniform(0.2, startup_seconds + seconds_of[stage])
        return cls(stage, rng.choice(DEEDS), moment, delay, seed)

    def __str__(self) -> str:
        when = f"{self.delay:.2f} s after {self.moment}" if self.moment else f"after {self.delay:.2f} s"
        return f"{self.deed} in {self.stage}, {when}"

    def wait(self, place: Place, process: psutil.Process, usual_seconds: float) -> bool:
        """Wait for the moment; False where the run ends, or takes longer than usual, without it."""
        deadline = time.monotonic() + usual_seconds + _UNHIT_SECONDS
        while self.moment and not MOMENTS[self.moment](place):
            if not _runs(process) or time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        time.sleep(self.delay)
        return _runs(process)

    def strike(self, process: psutil.Process) -> None:
        """Do it.

        Args:
            process: Of the run, which leads a group of its own.
        """
        name, _, whom = self.deed.partition(" ")
        below = process.children(recursive=True)
        dvc = [each for each in below if "pipelines.engines.dvc_process" in _command(each)]
        steps = [each for each in below if "components." in _command(each)]
        chosen = {
            "the run": [process],
            "DVC": dvc or [process],
            "the step": steps[:1] or dvc or [process],
            "one": [random.Random(self.seed).choice([process, *below])],
        }
        number = signal.Signals[f"SIG{name}"]
        _send(process, number) if whom == "the group" else [each.send_signal(number) for each in chosen[whom]]
        if number == signal.SIGSTOP:
            time.sleep(_STOPPED_SECONDS)
            os.killpg(process.pid, signal.SIGCONT)


def _send(leader: psutil.Process, number: signal.Signals) -> None:
    os.killpg(leader.pid, number)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
