"""How long a run will take here, and how much memory: what a few clips cost, times what there is of them."""

from __future__ import annotations

from dataclasses import dataclass

from kineflow.survey.costs import Costs
from kineflow.survey.machine import Machine
from kineflow.survey.rules import Steps

START_SEC = 4.0
"""Of a step's process: imports and bookkeeping. Measured: 2 s of a step that does nearly nothing; the one that computes
flow compiles for 6 s on a CPU."""

TRAINING = ("teacher", "students")
"""What the parts of :func:`training` are called."""

_DISTIL = 1.3
_FITS_SEC = {True: 0.06, False: 0.02}  # a window, as measured, by whether there are features of images
_USUAL_INGEST, _USUAL_FLOW = 0.01, 1.0  # CPU seconds a million pixels, as measured


@dataclass(frozen=True)
class Volume:
    """How much there is.

    Attributes:
        source_pixels: Width × height × frames of all videos as they are, in millions.
        stored_pixels: The same of all stored clips, in millions.
    """

    source_pixels: float
    stored_pixels: float


@dataclass(frozen=True)
class RunPart:
    """One part of a run.

    Attributes:
        what: It does.
        seconds: It takes, by the clock.
        how: That is known.
    """

    what: str
    seconds: float
    how: str


@dataclass(frozen=True)
class Estimate:
    """Time and memory of a run.

    Attributes:
        parts: In their order.
        memory_mb: Most that one process holds.
    """

    parts: tuple[RunPart, ...]
    memory_mb: float

    @property
    def seconds(self) -> float:
        """Of all parts."""
        return sum(part.seconds for part in self.parts)


def before_training(costs: Costs, volume: Volume, machine: Machine) -> tuple[RunPart, ...]:
    """Ingest and flow, on all cores; by what they cost elsewhere where nothing could be tried here."""
    return (
        _part("ingest", volume.source_pixels, costs.ingest_cpu_sec, _USUAL_INGEST, machine),
        _part("flow", volume.stored_pixels, costs.flow_cpu_sec, _USUAL_FLOW, machine),
    )


def _part(what: str, pixels: float, measured: float, usual: float, machine: Machine) -> RunPart:
    each = measured or usual
    how = f"{pixels:,.0f} million pixels, {each:.2g} CPU s each"
    return RunPart(what, pixels * each / machine.cores, how if measured else f"{how} (not measured here)")


def training(costs: Costs, steps: Steps) -> tuple[RunPart, ...]:
    """A teacher and three networks of the student's kind, two of which have the teacher look on."""
    students = steps.student * (1 + 2 * _DISTIL)
    teacher, three = TRAINING
    return (
        RunPart(teacher, steps.teacher * costs.step_sec, f"{steps.teacher:,} steps of {costs.step_sec:.2g} s"),
        RunPart(three, students * costs.step_sec, f"three of {steps.student:,} steps, two of them taught"),
    )


def choosing(costs: Costs, windows: int, images: bool, machine: Machine) -> tuple[RunPart, ...]:
    """Describing all windows, and folds within folds over all families of descriptors.

    Args:
        costs: Of this machine.
        windows: Of all labelled clips.
        images: Whether a network for images describes them too.
        machine: This one.
    """
    fits = _FITS_SEC[images] * windows
    return (
        RunPart("descriptions", windows * costs.window_cpu_sec / machine.cores, f"{windows:,} windows"),
        RunPart("selection", fits, "folds within folds"),
    )


def in_words(seconds: float) -> str:
    """A time for people: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
