"""Two classes: curves, and a threshold that the evaluated clips have no say in."""

from __future__ import annotations

import numpy as np
import pytest

from kineflow.evaluation.intervals import area_under_roc
from kineflow.evaluation.scores import Scores
from kineflow.evaluation.two_classes import mean_precision, precision_recall_curve, roc_curve, threshold_of


def scores(shares, labels):
    shares = np.array(shares)
    logits = np.log(np.stack([1 - shares, shares], axis=1)).astype(np.float32)
    return Scores("m", tuple(map(str, range(len(shares)))), np.array(labels), ("no", "yes"), logits)


def test_the_curves_hold_their_areas():
    rng = np.random.default_rng(0)
    evidence, truth = rng.integers(0, 9, 60).astype(float), rng.random(60) < 0.3
    false, true = roc_curve(evidence, truth)
    assert np.trapezoid(true, false) == pytest.approx(area_under_roc(evidence, truth))
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    recall, precision = precision_recall_curve(evidence, truth)
    assert recall[-1] == 1
    assert precision[-1] == pytest.approx(truth.mean())


def test_equal_evidence_has_the_precision_of_guessing_in_whatever_order():
    truth = np.arange(10) < 4
    assert mean_precision(np.zeros(10), truth) == mean_precision(np.zeros(10), truth[::-1]) == pytest.approx(0.4)


def test_the_threshold_is_that_of_val():
    on_val = scores([0.6, 0.7, 0.8, 0.9], [0, 0, 1, 1])
    found = threshold_of(scores([0.55, 0.7, 0.85, 0.6], [0, 0, 1, 1]), on_val)
    assert found.value == pytest.approx(0.75, abs=1e-6)
    assert (found.chosen_on, found.recalls, found.top1) == (4, (1, 0.5), 0.75)


@pytest.mark.parametrize("on_val", [None, scores([0.6, 0.7], [1, 1])])
def test_without_both_classes_in_val_it_is_one_half(on_val):
    found = threshold_of(scores([0.4, 0.5, 0.6], [0, 0, 1]), on_val)
    assert (found.value, found.chosen_on, found.top1) == (0.5, 0, 1)
