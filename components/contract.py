"""What a step is: a function from paths and typed params to paths, with a result small enough to print.

A step is written once, in ``components/<step>/step.py``, as one keyword-only function of the folder's name::

    def train(*, clips: Input, flow: Input | None = None, initial: Input,
              params: TrainParams, seed: int = 0, tracker: Tracker = NULL_TRACKER, model: Output) -> StepResult:

``Input`` and ``Output`` parameters are paths (a folder or a file); every output is written whole or not at all. Heavy
imports (torch, mlflow, Great Expectations, pandas) stay inside the function body, so that ``--help`` and the check of
parameters cost nothing. :mod:`components.frontend` turns the same function into a command and calls it from KFP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

Input = Annotated[Path, "input"]
Output = Annotated[Path, "output"]


@dataclass(frozen=True)
class StepResult:
    """What a step tells its front end, to be printed and tracked.

    Attributes:
        metrics: Final figures by name (``clips``, ``val/top1``, …).
        summary: One line for the terminal.
        confusion: Class names and counts ``[true][predicted]``, for KFP's ClassificationMetrics.
        artifacts: Files or folders worth keeping with the tracked run, by their name there.
        tags: Facts for the tracked run that are not figures.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    summary: str = ""
    confusion: tuple[list[str], list[list[int]]] | None = None
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
