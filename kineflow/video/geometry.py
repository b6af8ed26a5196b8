"""How a coded picture is meant to be seen: turned, mirrored, and with pixels that need not be square.

A display matrix takes the point (x, y) of the coded picture to (a·x + c·y, b·x + d·y) of the one shown. Eight matrices
map the edges of a picture onto edges; any other is taken for the nearest of them::

    turned by   0          90         180        270 degrees counter-clockwise
    as is       x  y       y -x      -x -y      -y  x
    mirrored   -x  y       y  x       x -y      -y -x      left and right are exchanged before it is turned
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from av.sidedata.sidedata import Type as SideDataType

from kineflow.storage.errors import KineflowError

_MATRIX_VALUES = 9
_NEAR_SQUARE = 0.03
_WIDEST = 8


@dataclass(frozen=True)
class Turn:
    """What is to be done with a coded picture before it is shown.

    Attributes:
        rotation: Degrees counter-clockwise, one of 0, 90, 180 and 270.
        mirrored: Left and right are exchanged first.
    """

    rotation: int = 0
    mirrored: bool = False

    @property
    def is_sideways(self) -> bool:
        """Whether width and height change places."""
        return self.rotation in (90, 270)


def turn_of(frame: Any) -> Turn:
    """The turn that a decoded frame asks for: of its container, or of the picture itself (EXIF, SEI)."""
    matrix = frame.side_data.get(SideDataType.DISPLAYMATRIX)
    if matrix is None or matrix.buffer_size < _MATRIX_VALUES * 4:
        return Turn()
    a, b, _, c, d = np.frombuffer(matrix, dtype=np.int32, count=5).astype(np.float64).tolist()
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    # What is left turns clockwise by the angle of (a, b) = (cos, sin); (d, -c) is the same again.
    cosine, sine = a + d, b - c
    if abs(cosine) >= abs(sine):
        return Turn(180 if cosine < 0 else 0, mirrored)
    return Turn(270 if sine > 0 else 90, mirrored)


def upright(image: np.ndarray, turn: Turn) -> np.ndarray:
    """Mirror and turn ``[H, W, ...]``; an image that needs neither is given back itself."""
    if turn == Turn():
        return image
    flipped = np.flip(image, axis=1) if turn.mirrored else image
    return np.ascontiguousarray(np.rot90(flipped, turn.rotation // 90))


def pixel_aspect(stream: Any) -> float:
    """Width of a pixel over its height (the sample aspect ratio); 1.0 when the file does not say.

    Nearer to 1 than 3 % counts as 1: a scaled video whose sides were rounded says so, and scaling it again would cost
    quality and gain nothing.

    Raises:
        KineflowError: Pixels are said to be more than eight times as wide as high, or as high as wide.
    """
    stated = stream.sample_aspect_ratio
    if not stated or stated < 0 or abs(stated - 1) < _NEAR_SQUARE:
        return 1.0
    if not 1 / _WIDEST <= stated <= _WIDEST:
        raise KineflowError(
            f"its pixels are said to be {stated.numerator}:{stated.denominator}, which cannot be",
            remedy="write the true shape into the file: ffmpeg -i IN -c copy -aspect 16:9 OUT",
        )
    return float(stated)


def square_size(width: int, height: int, aspect: float) -> tuple[int, int]:
    """Width and height of a picture with square pixels; none of its lines or columns is lost."""
    return (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
