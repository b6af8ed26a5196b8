"""Where TSN looks: corner crops of jittered size to learn from, ten crops to be tested on.

Wang et al., "Temporal Segment Networks" (ECCV 2016), §3.3 and §4.1. Frames of 340×256 are cut to a width and a height
out of 256, 224, 192 and 168, chosen apart from each other but for neighbours in that list, so that the aspect ratio
varies a little; the cut lies in a corner or in the middle, and is resized to 224×224.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from kineflow.data.transforms import View, centre_view, check_fits, whole_view

Crops = Literal[1, 2, 5, 10, "whole"]
Positions = Literal[5, 13]

# In quarters of the room that the cut leaves: down, right.
_CORNERS_AND_CENTRE = ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2))
_THIRTEEN = (*_CORNERS_AND_CENTRE, (0, 2), (2, 0), (2, 4), (4, 2), (1, 1), (1, 3), (3, 1), (3, 3))
_PLACES = {5: _CORNERS_AND_CENTRE, 13: _THIRTEEN}


@dataclass(frozen=True)
class Jitter:
    """Sizes and places of training crops.

    Attributes:
        scales: Sides of a cut, as shares of the frame's short side, largest first: 1, .875, .75 and .66 in the paper,
            and without the last for flow.
        positions: 5 for corners and centre (paper), 13 for the released code's grid.
    """

    scales: tuple[float, ...]
    positions: Positions = 5


def cut_sizes(short_side: int, scales: Sequence[float]) -> list[tuple[int, int]]:
    """Heights and widths of the legal cuts, px: all pairs of scales that are the same or next to each other."""
    sides = [int(short_side * scale) for scale in scales]
    return [
        (height, width)
        for row, height in enumerate(sides)
        for column, width in enumerate(sides)
        if abs(row - column) <= 1
    ]


def jittered_view(
    height: int, width: int, size: int, jitter: Jitter, *, may_flip: bool, rng: np.random.Generator
) -> View:
    """One of the legal cuts at one of the positions, resized to ``size``; mirrored half the time if ``may_flip``."""
    sizes = cut_sizes(min(height, width), jitter.scales)
    cut = sizes[int(rng.integers(len(sizes)))]
    places = _PLACES[jitter.positions]
    down, right = places[int(rng.integers(len(places)))]
    flip = bool(may_flip and rng.random() < 0.5)
    return View(down * (height - cut[0]) // 4, right * (width - cut[1]) // 4, size, flip, cut=cut)


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
