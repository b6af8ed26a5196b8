"""What a clip looks like, in 640 bytes: by it, clips of one scene are told without looking at them again.

From at most eight frames, 64 px or smaller::

    frames ─ grey ─┬─ 64 bits each: is a pixel of 9x8 darker than its right neighbour?      the same frame, coded anew
                   └─ median over time ─ bands of one level cut off ─ 24x24 ─ edges        the same place, empty

The median leaves what does not move, the background. Bands of one level at the borders are what players put round a
picture of another shape, and alike in all of them. Of the background its edges count, their height compressed, so that
neither light nor one strong line, such as a channel's sign, decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from kineflow.spec.arrays import Pixels
from kineflow.storage.errors import KineflowError

MAX_FRAMES = 8
MAX_SIDE = 64

_SIDE = 24  # of the background, pixels
_BLUR = 1.5  # what is coarser than this is no edge, pixels of the background
_BAND_LEVELS = 10  # a row or column that varies less is one level
_MOST_BAND = 0.4  # of a side
_LEAST_CONTRAST = 6.0  # standard deviation in levels: a frame that is all one level tells nothing
_HASH_SIZE = (9, 8)


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What tells the scene of a clip.

    Attributes:
        hashes: Of frames with some contrast, uint64 [n], n at most 8.
        background: Its edges, int8 [576], of any scale; all 0 where it is of one level.
    """

    hashes: npt.NDArray[np.uint64]
    background: npt.NDArray[np.int8]

    @classmethod
    def of(cls, frames: Pixels) -> Fingerprint:
        """From frames spread evenly over a clip.

        Args:
            frames: uint8 [n,H,W,3] RGB or [n,H,W] grey, n from 1 to 8, sides from 2 to 64 pixels.

        Raises:
            KineflowError: The frames are more, larger or of another shape.
        """
        shape = frames.shape
        if frames.dtype != np.uint8 or len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3):
            raise KineflowError(f"frames are {frames.dtype} {list(shape)}", remedy="give uint8 [n,H,W,3] or [n,H,W]")
        if not 1 <= shape[0] <= MAX_FRAMES or not all(2 <= side <= MAX_SIDE for side in shape[1:3]):
            raise KineflowError(
                f"{shape[0]} frames of {shape[2]}x{shape[1]} px",
                remedy=f"give 1 to {MAX_FRAMES} frames with sides of 2 to {MAX_SIDE} px",
            )
        grey = frames if len(shape) == 3 else np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])
        median = np.median(grey, axis=0).astype(np.float32)
        rows, columns = _without_bands(median)
        inner = grey[:, rows, columns]
        hashes = [_hash(frame) for frame in inner if frame.std() >= _LEAST_CONTRAST]
        return cls(np.array(hashes, np.uint64), _edges(median[rows, columns]))


def _without_bands(median: npt.NDArray[np.float32]) -> tuple[slice, slice]:
    """Rows and columns [H,W] less those of one level at the borders."""
    return _inner(np.ptp(median, axis=1) > _BAND_LEVELS), _inner(np.ptp(median, axis=0) > _BAND_LEVELS)


def _inner(varies: npt.NDArray[np.bool_]) -> slice:
    if not varies.any():
        return slice(None)
    most = int(len(varies) * _MOST_BAND)
    first, last = min(int(varies.argmax()), most), max(len(varies) - int(varies[::-1].argmax()), len(varies) - most)
    return slice(first, last)


def _hash(frame: Pixels) -> int:
    """Difference hash of a grey frame."""
    small = cv2.resize(frame, _HASH_SIZE, interpolation=cv2.INTER_AREA)
    return int(np.packbits(small[:, 1:] > small[:, :-1]).view(">u8")[0])


def _edges(median: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """What of a background is finer than the blur, compressed, about its mean."""
    if median.std() < _LEAST_CONTRAST:
        return np.zeros(_SIDE * _SIDE, np.int8)
    small = cv2.resize(median, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    edges = small - cv2.GaussianBlur(small, (0, 0), _BLUR)
    edges = np.tanh(edges / (edges.std() + 1e-6))
    edges -= edges.mean()
    stored: npt.NDArray[np.int8] = np.rint(edges.ravel() * (127 / (np.abs(edges).max() + 1e-6))).astype(np.int8)
    return stored
