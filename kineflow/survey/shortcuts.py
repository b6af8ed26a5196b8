"""Facts of a file that give its class away: what a network could learn in place of what happens in the clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def separation(values: Sequence[float], labels: Sequence[str]) -> float:
    """How well one number tells some class from all others: the area under the ROC curve, .5 to 1.

    Args:
        values: A number a clip.
        labels: Its class.

    Returns:
        The best of all classes with at least five clips within and without; .5 where there is none. A number tells a
        class that has more of it and one that has less alike.
    """
    numbers, names = np.asarray(values, dtype=np.float64), np.asarray(labels)
    ranks = _ranks(numbers)
    best = 0.5
    for name in np.unique(names):
        inside = names == name
        within, without = int(inside.sum()), int((~inside).sum())
        if min(within, without) >= 5:
            area = float((ranks[inside].sum() - within * (within + 1) / 2) / (within * without))
            best = max(best, area, 1 - area)
    return best


def _ranks(numbers: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal numbers have the mean of theirs."""
    _, place, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]
