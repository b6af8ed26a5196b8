"""The gain of one model over another on the clips that both were asked about, with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kineflow.evaluation.intervals import difference_interval, weighted_difference_interval
from kineflow.registry.outcomes import Outcomes

FIGURES = ("top1", "top5", "mean_class_accuracy")
"""Of which there is a paired test: each clip has a share in them."""
FEWEST_IN_COMMON = 20
"""Clips that two evaluations of different data must share to be paired: on fewer no plausible gain shows."""


@dataclass(frozen=True)
class Paired:
    """A gain in [-1, 1], its interval, and on how many clips."""

    value: float
    low: float
    high: float
    clips: int


def paired_gain(candidate: Outcomes, champion: Outcomes, figure: str, level: float) -> Paired | str:
    """What the candidate gains, by the clips both have in common.

    Args:
        candidate, champion: Their answers.
        figure: One of :data:`FIGURES`.
        level: Confidence level of the interval, in (0, 1).

    Returns:
        The gain; or why there is none, in words.
    """
    if figure == "mean_class_accuracy" and candidate.has_several_classes:
        return "clips of several classes have no mean over classes of their accuracy"
    at = {(clip, label): row for row, (clip, label) in enumerate(_keys(champion))}
    rows = [(row, at[key]) for row, key in enumerate(_keys(candidate)) if key in at]
    if len(rows) < FEWEST_IN_COMMON and len(rows) < max(len(candidate), len(champion)):
        return f"the two have {len(rows)} clips in common, of {len(candidate)} and {len(champion)}"
    if not rows:
        return "there are no clips"
    ours, theirs = np.array(rows).T
    depth = 5 if figure == "top5" else 1
    differences = (candidate.ranks[ours] < depth).astype(np.float64) - (champion.ranks[theirs] < depth)
    groups = [candidate.groups[row] or candidate.clip_ids[row] for row in ours]
    if figure == "mean_class_accuracy":
        differences *= _class_weights([candidate.labels[row] for row in ours])
        low, high = weighted_difference_interval(differences, groups, level)
    else:
        low, high = difference_interval(differences, groups, level)
    return Paired(float(differences.mean()), low, high, len(rows))


def _keys(outcomes: Outcomes) -> zip[tuple[str, str]]:
    return zip(outcomes.clip_ids, outcomes.labels, strict=True)


def _class_weights(labels: list[str]) -> NDArray[np.float64]:
    """What each clip counts in a mean over classes, of mean 1."""
    _, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = len(labels) / (len(counts) * counts[places])
    return weights
