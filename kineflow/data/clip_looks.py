"""What a glance at a stored clip tells: one frame of it, how bright it is, and how much changes in a second."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.arrays import Pixels
from kineflow.storage.errors import KineflowError
from kineflow.storage.progress import track
from kineflow.video.decode import read_frames

_LOG = logging.getLogger(__name__)

SIDE_PX = 64
_MOST_PAIRS = 16
# Two frames are compared over about this time, so that a clip of 10 frames a second and one of 30 are asked the same.
_SECONDS_APART = 0.1
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True, slots=True)
class ClipLook:
    """A clip at a glance.

    Attributes:
        middle: uint8 ``[64, 64, 3]`` RGB, the frame in the middle, squeezed to a square.
        brightness: Mean grey of the frames that were looked at, in 0..255.
        motion: Mean absolute difference of two frames about a tenth of a second apart, in grey levels (0..255) a
            second; 0 of a clip of one frame.
    """

    middle: Pixels
    brightness: float
    motion: float


def look_at(clip_set: ClipSet, clip: Clip) -> ClipLook:
    """Decode up to 33 frames of a clip, at 64×64 px.

    Raises:
        KineflowError: The clip cannot be read.
    """
    gap = max(1, min(round(clip.fps * _SECONDS_APART), clip.frames - 1))
    starts = np.unique(np.linspace(0, max(0, clip.frames - 1 - gap), _MOST_PAIRS).round().astype(int))
    ends = np.minimum(starts + gap, clip.frames - 1)
    wanted = np.concatenate([starts, ends, [clip.frames // 2]])
    frames = read_frames(clip_set.locate(clip), wanted.tolist(), size=(SIDE_PX, SIDE_PX))
    grey = frames[:-1] @ _LUMA  # [2 P, 64, 64]
    before, after = grey[: len(starts)], grey[len(starts) :]
    seconds = gap / clip.fps if clip.fps > 0 else _SECONDS_APART
    return ClipLook(frames[-1], float(grey.mean()), float(np.abs(after - before).mean()) / seconds)


def look_at_all(clip_set: ClipSet, clips: Sequence[Clip], *, what: str) -> list[ClipLook | None]:
    """:func:`look_at` each clip; None for those that cannot be read, of which a line in the log tells.

    Args:
        clip_set: Where the clips are.
        clips: Which.
        what: For the line of progress.
    """
    looks: list[ClipLook | None] = []
    problems: list[str] = []
    for clip in track(clips, total=len(clips), what=what):
        try:
            looks.append(look_at(clip_set, clip))
        except (KineflowError, OSError) as error:
            problems.append(f"{clip.clip_id}: {error}")
            looks.append(None)
    if problems:
        _LOG.warning("  ! %d of %d clips could not be looked at, first %s", len(problems), len(clips), problems[0])
    return looks
