"""Where two classes are told apart: curves over all thresholds, and one threshold that other clips have chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kineflow.evaluation.scores import Scores

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Threshold:
    """A probability of the second class above which a clip is said to be of it, and what comes of that.

    Attributes:
        value: In [0, 1].
        chosen_on: How many ``val`` clips have chosen it; 0: none could, and it is one half.
        recalls: Share of each class's clips that is right, with this threshold on the evaluated clips.
        top1: Share of all that is right.
    """

    value: float
    chosen_on: int
    recalls: tuple[float, float]
    top1: float


def threshold_of(scores: Scores, on_val: Scores | None) -> Threshold:
    """The threshold with the best mean recall of the two classes on ``val`` (Youden's), tried on other clips.

    The evaluated clips must not choose it: what is best on them looks better than it is.

    Args:
        scores: Of the evaluated clips, of two classes.
        on_val: The same model's on ``val``; None, or of one class alone: the threshold is one half.
    """
    value, clips = 0.5, 0
    if on_val is not None and 0 < on_val.labels.sum() < len(on_val):
        value, clips = _best_threshold(on_val.probabilities()[:, 1], on_val.labels == 1), len(on_val)
    second = scores.labels == 1
    # As everywhere else, half and half is an answer for the first class.
    right = (scores.probabilities()[:, 1] > value) == second
    recalls = tuple(float(right[rows].mean()) if rows.any() else math.nan for rows in (~second, second))
    return Threshold(value, clips, (recalls[0], recalls[1]), float(right.mean()))


def roc_curve(evidence: Values, truth: NDArray[np.bool_]) -> tuple[Values, Values]:
    """Shares of false and of true alarms over all thresholds, both from 0 to 1.

    Args:
        evidence: ``[N]``, the higher the more speaks for the class.
        truth: ``[N]``, which clips are of it: some, not all.
    """
    true, false = _alarms(evidence, truth)
    return np.concatenate([[0.0], false / false[-1]]), np.concatenate([[0.0], true / true[-1]])


def precision_recall_curve(evidence: Values, truth: NDArray[np.bool_]) -> tuple[Values, Values]:
    """Recall and precision over all thresholds, the highest threshold first; arguments as of :func:`roc_curve`."""
    true, false = _alarms(evidence, truth)
    return true / true[-1], true / (true + false)


def mean_precision(evidence: Values, truth: NDArray[np.bool_]) -> float:
    """Average precision: precision over all thresholds, weighted by how much recall each adds, in [0, 1].

    Equal evidence is one threshold, so that the order of clips makes no difference; arguments as of :func:`roc_curve`.
    """
    recall, precision = precision_recall_curve(evidence, truth)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def _alarms(evidence: Values, truth: NDArray[np.bool_]) -> tuple[Values, Values]:
    """True and false alarms at each distinct value of the evidence, the highest first."""
    order = np.argsort(-evidence, kind="stable")
    ordered, of_class = evidence[order], truth[order]
    last = np.append(ordered[1:] != ordered[:-1], True)  # of equal ones, all are alarms or none
    return np.cumsum(of_class)[last].astype(np.float64), np.cumsum(~of_class)[last].astype(np.float64)


def _best_threshold(shares: Values, truth: NDArray[np.bool_]) -> float:
    """Middle of the step in which mean recall is best; of several the one that is nearest to one half."""
    steps = np.unique(shares)
    between = np.concatenate([[steps[0] / 2], (steps[1:] + steps[:-1]) / 2, [(1 + steps[-1]) / 2]])
    recalls = [((shares > value)[truth].mean() + (shares <= value)[~truth].mean()) for value in between]
    best = between[np.isclose(recalls, max(recalls))]
    return float(best[np.argmin(np.abs(best - 0.5))])
