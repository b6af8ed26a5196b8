"""Intervals that say what was not seen, and that few sources are few."""

from __future__ import annotations

import numpy as np
import pytest

from kineflow.evaluation.intervals import (
    area_under_roc,
    auc_interval,
    difference_interval,
    groups_repeat,
    share_interval,
    wilson_interval,
)


def width(interval):
    return interval[1] - interval[0]


def test_no_difference_in_eight_clips_says_little():
    low, high = difference_interval(np.zeros(8))
    assert low == pytest.approx(-0.324, abs=0.001)  # Wilson's bound of 0 in 8
    assert high == -low
    assert width(difference_interval(np.zeros(800))) < 0.02


@pytest.mark.parametrize("interval", [share_interval, difference_interval])
def test_clips_of_few_groups_count_for_less(interval):
    right = np.repeat([1.0, 0.0, 1.0, 1.0, 0.0, 1.0], 20)  # groups are right or wrong as a whole
    groups = [str(place // 20) for place in range(120)]
    apart = [str(place) for place in range(120)]
    assert groups_repeat(groups)
    assert not groups_repeat(apart)
    assert interval(right, apart) == interval(right)
    assert width(interval(right, groups)) > 2 * width(interval(right))
    assert interval(right, groups) == interval(right, groups)


def test_groups_that_are_all_right_are_as_many_as_they_are():
    groups = [str(place // 20) for place in range(120)]
    assert share_interval(np.ones(120, bool), groups) == pytest.approx(wilson_interval(6, 6))
    assert difference_interval(np.zeros(120), groups)[1] == pytest.approx(wilson_interval(0, 6)[1])
    one = share_interval(np.arange(40) % 2 == 0, ["one"] * 40)
    assert one == pytest.approx(wilson_interval(0.5, 1))


def test_the_area_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(3)
    scores, truth = rng.integers(0, 6, 40).astype(float), rng.random(40) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[truth] for b in scores[~truth]]
    assert area_under_roc(scores, truth) == pytest.approx(np.mean(pairs))
    area, low, high = auc_interval(scores, truth)
    assert area == pytest.approx(np.mean(pairs))
    assert 0 < low < area < high < 1


def test_the_interval_of_an_area_holds_its_level():
    rng, hits, true_area = np.random.default_rng(0), 0, 0.7602  # Φ(1 / √2)
    for _ in range(300):
        truth = np.arange(40) < 15
        _, low, high = auc_interval(rng.normal(size=40) + truth, truth)
        hits += low <= true_area <= high
    assert 0.92 <= hits / 300 <= 0.99


def test_areas_that_cannot_vary_have_a_bound():
    truth = np.arange(12) < 6
    area, low, high = auc_interval(truth.astype(float), truth)
    assert (area, high) == (1, 1)
    assert low == pytest.approx(wilson_interval(6, 6)[0])
    clustered = auc_interval(truth.astype(float), truth, [str(place % 6 // 2) for place in range(12)])
    assert clustered[1] < low
