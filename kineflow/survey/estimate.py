"""How long a run will take here, and how much memory: what a few clips cost, times what there is of them."""

from __future__ import annotations

from dataclasses import dataclass

from kineflow.survey.costs import Costs
from kineflow.survey.machine import Machine
from kineflow.survey.rules import Steps, students_in_steps

START_SEC = 4.0
"""Of a step's process: imports and bookkeeping. Measured: 2 s of a step that does nearly nothing; the one that computes
flow compiles for 6 s on a CPU."""

TRAINING = ("teacher", "students")
"""What the parts of :func:`training` are called."""

CHOOSING = ("descriptions", "selection")
"""What the parts of :func:`choosing` are called."""

_FITS_SEC = {True: 0.06, False: 0.02}  # a window, as measured, by whether there are features of images
_UNNESTED = 0.2  # of that, where the folds of one choice are all
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
        seconds: It takes by the clock, where nothing else runs.
        how: That is known.
        cpu_seconds: Of all threads together, which is so on a busy machine too; 0: as many as by the clock.
    """

    what: str
    seconds: float
    how: str
    cpu_seconds: float = 0.0


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

    @property
    def cpu_seconds(self) -> float:
        """Of all parts."""
        return sum(part.cpu_seconds or part.seconds for part in self.parts)


def before_training(costs: Costs, volume: Volume, machine: Machine) -> tuple[RunPart, ...]:
    """Ingest and flow, on all cores; by what they cost elsewhere where nothing could be tried here."""
    return (
        _part("ingest", volume.source_pixels, costs.ingest_cpu_sec, _USUAL_INGEST, machine),
        _part("flow", volume.stored_pixels, costs.flow_cpu_sec, _USUAL_FLOW, machine),
    )


def _part(what: str, pixels: float, measured: float, usual: float, machine: Machine) -> RunPart:
    each = measured or usual
    how = f"{pixels:,.0f} million pixels, {each:.2g} CPU s each"
    cpu = pixels * each
    return RunPart(what, cpu / machine.cores, how if measured else f"{how} (not measured here)", cpu)


def training(step_sec: float, steps: Steps, machine: Machine, *, taught: int) -> tuple[RunPart, ...]:
    """A teacher, a network of the student's kind, and ``taught`` more that have the teacher look on."""
    teacher = steps.teacher * step_sec
    students = steps.student * students_in_steps(taught) * step_sec
    threads = 1 if machine.gpu else machine.cores
    one, others = TRAINING
    how = f"{1 + taught} of {steps.student:,} steps, {taught} of them taught"
    return (
        RunPart(one, teacher, f"{steps.teacher:,} steps of {step_sec:.2g} s", teacher * threads),
        RunPart(others, students, how, students * threads),
    )


def choosing(costs: Costs, windows: int, images: bool, machine: Machine, *, nested: bool) -> tuple[RunPart, ...]:
    """Describing all windows, and folds over all families of descriptors.

    Args:
        costs: Of this machine.
        windows: Of all labelled clips.
        images: Whether a network for images describes them too.
        machine: This one.
        nested: Whether folds within folds judge too, and not a network's evaluation.
    """
    fits, described = _FITS_SEC[images] * windows, windows * costs.window_cpu_sec
    one, other = CHOOSING
    return (
        RunPart(one, described / machine.cores, f"{windows:,} windows", described),
        RunPart(other, fits if nested else fits * _UNNESTED, "folds within folds" if nested else "folds"),
    )


def in_words(seconds: float) -> str:
    """A time for people: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
