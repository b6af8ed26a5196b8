"""Whether two sets of clips differ in what frames tell of them: by how much, and whether chance explains it.

Clips of one group share light and camera, so a group counts once, with its median. The effect is Cliff's delta, how
much more often a group of one set is above one of the other than below: 0 where they are alike, 1 or -1 where they do
not overlap. Chance is judged by the Mann-Whitney test (normal, with ties), corrected for the number of quantities as
Holm does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

QUANTITIES = {"brightness": "of 255", "motion": "grey levels/s", "sharpness": "", "fps": "frames/s"}
"""What is compared, and its unit."""

_SIGNIFICANT = 0.05  # of all quantities together


@dataclass(frozen=True)
class Shift:
    """How one quantity differs.

    Attributes:
        quantity: One of :data:`QUANTITIES`.
        medians: Of the two sets.
        effect: Cliff's delta of the second against the first, in [-1, 1].
    """

    quantity: str
    medians: tuple[float, float]
    effect: float

    def phrase(self, first: str, second: str) -> str:
        """In words, with the names of the sets."""
        before, after = self.medians
        unit = f" {QUANTITIES[self.quantity]}".rstrip()
        return f"{self.quantity} {before:.3g} in {first}, {after:.3g} in {second}{unit} (effect {self.effect:+.2f})"


def by_group(clips: pd.DataFrame) -> dict[str, list[float]]:
    """Medians of the groups of some clips (columns of the manifest with those of contents), by quantity."""
    groups = clips["group"].map(str)
    numbers = {name: pd.to_numeric(clips[name], errors="coerce") for name in QUANTITIES}
    return {name: values.groupby(groups).median().dropna().tolist() for name, values in numbers.items()}


def shifts(first: Mapping[str, Sequence[float]], second: Mapping[str, Sequence[float]], *, most: float) -> list[Shift]:
    """The quantities with an effect above ``most`` that chance does not explain.

    Args:
        first, second: See :func:`by_group`.
        most: Largest effect that is accepted, in [0, 1].
    """
    compared: list[tuple[float, Shift]] = []
    for name in QUANTITIES:
        one, other = (np.asarray(values.get(name, ()), np.float64) for values in (first, second))
        if len(one) and len(other):
            effect, chance = _compared(one, other)
            compared.append((chance, Shift(name, (float(np.median(one)), float(np.median(other))), effect)))
    real = set()
    for rank, (chance, shift) in enumerate(sorted(compared, key=lambda item: item[0])):
        if chance * (len(compared) - rank) > _SIGNIFICANT:
            break
        real.add(shift)
    return [shift for _, shift in compared if shift in real and abs(shift.effect) > most]


def _compared(one: Any, other: Any) -> tuple[float, float]:
    """Cliff's delta of the second against the first, and the two-sided p of Mann and Whitney's test."""
    n, m = len(one), len(other)
    together = np.concatenate([one, other])
    above = pd.Series(together).rank().to_numpy()[n:].sum() - m * (m + 1) / 2
    ties = np.unique(together, return_counts=True)[1].astype(np.float64)
    count = n + m
    variance = n * m / 12 * (count + 1 - (ties**3 - ties).sum() / (count * (count - 1)))
    effect = 2 * above / (n * m) - 1
    if variance <= 0:
        return effect, 1.0
    z = max(0.0, abs(above - n * m / 2) - 0.5) / math.sqrt(variance)
    return effect, math.erfc(z / math.sqrt(2))
