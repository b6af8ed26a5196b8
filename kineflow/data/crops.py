"""Where TSN and ST-ResNet look: crops of jittered size and aspect to learn from, ten crops to be tested on.

Wang et al., "Temporal Segment Networks" (ECCV 2016), §3.3 and §4.1. Frames of 340×256 are cut to a width and a height
out of 256, 224, 192 and 168, chosen apart from each other but for neighbours in that list, so that the aspect ratio
varies a little; the cut lies in a corner or in the middle, and is resized to 224×224.

Feichtenhofer et al., "Spatiotemporal Residual Networks" (NIPS 2016), by their released code. Motion by itself is cut as
TSN's, but any two sides go together. Appearance, and the two joined (``borders25``, ``f25noCtr``), have sides that are
drawn apart from each other, uniform from .75 to 1.25 times 224 and no longer than the frame; the cut lies near a
corner, top left or bottom right, and never in the middle::

    room = frame - cut,    offset = ⌊share · room⌋,    both shares from [0, ¼] or both from [¾, 1], 20 values of each
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from kineflow.data.transforms import View, centre_view, check_fits, whole_view

Crops = Literal[1, 2, 5, 10, "whole"]
Positions = Literal[5, 13, "borders"]
Sides = Literal["neighbours", "any"]

# In quarters of the room that the cut leaves: down, right.
_CORNERS_AND_CENTRE = ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2))
_THIRTEEN = (*_CORNERS_AND_CENTRE, (0, 2), (2, 0), (2, 4), (4, 2), (1, 1), (1, 3), (3, 1), (3, 3))
_PLACES: dict[Positions, tuple[tuple[int, int], ...]] = {5: _CORNERS_AND_CENTRE, 13: _THIRTEEN}

_BORDER_SHARE, _BORDER_STEPS = 0.25, 20


@dataclass(frozen=True)
class Jitter:
    """Sizes and places of training crops.

    Attributes:
        scales: Sides of a cut, as shares of the frame's short side, largest first: 1, .875, .75 and .66 in the paper,
            and without the last for flow.
        positions: 5 for corners and centre (TSN's paper), 13 for its released code's grid, ``borders`` for ST-ResNet's.
        sides: Which of ``scales`` go together: ``neighbours`` in the list, or ``any``.
        side_range: In place of ``scales``: from where to where a side is drawn, as shares of the crop; None: it is not.
    """

    scales: tuple[float, ...] = ()
    positions: Positions = 5
    sides: Sides = "neighbours"
    side_range: tuple[float, float] | None = None


def cut_sizes(short_side: int, scales: Sequence[float], sides: Sides = "neighbours") -> list[tuple[int, int]]:
    """Heights and widths of the legal cuts, px: pairs of scales that are the same or next to each other, or all."""
    lengths = [int(short_side * scale) for scale in scales]
    return [
        (height, width)
        for row, height in enumerate(lengths)
        for column, width in enumerate(lengths)
        if sides == "any" or abs(row - column) <= 1
    ]


def jittered_view(
    height: int, width: int, size: int, jitter: Jitter, *, may_flip: bool, rng: np.random.Generator
) -> View:
    """One of the legal cuts at one of the positions, resized to ``size``; mirrored half the time if ``may_flip``."""
    cut = _drawn_cut(height, width, size, jitter, rng)
    top, left = _drawn_place(height - cut[0], width - cut[1], jitter.positions, rng)
    flip = bool(may_flip and rng.random() < 0.5)
    return View(top, left, size, flip, cut=cut)


def _drawn_cut(height: int, width: int, size: int, jitter: Jitter, rng: np.random.Generator) -> tuple[int, int]:
    if jitter.side_range is None:
        sizes = cut_sizes(min(height, width), jitter.scales, jitter.sides)
        return sizes[int(rng.integers(len(sizes)))]
    tall, wide = size * rng.uniform(*jitter.side_range, size=2)
    return round(min(tall, height)), round(min(wide, width))


def _drawn_place(down: int, right: int, positions: Positions, rng: np.random.Generator) -> tuple[int, int]:
    """Top and left of a cut that leaves so much room."""
    if positions == "borders":
        nearest = (1 - _BORDER_SHARE) * rng.integers(2)
        shares = nearest + _BORDER_SHARE * rng.integers(_BORDER_STEPS, size=2) / (_BORDER_STEPS - 1)
        return int(down * shares[0]), int(right * shares[1])
    places = _PLACES[positions]
    from_top, from_left = places[int(rng.integers(len(places)))]
    return from_top * down // 4, from_left * right // 4


def fixed_views(height: int, width: int, size: int, crops: Crops) -> list[View]:
    """Views to be tested on.

    The centre (1), or the corners as well (5), or either with its mirror images (2 and 10); or the ``whole`` frame and
    its mirror image, not resized, for networks that are convolutional in space.
    """
    if crops == "whole":
        return [whole_view(height, width), whole_view(height, width, flip=True)]
    if crops <= 2:
        views = [centre_view(height, width, size)]
    else:
        check_fits(height, width, size)
        views = [
            View(down * (height - size) // 4, right * (width - size) // 4, size) for down, right in _CORNERS_AND_CENTRE
        ]
    return views if crops in (1, 5) else [*views, *(replace(view, flip=True) for view in views)]
