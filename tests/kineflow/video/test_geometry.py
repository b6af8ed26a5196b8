"""Pictures as they are meant to be seen, held to what the eight display matrices say of single points."""

from __future__ import annotations

import itertools
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideDataType

from kineflow.storage.errors import KineflowError
from kineflow.video.geometry import Turn, pixel_aspect, square_size, turn_of, upright

ONE = 1 << 16
STRAIGHT = [(a, 0, 0, d) for a, d in itertools.product((1, -1), repeat=2)]
ACROSS = [(0, b, c, 0) for b, c in itertools.product((1, -1), repeat=2)]


class _Matrix(np.ndarray):
    """An array that says its size as FFmpeg's side data does."""

    @property
    def buffer_size(self) -> int:
        return self.nbytes


def framed(a: float, b: float, c: float, d: float) -> SimpleNamespace:
    values = np.array([a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30], np.int32).view(_Matrix)
    return SimpleNamespace(side_data={SideDataType.DISPLAYMATRIX: values})


def shown(image: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """Every pixel put where the matrix says."""
    height, width = image.shape
    seen = np.zeros((width, height) if b else (height, width), image.dtype)
    for y, x in itertools.product(range(height), range(width)):
        across, down = a * x + c * y, b * x + d * y
        seen[down if down > 0 or (b + d) > 0 else down - 1 + seen.shape[0], :][
            across if across > 0 or (a + c) > 0 else across - 1 + seen.shape[1]
        ] = image[y, x]
    return seen


@pytest.mark.parametrize("matrix", STRAIGHT + ACROSS)
def test_all_eight_matrices(matrix: tuple[int, int, int, int]) -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    turn = turn_of(framed(*matrix))
    assert np.array_equal(upright(image, turn), shown(image, *matrix))
    assert turn.is_sideways == (matrix[0] == 0)


def test_any_other_matrix_is_the_nearest() -> None:
    assert turn_of(framed(0.9, 0.3, -0.3, 0.9)) == Turn()
    assert turn_of(framed(-0.2, 0.97, 0.97, 0.2)) == turn_of(framed(0, 1, 1, 0))
    assert turn_of(framed(0.5, 0, 0, -2)) == turn_of(framed(1, 0, 0, -1))
    assert turn_of(framed(0, 0, 0, 0)) == Turn()
    assert turn_of(SimpleNamespace(side_data={})) == Turn()


@pytest.mark.parametrize(
    ("stated", "expected"),
    [(None, 1), (Fraction(0), 1), (Fraction(1), 1), (Fraction(256, 255), 1), (Fraction(16, 15), 16 / 15), (2, 2),
     (Fraction(1, 2), 0.5), (Fraction(-2), 1)],
)  # fmt: skip
def test_pixel_aspect(stated: Fraction | None, expected: float) -> None:
    assert pixel_aspect(SimpleNamespace(sample_aspect_ratio=stated)) == pytest.approx(expected)


@pytest.mark.parametrize("stated", [Fraction(1000), Fraction(1, 9)])
def test_pixels_that_cannot_be(stated: Fraction) -> None:
    with pytest.raises(KineflowError, match=f"{stated.numerator}:{stated.denominator}"):
        pixel_aspect(SimpleNamespace(sample_aspect_ratio=stated))


def test_no_line_is_lost() -> None:
    assert square_size(720, 576, 64 / 45) == (1024, 576)
    assert square_size(720, 480, 8 / 9) == (720, 540)
    assert square_size(341, 255, 1.0) == (341, 255)
