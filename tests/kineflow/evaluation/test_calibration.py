"""As often right as it says."""

from __future__ import annotations

import numpy as np
import pytest

from kineflow.evaluation.calibration import brier_score, expected_calibration_error, reliability
from kineflow.evaluation.scores import Scores


def scores(shares, labels):
    logits = np.log(np.maximum(shares, 1e-9)).astype(np.float32)
    classes = tuple("abcde"[: logits.shape[1]])
    return Scores("m", tuple(map(str, range(len(logits)))), np.array(labels), classes, logits)


def test_a_model_that_is_right_as_often_as_it_says_has_no_error():
    honest = scores([[0.8, 0.2]] * 10, [0] * 8 + [1] * 2)
    assert expected_calibration_error(honest) == pytest.approx(0, abs=1e-6)
    boastful = scores([[0.999, 0.001]] * 10, [0] * 8 + [1] * 2)
    assert expected_calibration_error(boastful) == pytest.approx(0.199, abs=1e-3)


def test_every_clip_is_in_one_bin():
    rng = np.random.default_rng(1)
    shares = rng.dirichlet([1, 1, 1], 200)
    bins = reliability(scores(shares, rng.integers(0, 3, 200)))
    assert bins.clips.sum() == 200
    assert np.all(np.diff(bins.said) > 0)
    assert reliability(scores([[1.0, 0.0], [0.5, 0.5]], [0, 0])).clips.tolist() == [1, 1]


def test_brier_of_knowing_nothing_and_of_being_wrong():
    assert brier_score(scores([[0.5, 0.5]] * 4, [0, 1, 0, 1])) == pytest.approx(0.25)
    assert brier_score(scores([[0.0, 1.0]], [0])) == pytest.approx(1)
    assert brier_score(scores([[0.0, 1.0, 0.0]], [0])) == pytest.approx(2)
