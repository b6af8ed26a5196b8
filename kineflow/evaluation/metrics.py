"""Figures computed from class scores: accuracies with their intervals, confusion, change per class. Pure numpy.

Intervals are Wilson score intervals (Wilson 1927): they stay within [0, 1] and hold their level near 0 and 1 and for
few clips, where the usual p ± 1.96 s.e. does not. They take clips as independent; clips of one group resemble each
other, so that true uncertainty is larger.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kineflow.evaluation.scores import Scores, align
from kineflow.storage.errors import KineflowError

CONFIDENCE = 0.95

Labels = NDArray[np.int64]
Figures = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """The headline figures of one set of scores; accuracies are shares in [0, 1].

    Attributes:
        clips: How many clips were scored.
        top1, top5: Share of clips whose true class is the best one, or among the best five.
        mean_class_accuracy: Mean over classes of the share of their clips that are right.
        top1_low, top1_high: 95 % Wilson interval of ``top1``.
    """

    clips: int
    top1: float
    top5: float
    mean_class_accuracy: float
    top1_low: float
    top1_high: float


@dataclass(frozen=True)
class Gain:
    """Difference in top-1 of two models on the same clips, in [-1, 1], with its 95 % interval."""

    value: float
    low: float
    high: float


def summarise(scores: Scores) -> Summary:
    """Headline figures.

    Raises:
        KineflowError: There is no clip, or one has no label.
    """
    _require_labels(scores)
    ranks = ranks_of_truth(scores.logits, scores.labels)
    low, high = wilson_interval(int((ranks == 0).sum()), len(ranks))
    return Summary(
        clips=len(ranks),
        top1=float((ranks < 1).mean()),
        top5=float((ranks < 5).mean()),
        mean_class_accuracy=mean_class_accuracy(confusion_of(scores)),
        top1_low=low,
        top1_high=high,
    )


def ranks_of_truth(logits: NDArray[Any], labels: Labels) -> Labels:
    """Place of the true class among all classes, best first: 0 is a right prediction.

    Classes of equal score rank by index, as ``argmax`` has it, so that rank 0 and the prediction always agree.

    Args:
        logits: ``[N, K]``.
        labels: ``[N]`` in ``[0, K)``.

    Returns:
        int64 ``[N]`` in ``[0, K)``.
    """
    truth = np.take_along_axis(logits, labels[:, None], axis=1)  # [N, 1]
    before = np.arange(logits.shape[1]) < labels[:, None]  # [N, K]
    ranks: Labels = ((logits > truth) | ((logits == truth) & before)).sum(axis=1)
    return ranks


def confusion_matrix(predicted: Labels, labels: Labels, num_classes: int) -> Labels:
    """Counts of clips ``[true][predicted]``, int64 ``[K, K]``."""
    pairs = labels * num_classes + predicted
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def confusion_of(scores: Scores) -> Labels:
    """:func:`confusion_matrix` of the scores' predictions."""
    return confusion_matrix(scores.predictions(), scores.labels, len(scores.classes))


def per_class_accuracy(confusion: Labels) -> Figures:
    """Share of each class's clips that are right, float64 ``[K]``; NaN for a class without clips."""
    clips = confusion.sum(axis=1)
    shares: Figures = np.divide(confusion.diagonal(), clips, out=np.full(len(clips), np.nan), where=clips > 0)
    return shares


def mean_class_accuracy(confusion: Labels) -> float:
    """Mean of :func:`per_class_accuracy` over the classes that have clips."""
    return float(np.nanmean(per_class_accuracy(confusion)))


def per_class_change(student: Scores, baseline: Scores) -> Figures:
    """Accuracy of the student less that of the baseline for each class, float64 ``[K]``; NaN without clips.

    Raises:
        KineflowError: The two were not scored on the same clips.
    """
    align([student, baseline])
    return per_class_accuracy(confusion_of(student)) - per_class_accuracy(confusion_of(baseline))


def wilson_interval(correct: int, total: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson score interval of a share.

    ::

        centre ± z/(1 + z²/n) · sqrt(p(1-p)/n + z²/4n²),    centre = (p + z²/2n) / (1 + z²/n)

    Args:
        correct: Right ones, 0 to ``total``.
        total: At least 1.
        confidence: Level, in (0, 1).

    Returns:
        Lower and upper bound, in [0, 1].
    """
    if not (0 <= correct <= total and total >= 1 and 0 < confidence < 1):
        raise ValueError(f"no interval for {correct} of {total} at confidence {confidence}")
    z = _z(confidence)
    share, shrink = correct / total, 1 + z**2 / total
    centre = (share + z**2 / (2 * total)) / shrink
    half = z / shrink * (share * (1 - share) / total + z**2 / (4 * total**2)) ** 0.5
    # The bounds at 0 and at 1 are exact; rounding must not move them.
    return (0.0 if correct == 0 else centre - half, 1.0 if correct == total else centre + half)


def paired_gain(student: Scores, baseline: Scores) -> Gain:
    """Top-1 of ``student`` less that of ``baseline``, with a 95 % interval for paired clips.

    Only clips on which the two disagree carry information, so that the interval is much narrower than two separate
    ones would suggest. Normal approximation over the clips' differences (each -1, 0 or 1).

    Raises:
        KineflowError: The two were not scored on the same labelled clips.
    """
    align([student, baseline])
    _require_labels(student)
    right = [(scores.predictions() == scores.labels).astype(np.float64) for scores in (student, baseline)]
    differences = right[0] - right[1]
    value = float(differences.mean())
    half = _z(CONFIDENCE) * float(differences.std()) / len(differences) ** 0.5
    return Gain(value, max(-1.0, value - half), min(1.0, value + half))


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _require_labels(scores: Scores) -> None:
    if not len(scores):
        raise KineflowError("no clip was scored", where=f"scores of {scores.model!r}", remedy="choose another split")
    unlabelled = int((scores.labels < 0).sum())
    if unlabelled:
        raise KineflowError(
            f"{unlabelled} clips have no label, so there is no accuracy",
            where=f"scores of {scores.model!r}",
            remedy="evaluate on a labelled split (val or test)",
        )
