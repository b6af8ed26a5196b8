"""Captions and rows of pictures."""

from __future__ import annotations

import numpy as np
import pytest

from kineflow.flow.panels import captioned, side_by_side

RED = (200, 10, 10)


def filled(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), RED, np.uint8)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((240, 320), (240, 320)),
        ((64, 64), (192, 192)),
        ((100, 60), (400, 240)),
        ((2, 300), (4, 600)),
        ((5, 900), (5, 900)),
    ],
)
def test_small_pictures_are_enlarged_by_a_whole_factor(size: tuple[int, int], shown: tuple[int, int]) -> None:
    panel = captioned(filled(*size), "a", "b")
    assert panel.shape == (32 + shown[0], max(240, shown[1]), 3)
    assert (panel[32:] == RED).all(-1).sum() == shown[0] * shown[1]


def test_every_pixel_is_where_it_was() -> None:
    image = np.random.default_rng(0).integers(0, 255, (200, 250, 3), dtype=np.uint8)
    assert np.array_equal(captioned(image, "title", "note", wheel=True)[32:], image)


def test_captions_say_something_else_for_other_words() -> None:
    pictures = [
        captioned(filled(200, 300), *words) for words in (("flow", "1.0 px"), ("flow", "2.0 px"), ("frame", "1.0 px"))
    ]
    assert not np.array_equal(pictures[0][:32, 150:], pictures[1][:32, 150:])
    assert np.array_equal(pictures[0][:32, :150], pictures[1][:32, :150])
    assert not np.array_equal(pictures[0][:32, :150], pictures[2][:32, :150])


def test_the_wheel_shows_right_as_red_and_still_as_white() -> None:
    panel = captioned(filled(200, 300), "flow", "", wheel=True)
    middle_x, middle_y = 300 - 8 - 13, 16
    assert panel[middle_y, middle_x].min() > 225
    red, green, blue = panel[middle_y, middle_x + 11].astype(int)
    assert red > 200 > max(green, blue)
    red, green, blue = panel[middle_y, middle_x - 11].astype(int)
    assert red < 100


def test_rows_are_even() -> None:
    row = side_by_side([captioned(filled(241, 301), "a", "b") for _ in range(2)])
    assert row.shape == (32 + 242, 2 * 301 + 4, 3)
    assert (row == RED).all(-1).sum() == 2 * 241 * 301
