"""What the trivial baselines see of a clip: how much moves, one frame, or only how long and large it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kineflow.data.clip_looks import SIDE_PX, ClipLook, look_at_all
from kineflow.sets.clip_set import Clip, ClipSet

MOTION_ENERGY, SINGLE_FRAME, LENGTH_RATE_SIZE = "motion energy", "single frame", "length, rate and size"

Features = NDArray[np.float64]

_THUMBNAIL_SIDE = 8
_BINS = 4  # of each of red, green and blue
_FRAME_SIZE = _THUMBNAIL_SIDE**2 + _BINS**3 + 2


def baseline_features(clip_set: ClipSet, clips: Sequence[Clip]) -> dict[str, Features]:
    """Features of clips by the baseline that uses them, float64 ``[N, D]`` each; every clip is decoded once.

    ``motion energy`` (D = 1): log(1 + m) of :attr:`kineflow.data.clip_looks.ClipLook.motion`. ``single frame``: of the
    frame in the middle, a grey thumbnail of 8×8 px, a histogram of 64 colours, and how strong its edges are. ``length,
    rate and size`` (D = 5): logarithms of frames, seconds, frames a second, width and height as the manifest has them.
    Nothing of what happens is in that: where it does well, the classes differ in how they were filmed or cut.

    A clip that cannot be read has a row of NaN where frames are needed, which a baseline takes for a typical clip
    (:func:`kineflow.evaluation.baselines.classifier.fit_baseline`).

    Args:
        clip_set: Where the clips are.
        clips: Which; N.
    """
    looks = look_at_all(clip_set, clips, what="look at clips for trivial baselines")
    motion = np.array([[np.nan] if look is None else [np.log1p(look.motion)] for look in looks])
    frames = np.array([np.full(_FRAME_SIZE, np.nan) if look is None else _of_frame(look) for look in looks])
    return {
        MOTION_ENERGY: motion.reshape(-1, 1),
        SINGLE_FRAME: frames.reshape(-1, _FRAME_SIZE),
        LENGTH_RATE_SIZE: np.array([_of_row(clip) for clip in clips], dtype=np.float64).reshape(-1, 5),
    }


def _of_frame(look: ClipLook) -> NDArray[Any]:
    grey = look.middle.mean(axis=-1)  # [64, 64]
    cell = SIDE_PX // _THUMBNAIL_SIDE
    thumbnail = grey.reshape(_THUMBNAIL_SIDE, cell, _THUMBNAIL_SIDE, cell).mean(axis=(1, 3))
    levels = look.middle.reshape(-1, 3).astype(np.int64) * _BINS // 256
    colours = np.bincount(levels @ (_BINS**2, _BINS, 1), minlength=_BINS**3) / SIDE_PX**2
    edges = [np.abs(np.diff(grey, axis=axis)).mean() for axis in (0, 1)]
    return np.concatenate([thumbnail.reshape(-1) / 255, np.sqrt(colours), np.array(edges) / 255])


def _of_row(clip: Clip) -> list[float]:
    rate = max(clip.fps, 1e-3)
    return [
        float(np.log(max(value, 1e-3))) for value in (clip.frames, clip.frames / rate, rate, clip.width, clip.height)
    ]
