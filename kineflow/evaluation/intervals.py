"""95 % intervals of shares, of paired differences and of areas under ROC curves; by group where groups repeat.

Clips cut from one source resemble each other, so that twenty of them say less than twenty sources would. Where groups
are known and some have several clips, groups are drawn anew (a cluster bootstrap), and an interval is never narrower
than the one that takes clips as independent: few groups make the bootstrap too sure. Where nothing varies, there is
nothing to draw from, and what remains is a bound: so many groups (or clips) would hide what is rarer than that.

Wilson score intervals (Wilson 1927) stay within [0, 1] and hold their level near 0 and 1 and for few clips, where the
usual p ± 1.96 s.e. does not. Differences of paired clips: Agresti and Min (2005), half a clip added to each of the four
outcomes. Areas under ROC curves: DeLong (1988), by group Obuchowski (1997), on the scale of log odds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
DRAWS = 2000

Interval = tuple[float, float]
Values = NDArray[np.float64]
Groups = Sequence[str] | None

_SEED = 0
_VALUES_A_PART = 2**21


def groups_repeat(groups: Groups) -> bool:
    """Whether any group has several clips, so that intervals go by group."""
    return groups is not None and len(set(groups)) < len(groups)


def wilson_interval(correct: float, total: float, confidence: float = CONFIDENCE) -> Interval:
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


def share_interval(right: NDArray[Any], groups: Groups = None) -> Interval:
    """Interval of the share of clips that are right.

    Args:
        right: bool ``[N]``, N at least 1; or by how many of several models each is answered rightly, in [0, 1].
        groups: Of the clips, ``N``; None: clips are independent.
    """
    independent = wilson_interval(float(right.sum()), len(right))
    if groups is None or not groups_repeat(groups):
        return independent
    by_group = _bootstrap(right.astype(np.float64), groups)
    if by_group is None:
        total = len(set(groups))
        by_group = wilson_interval(float(right.mean()) * total, total)
    return wider(independent, by_group)


def difference_interval(differences: Values, groups: Groups = None, confidence: float = CONFIDENCE) -> Interval:
    """Interval of the mean difference of two models on the same clips.

    Args:
        differences: ``[N]`` in [-1, 1]: right less right; N at least 1.
        groups: Of the clips, ``N``; None: clips are independent.
        confidence: Level, in (0, 1).
    """
    independent = _paired(_sum(differences), _sum(-differences), len(differences), confidence)
    return _by_group(differences, groups, independent, confidence)


def weighted_difference_interval(
    differences: Values, groups: Groups = None, confidence: float = CONFIDENCE
) -> Interval:
    """As :func:`difference_interval`, of clips that do not count alike, as in a mean over classes.

    Args:
        differences: ``[N]``, right less right times what the clip counts, of mean 1; N at least 1.
        groups: Of the clips, ``N``; None: clips are independent, and drawn anew one by one.
        confidence: Level, in (0, 1).
    """
    alone = [str(number) for number in range(len(differences))]
    return _by_group(differences, groups, _of_draws(differences, alone, confidence), confidence)


def mean_interval(values: Values, confidence: float = CONFIDENCE) -> Interval:
    """Student's interval of the mean of a few independent figures, such as one a seed.

    Args:
        values: ``[N]``, N at least 2.
        confidence: Level, in (0, 1).
    """
    half = student_quantile(len(values) - 1, confidence) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def student_quantile(freedom: int, confidence: float = CONFIDENCE) -> float:
    """The t within which ``confidence`` of Student's distribution lies, either way, by bisection.

    Args:
        freedom: Degrees of it, at least 1.
        confidence: Level, in (0, 1).
    """
    low, high = 0.0, 1.0
    while _within(high, freedom) < confidence:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < confidence else (low, middle)
    return (low + high) / 2


def _within(t: float, freedom: int) -> float:
    """Share of Student's distribution between -t and t (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    odd = freedom % 2
    term = total = math.cos(angle) if odd else 1.0
    for power in range(2 + odd, freedom - 1, 2):
        term *= (power - 1) / power * math.cos(angle) ** 2
        total += term
    if not odd:
        return math.sin(angle) * total
    return 2 / math.pi * (angle + (math.sin(angle) * total if freedom > 1 else 0.0))


def _by_group(differences: Values, groups: Groups, independent: Interval, confidence: float) -> Interval:
    if groups is None or not groups_repeat(groups):
        return independent
    return wider(independent, _of_draws(differences, groups, confidence))


def _of_draws(differences: Values, groups: Sequence[str], confidence: float) -> Interval:
    drawn = _bootstrap(differences, groups, confidence)
    if drawn is None:
        mean, room = float(differences.mean()), wilson_interval(0, len(set(groups)), confidence)[1]
        drawn = max(-1.0, mean - room), min(1.0, mean + room)
    return drawn


def _sum(differences: Values) -> float:
    return float(differences.clip(0).sum())


def _paired(better: float, worse: float, total: int, confidence: float) -> Interval:
    if not better and not worse:
        # No difference was seen: a share of clips below this may differ all the same, either way.
        unseen = wilson_interval(0, total, confidence)[1]
        return -unseen, unseen
    adjusted, differing = (better - worse) / (total + 2), (better + worse + 1) / (total + 2)
    half = _z(confidence) * math.sqrt(max(0.0, differing - adjusted**2) / (total + 2))
    return max(-1.0, adjusted - half), min(1.0, adjusted + half)


def _bootstrap(values: Values, groups: Sequence[str], confidence: float = CONFIDENCE) -> Interval | None:
    """Percentiles of the mean over groups drawn anew, seeded; None where all draws are the same."""
    places = np.unique(np.asarray(groups), return_inverse=True)[1]
    sums, counts = np.bincount(places, values), np.bincount(places)
    rng, number = np.random.default_rng(_SEED), len(sums)
    at_once = max(1, _VALUES_A_PART // number)
    means: list[Values] = []
    for start in range(0, DRAWS, at_once):
        drawn = rng.integers(number, size=(min(at_once, DRAWS - start), number))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    every = np.concatenate(means)
    if np.ptp(every) < 1e-12:
        return None
    low, high = np.quantile(every, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def area_under_roc(scores: Values, truth: NDArray[np.bool_]) -> float:
    """How likely a clip of the class scores higher than one that is not of it; equal ones count half.

    Args:
        scores: ``[N]`` of one class.
        truth: ``[N]``, which clips are of it: some, not all.
    """
    return float(_below(scores[truth], np.sort(scores[~truth])).mean())


def auc_interval(scores: Values, truth: NDArray[np.bool_], groups: Groups = None) -> tuple[float, float, float]:
    """:func:`area_under_roc`, and the lower and upper bound of its interval, in [0, 1].

    Args:
        scores: ``[N]`` of one class.
        truth: ``[N]``, which clips are of it: some, not all.
        groups: Of the clips, ``N``; None: clips are independent.
    """
    of_class, others = np.sort(scores[truth]), np.sort(scores[~truth])
    # For each clip, the share of the other kind's that it is on the right side of.
    placed = np.where(truth, _below(scores, others), 1 - _below(scores, of_class))
    area = float(placed[truth].mean())
    clusters = np.arange(len(scores)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    parts, totals = [], []
    for rows in (truth, ~truth):
        parts.append(np.bincount(clusters[rows], placed[rows] - area, clusters.max() + 1) / rows.sum())
        totals.append(len(np.unique(clusters[rows])))
    # Obuchowski's variance, corrected for how few groups the rarer kind has; of groups of one clip it is DeLong's.
    fewest = min(totals)
    variance = float(((parts[0] + parts[1]) ** 2).sum()) * fewest / max(1, fewest - 1)
    if variance < 1e-12 or fewest < 2 or not 0 < area < 1:
        return area, *wilson_interval(area * fewest, fewest)
    half = _z(CONFIDENCE) * math.sqrt(variance) / (area * (1 - area))
    odds = math.log(area / (1 - area))
    return area, 1 / (1 + math.exp(half - odds)), 1 / (1 + math.exp(-half - odds))


def _below(scores: Values, ordered: Values) -> Values:
    """For each score, the share of ``ordered`` that is lower, and half of what is equal."""
    below = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")
    shares: Values = below / (2 * len(ordered))
    return shares


def wider(first: Interval, second: Interval) -> Interval:
    """The interval that holds both."""
    return min(first[0], second[0]), max(first[1], second[1])


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
