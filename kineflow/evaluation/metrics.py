"""Figures computed from class scores: accuracies with their intervals, areas, confusion, change per class. Pure numpy.

Where intervals come from, and what groups of clips do to them, is in :mod:`kineflow.evaluation.intervals`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kineflow.evaluation.calibration import brier_score, expected_calibration_error
from kineflow.evaluation.intervals import Groups, area_under_roc, auc_interval, difference_interval, share_interval
from kineflow.evaluation.scores import Scores, align
from kineflow.evaluation.two_classes import mean_precision
from kineflow.storage.errors import KineflowError

Labels = NDArray[np.int64]
Figures = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """The headline figures of one set of scores; accuracies are shares in [0, 1].

    Attributes:
        clips: How many clips were scored.
        top1, top5: Share of clips whose true class is the best one, or among the best five; of a clip of several
            classes, any of them.
        mean_class_accuracy: Mean over classes of the share of their clips that are right; NaN where clips may have
            several classes.
        top1_low, top1_high: 95 % interval of ``top1``.
        auc: Area under the ROC curve: of two classes; of more, the mean over classes of each against the rest. NaN
            where no class has clips of its own and others.
        auc_low, auc_high: 95 % interval of ``auc`` for two classes; NaN for more.
        average_precision: Mean over classes of their average precision (mAP).
        ece: Expected calibration error, see :mod:`kineflow.evaluation.calibration`.
        brier: Brier score, in [0, 1] for two classes and [0, 2] for more.
    """

    clips: int
    top1: float
    top5: float
    mean_class_accuracy: float
    top1_low: float
    top1_high: float
    auc: float
    auc_low: float
    auc_high: float
    average_precision: float
    ece: float
    brier: float


@dataclass(frozen=True)
class Gain:
    """Difference in top-1 of two models on the same clips, in [-1, 1], with its 95 % interval."""

    value: float
    low: float
    high: float


def summarise(scores: Scores, groups: Groups = None) -> Summary:
    """Headline figures.

    Args:
        scores: Of labelled clips.
        groups: Of the clips, in their order; None: intervals take clips as independent.

    Raises:
        KineflowError: There is no clip, or one has no label.
    """
    _require_labels(scores)
    ranks = ranks_of_truth(scores.logits, scores.nearest_labels)
    low, high = share_interval(ranks == 0, groups)
    auc, auc_low, auc_high, precision = _ranking(scores, groups)
    return Summary(
        clips=len(ranks),
        top1=float((ranks < 1).mean()),
        top5=float((ranks < 5).mean()),
        mean_class_accuracy=mean_class_accuracy(confusion_of(scores)) if scores.truth is None else math.nan,
        top1_low=low,
        top1_high=high,
        auc=auc,
        auc_low=auc_low,
        auc_high=auc_high,
        average_precision=precision,
        ece=expected_calibration_error(scores),
        brier=brier_score(scores),
    )


def _ranking(scores: Scores, groups: Groups) -> tuple[float, float, float, float]:
    """Area under the ROC curve with its interval, and mean average precision."""
    ranked = class_evidence(scores)
    kinds = [(ranked[:, number], scores.is_of(number)) for number in range(len(scores.classes))]
    told_apart = [(evidence, truth) for evidence, truth in kinds if truth.any() and not truth.all()]
    if not told_apart:
        return (math.nan,) * 4
    precision = float(np.mean([mean_precision(*each) for each in told_apart]))
    if len(kinds) == 2 and scores.truth is None:
        return *auc_interval(*told_apart[1], groups), precision
    return float(np.mean([area_under_roc(*each) for each in told_apart])), math.nan, math.nan, precision


def class_evidence(scores: Scores) -> Figures:
    """What ranks clips by how much speaks for a class, float64 ``[N, K]``: log odds of two, else log probabilities.

    Of clips of several classes, log odds of each class.
    """
    logits = scores.logits.astype(np.float64)
    if scores.truth is not None:
        return logits
    if len(scores.classes) == 2:
        return logits - logits[:, ::-1]
    most = logits.max(axis=1, keepdims=True)
    evidence: Figures = logits - most - np.log(np.exp(logits - most).sum(axis=1, keepdims=True))
    return evidence


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
    """:func:`confusion_matrix` of the predictions; of several classes of a clip the one scored highest counts."""
    return confusion_matrix(scores.predictions(), scores.nearest_labels, len(scores.classes))


def per_class_accuracy(confusion: Labels) -> Figures:
    """Share of each class's clips that are right, float64 ``[K]``; NaN for a class without clips."""
    clips = confusion.sum(axis=1)
    shares: Figures = np.divide(confusion.diagonal(), clips, out=np.full(len(clips), np.nan), where=clips > 0)
    return shares


def per_class_figures(scores: Scores) -> Figures:
    """:func:`per_class_accuracy`; of clips of several classes, the average precision of each class. float64 ``[K]``."""
    if scores.truth is None:
        return per_class_accuracy(confusion_of(scores))
    evidence = class_evidence(scores)
    of_classes = [(evidence[:, number], scores.is_of(number)) for number in range(len(scores.classes))]
    return np.array([mean_precision(*each) if each[1].any() else math.nan for each in of_classes])


def mean_class_accuracy(confusion: Labels) -> float:
    """Mean of :func:`per_class_accuracy` over the classes that have clips."""
    return float(np.nanmean(per_class_accuracy(confusion)))


def per_class_change(student: Scores, baseline: Scores) -> Figures:
    """:func:`per_class_figures` of the student less those of the baseline, float64 ``[K]``; NaN without clips.

    Raises:
        KineflowError: The two were not scored on the same clips.
    """
    align([student, baseline])
    return per_class_figures(student) - per_class_figures(baseline)


def paired_gain(student: Scores, baseline: Scores, groups: Groups = None) -> Gain:
    """Top-1 of ``student`` less that of ``baseline``, with a 95 % interval for paired clips.

    Only clips on which the two disagree carry information, so that the interval is much narrower than two separate
    ones would suggest.

    Args:
        student, baseline: Scores of the same labelled clips.
        groups: Of the clips, in their order; None: the interval takes clips as independent.

    Raises:
        KineflowError: The two were not scored on the same labelled clips.
    """
    align([student, baseline])
    _require_labels(student)
    right = [(scores.predictions() == scores.nearest_labels).astype(np.float64) for scores in (student, baseline)]
    differences = right[0] - right[1]
    return Gain(float(differences.mean()), *difference_interval(differences, groups))


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
