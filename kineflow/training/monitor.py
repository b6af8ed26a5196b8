"""Says how training goes: curves, tracked figures, a line with rate and time left; of several processes one does."""

from __future__ import annotations

import csv
import logging
import time
from pathlib import Path

from kineflow.storage.files import atomic_file
from kineflow.storage.spreadsheet import as_given, harmless
from kineflow.tracking.tracker import Tracker
from kineflow.training import processes

_LOG = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 10.0


class CurvesFile:
    """Training curves as a CSV file of rows ``step, name, value``, kept across a resume."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: list[tuple[int, str, float]] = []

    def restore(self, step: int) -> None:
        """Take up the rows up to ``step``; later ones are about to be done again."""
        if self._path.exists():
            with self._path.open(newline="") as stream:
                read = csv.DictReader(stream)
                rows = [(int(row["step"]), as_given(row["name"]), float(row["value"])) for row in read]
            self.rows = [row for row in rows if row[0] <= step]

    def add(self, step: int, figures: dict[str, float]) -> None:
        """Append figures of one step."""
        self.rows.extend((step, name, value) for name, value in figures.items())

    def save(self) -> None:
        """Write all rows."""
        with atomic_file(self._path) as partial, partial.open("w", newline="") as stream:
            csv.writer(stream).writerows([("step", "name", "value"), *map(harmless, self.rows)])


class Monitor:
    """Listens to a training: told of every batch, step and round as they come.

    Args:
        steps: Of the whole training.
        steps_done: Before this run of it.
        curves: Where figures go, and to ``tracker``.
    """

    def __init__(self, steps: int, steps_done: int, curves: CurvesFile, tracker: Tracker) -> None:
        self.steps, self.curves, self.tracker = steps, curves, tracker
        self.curves.restore(steps_done)
        self._started = self._line = self._ready = time.monotonic()
        self._first_step = steps_done
        self._clips = 0
        self._waited = 0.0

    def batch_came(self) -> None:
        """The wait for a batch of clips is over."""
        self._waited += time.monotonic() - self._ready

    def step_done(self, step: int, *, clips: int) -> None:
        """A step is done: its number, and the clips of all processes it has learnt from."""
        self._clips += clips
        self._ready = time.monotonic()
        if self._ready - self._line >= _SECONDS_BETWEEN_LINES and processes.is_main_process():
            self._line = self._ready
            _LOG.info("%s", self._status(step))

    def round_done(
        self, step: int, losses: list[dict[str, float]], validated: dict[str, float], *, learning_rate: float
    ) -> None:
        """A round is done and validated; ``losses`` are the terms of each of its steps."""
        figures = {f"train/{name}": _mean(losses, name) for name in (losses[0] if losses else {})}
        figures |= {**validated, "learning_rate": learning_rate}
        if processes.is_main_process():
            self._report(step, figures)
        self._ready = time.monotonic()

    def _report(self, step: int, figures: dict[str, float]) -> None:
        self.curves.add(step, figures)
        self.curves.save()
        self.tracker.log_metrics(figures, step)
        text = ", ".join(f"{name} {value:.3f}" for name, value in figures.items() if name != "learning_rate")
        _LOG.info("%s | %s", self._status(step), text)

    def rates(self) -> dict[str, float]:
        """Clips trained on a second, and the share of the time that the loop waited for clips."""
        elapsed = max(time.monotonic() - self._started, 1e-9)
        return {"clips_per_second": self._clips / elapsed, "data_wait_share": self._waited / elapsed}

    def _status(self, step: int) -> str:
        rate = (step - self._first_step) / max(time.monotonic() - self._started, 1e-9)
        left = (self.steps - step) / rate if rate else float("inf")
        return f"step {step}/{self.steps}, {rate:.1f} steps/s, {left:.0f} s left"


def _mean(rows: list[dict[str, float]], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)
