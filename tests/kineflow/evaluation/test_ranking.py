from __future__ import annotations

import math

import numpy as np
import pytest

from kineflow.evaluation.ranking import average_precision


def test_average_precision_is_the_mean_precision_at_the_right_ones() -> None:
    scores = np.array([0.9, 0.1, 0.8, 0.5])
    truth = np.array([True, True, False, False])
    assert average_precision(scores, truth) == pytest.approx((1 / 1 + 2 / 4) / 2)
    assert average_precision(scores, ~truth) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert math.isnan(average_precision(scores, np.zeros(4, bool)))
