"""The colour wheel."""

from __future__ import annotations

import numpy as np
import pytest

from kineflow.flow.flow_colours import flow_to_rgb


def _colour(u: float, v: float, max_px: float = 1.0) -> list[int]:
    return flow_to_rgb(np.array([u, v]), max_px).tolist()


def test_standing_still_is_white() -> None:
    assert (flow_to_rgb(np.zeros((4, 5, 2))) == 255).all()
    assert _colour(0, 0) == [255, 255, 255]


@pytest.mark.parametrize(
    ("direction", "colour"),
    [((1, 0), [255, 0, 0]), ((0, 1), [255, 229, 0]), ((-1, 0), [0, 209, 255]), ((0, -1), [88, 0, 255])],
    ids=["right is red", "down is yellow", "left is cyan", "up is violet"],
)
def test_hue_is_direction(direction: tuple[int, int], colour: list[int]) -> None:
    np.testing.assert_allclose(_colour(*direction), colour, atol=12)


def test_faster_is_more_saturated_and_beyond_the_greatest_is_darker() -> None:
    pale, full, beyond = (_colour(speed, 0) for speed in (0.5, 1.0, 2.0))
    assert pale[1] > full[1]
    assert beyond[0] == int(0.75 * 255)


def test_by_default_the_fastest_has_full_colour() -> None:
    flow = np.zeros((2, 2, 2))
    flow[0, 0] = (7, 0)
    assert flow_to_rgb(flow)[0, 0].tolist() == [255, 0, 0]


def test_unknown_flow_is_black_and_does_not_spoil_the_scale() -> None:
    flow = np.array([[np.nan, 0], [np.inf, 1], [3, 0]])
    assert flow_to_rgb(flow).tolist() == [[0, 0, 0], [0, 0, 0], [255, 0, 0]]


def test_shape_and_type() -> None:
    colours = flow_to_rgb(np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype(np.float32))
    assert colours.shape == (3, 4, 5, 3)
    assert colours.dtype == np.uint8
