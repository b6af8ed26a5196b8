import numpy as np
import pytest

from kineflow.evaluation.label_efficiency import LabelledShare, label_efficiency

CLIPS = 200


def share_right(share: float, top1: float) -> LabelledShare:
    return LabelledShare(share, share * 80, (np.arange(CLIPS) < top1 * CLIPS).astype(float))


@pytest.mark.parametrize(
    ("half", "every", "said"),
    [
        (0.60, 0.80, "half of the labels gave 60.0%, all of them 80.0%: more labels are likely to help"),
        (0.795, 0.80, "may be chance: more labels may help"),
        (0.80, 0.80, "more labels alone are not likely to help"),
        (0.82, 0.80, "more labels alone are not likely to help"),
    ],
)
def test_advice_goes_by_what_all_labels_gain_over_half_of_them(half: float, every: float, said: str):
    curve = label_efficiency([share_right(1.0, every), share_right(0.5, half)])
    assert said in curve.advice
    assert [point.share for point in curve.points] == [0.5, 1.0]
    assert curve.over_half.value == pytest.approx(every - half)


def test_nothing_is_advised_where_halves_were_not_tried():
    curve = label_efficiency([share_right(1.0, 0.7)])
    assert (curve.over_half, curve.advice) == (None, "")


def test_means_of_several_models_have_intervals_around_them():
    """Half of the models right on every clip is one half, and a gain of one half where the rest is right."""
    curve = label_efficiency([LabelledShare(0.5, 9, np.full(CLIPS, 0.5)), share_right(1.0, 1.0)], ["a", "b"] * 100)
    point = curve.points[0]
    assert point.top1_low < point.top1 == 0.5 < point.top1_high
    assert curve.over_half.low < curve.over_half.value == 0.5 < curve.over_half.high
