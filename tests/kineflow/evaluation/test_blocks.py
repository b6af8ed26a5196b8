from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.evaluation.blocks import (
    average_precision,
    dense_blocks,
    mean_average_precision,
    spread_blocks,
    video_probabilities,
)


def test_dense_blocks_are_every_window() -> None:
    blocks = dense_blocks(33)
    assert blocks.shape == (4, 30)
    assert blocks[:, 0].tolist() == [0, 1, 2, 3]
    assert blocks[3].tolist() == list(range(3, 33))
    assert dense_blocks(40, length=10, stride=8)[:, 0].tolist() == [0, 8, 16, 24]


def test_spread_blocks_follow_the_published_rule() -> None:
    # gap = int((180 - 30 + 1) / 25) = 6, start_j = 3 + 6 j
    blocks = spread_blocks(180)
    assert blocks.shape == (25, 30)
    assert blocks[:, 0].tolist() == [3 + 6 * j for j in range(25)]
    assert spread_blocks(204)[:, 0].tolist() == [3 + 7 * j for j in range(25)]  # gap 7, half of it 3
    assert set(spread_blocks(40)[:, 0].tolist()) == {0}  # fewer starts than blocks


@given(st.integers(1, 400), st.integers(1, 40), st.integers(1, 30))
def test_blocks_lie_within_the_video_and_run_on(n_steps: int, length: int, count: int) -> None:
    for blocks in (dense_blocks(n_steps, length, stride=count), spread_blocks(n_steps, length, blocks=count)):
        assert blocks.min() >= 0
        assert blocks.max() < n_steps
        steps = np.diff(blocks, axis=1)
        if n_steps >= length:
            assert (steps == 1).all()
        assert np.isin(steps, (0, 1)).all()


@pytest.mark.parametrize("make", [dense_blocks, spread_blocks])
def test_a_short_video_repeats_its_last_step(make: object) -> None:
    blocks = make(3, 5)  # type: ignore[operator]
    assert (blocks == [0, 1, 2, 2, 2]).all()


PROBABILITIES = np.array(
    [
        [[0.6, 0.4, 0.0], [0.6, 0.4, 0.0]],
        [[0.6, 0.4, 0.0], [0.6, 0.4, 0.0]],
        [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]],
    ]
)


def test_average_and_majority_may_differ() -> None:
    average = video_probabilities(PROBABILITIES)
    np.testing.assert_allclose(average, [0.4, 0.6, 0.0])
    majority = video_probabilities(PROBABILITIES, vote="majority")
    np.testing.assert_allclose(majority, [2 / 3, 1 / 3, 0])
    assert (average.argmax(), majority.argmax()) == (1, 0)


def test_only_the_last_steps_are_scored_where_that_is_asked() -> None:
    steps = np.array([[[1.0, 0.0], [0.0, 1.0], [0.2, 0.8]]])
    np.testing.assert_allclose(video_probabilities(steps), [0.4, 0.6])
    np.testing.assert_allclose(video_probabilities(steps, scored_steps=2), [0.1, 0.9])
    np.testing.assert_allclose(video_probabilities(steps, scored_steps=99), [0.4, 0.6])
    np.testing.assert_allclose(video_probabilities(steps, scored_steps=1, vote="majority"), [0, 1])


def test_of_equal_votes_the_lower_class_wins() -> None:
    blocks = np.array([[[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]]])
    assert video_probabilities(blocks, vote="majority").argmax() == 1


def test_average_precision_is_the_mean_precision_at_the_right_ones() -> None:
    scores = np.array([0.9, 0.1, 0.8, 0.5])
    truth = np.array([True, True, False, False])
    assert average_precision(scores, truth) == pytest.approx((1 / 1 + 2 / 4) / 2)
    assert average_precision(scores, ~truth) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert math.isnan(average_precision(scores, np.zeros(4, bool)))


def test_map_averages_over_the_classes_that_occur() -> None:
    scores = np.array([[0.9, 0.2, 0.5], [0.8, 0.7, 0.4]])
    truth = np.array([[True, True, False], [False, False, False]])
    assert mean_average_precision(scores, truth) == pytest.approx((1 + 1 / 2) / 2)
    assert math.isfinite(mean_average_precision(scores, truth))
