"""Pictures under captions, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from kineflow.flow.flow_colours import flow_to_rgb

Image = npt.NDArray[np.uint8]  # RGB [H, W, 3]
Colour = tuple[int, int, int]

_SHORTEST_SIDE_PX = 192  # smaller pictures are enlarged
_LONGEST_SIDE_PX = 640  # though not beyond this
_LEAST_WIDTH_PX = 240  # room for a caption
_CAPTION_PX = 32
_WHEEL_PX = 26
_PADDING_PX = 8
_GAP_PX = 4

_PAPER: Colour = (22, 23, 26)
_INK: Colour = (232, 232, 232)
_FAINT_INK: Colour = (150, 152, 158)
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.42


def captioned(image: Image, title: str, note: str, *, wheel: bool = False) -> Image:
    """An image under a line of text: ``title`` on the left, ``note`` on the right, then the colour wheel if asked for.

    Small images are enlarged by a whole factor; all of one size get captions of one size.
    """
    height, width = image.shape[:2]
    wanted, most = math.ceil(_SHORTEST_SIDE_PX / min(height, width)), _LONGEST_SIDE_PX // max(height, width)
    factor = max(1, min(wanted, most))
    enlarged = image.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = enlarged.shape[:2]
    panel = _paper(_CAPTION_PX + height, max(width, _LEAST_WIDTH_PX))
    left = (panel.shape[1] - width) // 2
    panel[_CAPTION_PX:, left : left + width] = enlarged
    _write(panel, title, _PADDING_PX, _INK)
    end = panel.shape[1] - _PADDING_PX
    if wheel:
        end -= _WHEEL_PX
        top = (_CAPTION_PX - _WHEEL_PX) // 2
        panel[top : top + _WHEEL_PX, end : end + _WHEEL_PX] = _wheel()
        end -= _PADDING_PX
    (note_width, _), _ = cv2.getTextSize(note, _FONT, _FONT_SCALE, 1)
    _write(panel, note, end - note_width, _FAINT_INK)
    return panel


def side_by_side(panels: Sequence[Image]) -> Image:
    """Panels of one height in a row, even in width and height as most players want it."""
    height, gap = panels[0].shape[0], _paper(panels[0].shape[0], _GAP_PX)
    row = np.concatenate([part for panel in panels for part in (gap, panel)][1:], axis=1)
    even = _paper(height + height % 2, row.shape[1] + row.shape[1] % 2)
    even[: row.shape[0], : row.shape[1]] = row
    return even


def _paper(height: int, width: int) -> Image:
    return np.full((height, width, 3), _PAPER, np.uint8)


def _write(panel: Image, text: str, left: int, ink: Colour) -> None:
    cv2.putText(panel, text, (left, _CAPTION_PX // 2 + 4), _FONT, _FONT_SCALE, ink, 1, cv2.LINE_AA)


def _wheel() -> Image:
    """The colour of every direction and speed up to full colour."""
    side = 4 * _WHEEL_PX  # drawn large, so that its rim is smooth when it is made small
    y, x = (np.mgrid[:side, :side] + 0.5) / (side / 2) - 1
    disc = (np.hypot(x, y) <= 1)[..., None]
    large = np.where(disc, flow_to_rgb(np.stack([x, y], axis=-1), 1.0), _PAPER).astype(np.uint8)
    return np.asarray(cv2.resize(large, (_WHEEL_PX, _WHEEL_PX), interpolation=cv2.INTER_AREA), np.uint8)
