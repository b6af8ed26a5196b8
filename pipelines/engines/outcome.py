"""What a run of a recipe left behind, whichever engine ran it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """A finished run.

    Attributes:
        ran: Tasks that were executed, in order; the others were up to date.
        outputs: Where each task's outputs lie: ``outputs[task][output]``.
    """

    ran: tuple[str, ...]
    outputs: Mapping[str, Mapping[str, Path]]
