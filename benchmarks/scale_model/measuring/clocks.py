"""CPU time of this process and of commands, and slopes over several sizes."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Taken:
    """Seconds of a command."""

    cpu_s: float
    wall_s: float


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all threads."""
    before = time.process_time()
    work()
    return time.process_time() - before


def command(arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> Taken:
    """Run a command that must succeed; CPU seconds are those of it and of the processes it has waited for."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        arguments, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
    )
    wall_s, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return Taken(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall_s)


def median_command(arguments: Sequence[str], repeats: int, *, cwd: Path, env: Mapping[str, str]) -> Taken:
    """Medians of several runs, after one for warming up."""
    command(arguments, cwd=cwd, env=env)
    runs = [command(arguments, cwd=cwd, env=env) for _ in range(repeats)]
    return Taken(statistics.median(run.cpu_s for run in runs), statistics.median(run.wall_s for run in runs))


def line(sizes: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Slope and value at zero of the line through the points, each weighted as its relative error counts."""
    weights = 1 / np.asarray(sizes, dtype=float)
    slope, at_zero = np.polyfit(sizes, values, 1, w=weights)
    return float(slope), max(0.0, float(at_zero))
