"""Whether a model is as often right as it says.

Each clip's answer comes with a probability, that of the best class. Of clips answered with 80 %, four in five should be
right (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kineflow.evaluation.scores import Scores

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Clips by how sure their answer was, in equal steps of probability; bins without clips are left out.

    Attributes:
        said: Mean probability of the answers, ``[bins]``.
        right: Share of them that is right, ``[bins]``.
        clips: How many, ``[bins]``.
    """

    said: NDArray[np.float64]
    right: NDArray[np.float64]
    clips: NDArray[np.int64]


def reliability(scores: Scores) -> Reliability:
    """Sort the clips into :data:`BINS` bins by the probability of their answer; scores are of labelled clips."""
    sure = _of_best(scores)
    right = (scores.predictions() == scores.nearest_labels).astype(np.float64)
    # Of K classes the best has 1 / K or more, if they exclude each other: bins below would be empty.
    least = 1 / len(scores.classes) if scores.truth is None else 0.0
    width = max((1 - least) / BINS, 1e-12)
    bins = np.clip(((sure - least) / width).astype(np.int64), 0, BINS - 1)
    clips = np.bincount(bins, minlength=BINS)
    filled = clips > 0
    said, correct = (np.bincount(bins, values, BINS)[filled] / clips[filled] for values in (sure, right))
    return Reliability(said, correct, clips[filled])


def expected_calibration_error(scores: Scores) -> float:
    """Mean over clips of the difference between what their bin said and how often it was right, in [0, 1]."""
    bins = reliability(scores)
    return float((np.abs(bins.said - bins.right) * bins.clips).sum() / bins.clips.sum())


def brier_score(scores: Scores) -> float:
    """Mean over clips of the squared error of all classes' probabilities; 0 is perfect.

    In [0, 2] (Brier 1950); of two classes half of that, in [0, 1], as is usual: .25 is to say one half of each clip.
    Of clips of several classes, the mean over classes, in [0, 1].
    """
    total = 0.0
    for rows in scores.parts():
        errors = scores.probabilities(rows)
        if scores.truth is None:
            errors[np.arange(len(errors)), scores.labels[rows]] -= 1
        else:
            errors -= scores.truth[rows]
        total += float((errors**2).sum())
    shares = 2 if len(scores.classes) == 2 else 1
    return total / len(scores) / (shares if scores.truth is None else len(scores.classes))


def _of_best(scores: Scores) -> NDArray[np.float64]:
    best: NDArray[np.float64] = np.concatenate([scores.probabilities(rows).max(axis=1) for rows in scores.parts()])
    return best
