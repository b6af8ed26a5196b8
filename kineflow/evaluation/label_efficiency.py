"""Label efficiency: what a model is worth when it learns from fewer labels, and what that says about more of them.

Intervals are over the judged clips, not over which labels were drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kineflow.evaluation.intervals import Groups, difference_interval, share_interval
from kineflow.evaluation.metrics import Gain

HALF = 0.5


@dataclass(frozen=True)
class LabelledShare:
    """Models that learnt from a share of the labels.

    Attributes:
        share: In (0, 1].
        clips: How many labelled clips they learnt from, on average.
        right: float64 [N], the share of these models that answer each judged clip rightly.
    """

    share: float
    clips: float
    right: NDArray[np.float64]


@dataclass(frozen=True)
class LabelPoint:
    """A point of the curve.

    Attributes:
        share: Of the labels, in (0, 1].
        clips: How many they are, on average.
        top1, top1_low, top1_high: Mean top-1 in [0, 1] and its 95 % interval.
    """

    share: float
    clips: float
    top1: float
    top1_low: float
    top1_high: float


@dataclass(frozen=True)
class LabelEfficiency:
    """The curve.

    Attributes:
        points: By share, ascending; the last is of all labels.
        over_half: What all labels gain over half of them; None where halves were not tried.
    """

    points: tuple[LabelPoint, ...]
    over_half: Gain | None

    @property
    def advice(self) -> str:
        """One sentence: whether more labels would help. Empty where halves were not tried."""
        if self.over_half is None:
            return ""
        half, every = (next(p for p in self.points if p.share == share) for share in (HALF, 1.0))
        figures = f"half of the labels gave {half.top1:.1%}, all of them {every.top1:.1%}"
        if self.over_half.low > 0:
            return f"{figures}: more labels are likely to help"
        if self.over_half.value > 0:
            return f"{figures}, which may be chance: more labels may help"
        return f"{figures}: more labels alone are not likely to help; other descriptors or a network that learns may"


def label_efficiency(tried: Sequence[LabelledShare], groups: Groups = None) -> LabelEfficiency:
    """The curve of models that learnt from several shares of the labels, judged on the same clips.

    Args:
        tried: At least the share 1, each share once.
        groups: Of the judged clips, N; None: clips are independent.
    """
    by_share = {each.share: each for each in sorted(tried, key=lambda each: each.share)}
    points = tuple(
        LabelPoint(share, each.clips, float(each.right.mean()), *share_interval(each.right, groups))
        for share, each in by_share.items()
    )
    if HALF not in by_share:
        return LabelEfficiency(points, None)
    difference = by_share[1.0].right - by_share[HALF].right
    return LabelEfficiency(points, Gain(float(difference.mean()), *difference_interval(difference, groups)))
