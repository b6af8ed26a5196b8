"""What the frames of a stored clip tell: its light, sharpness and motion, and a descriptor that its copies share.

Sixteen frames spread evenly over a clip give the descriptor::

    frames ─ grey ─ 16x16 ─ less the mean of each ─ cosine transform over time and picture ─┬─ constant in time: scene
                                                                                            └─ the rest: movement

Both keep the slow and coarse part alone, so codec, size, rate and one frame less change little. What stands still is in
``scene`` and nothing of it in ``movement``: two clips of one camera have the first in common and not the second.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.arrays import Pixels
from kineflow.storage.errors import KineflowError
from kineflow.storage.progress import track
from kineflow.video.decode import read_frames

_LOG = logging.getLogger(__name__)

_TIMES = 16
_SIDE_PX = 64
_CELLS = 16  # a side
_TEMPORAL, _SPATIAL = 8, 6  # cosines that are kept, the constant ones among them
_SECONDS_APART = 0.1  # of two frames that motion compares, so that 10 and 30 frames a second are asked the same
_LEAST_ENERGY = 0.1  # grey levels: below it the coder's noise decides what movement looks like
_LEAST_CONTRAST = 1.0  # grey levels
_MOST_THREADS = 16

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class ClipContent:
    """A clip by its frames.

    Attributes:
        brightness: Mean grey, in 0..255.
        motion: Mean absolute difference of two frames about a tenth of a second apart, in grey levels a second.
        sharpness: Of the frame in the middle as stored: standard deviation of its Laplacian by that of its grey; 0 of
            a frame of one level.
        change: Within a pair of such frames, how much that cell of 16x16 changes which changes most, in grey levels;
            the third highest of all pairs, for a cut and a coder's key frames are no motion. Around 1 of a frozen clip.
        scene: float32 [35] of length 1, or 0 of clips of one level.
        movement: float32 [245] of length 1, or 0 of clips that hardly move.
    """

    brightness: float
    motion: float
    sharpness: float
    change: float
    scene: Vector
    movement: Vector

    @classmethod
    def of(cls, even: Pixels, pairs: tuple[Pixels, Pixels], middle: Pixels, *, seconds_apart: float) -> ClipContent:
        """From grey frames.

        Args:
            even: uint8 [16,64,64], spread evenly over the clip.
            pairs: uint8 [n,64,64] twice, frames and those shortly after them.
            middle: uint8 [H,W], the frame in the middle as it is stored.
            seconds_apart: Of the frames of a pair.
        """
        before, after = (frames.astype(np.float32) for frames in pairs)
        cells = _in_cells(even.astype(np.float32))
        changes = np.sort(np.abs(_in_cells(after - before)).max(axis=(1, 2)))
        scene, movement = _descriptor(cells)
        contrast = float(middle.std())
        return cls(
            brightness=float(cells.mean()),
            motion=float(np.abs(after - before).mean()) / seconds_apart,
            sharpness=float(cv2.Laplacian(middle, cv2.CV_32F).std()) / contrast if contrast > _LEAST_CONTRAST else 0.0,
            change=float(changes[-min(3, len(changes))]),
            scene=scene,
            movement=movement,
        )


def content_of(clip_set: ClipSet, clip: Clip) -> ClipContent:
    """Decode up to 48 frames of a clip at 64x64 px, and one as it is stored.

    Raises:
        KineflowError: The clip cannot be read.
    """
    media, last = clip_set.locate(clip), clip.frames - 1
    gap = max(1, min(round(clip.fps * _SECONDS_APART), last))
    even = np.minimum(((np.arange(_TIMES) + 0.5) / _TIMES * clip.frames).astype(int), last)
    starts = np.unique(np.minimum(even, max(0, last - gap)))  # of a short clip fewer than 16
    ends = np.minimum(starts + gap, last)
    wanted = np.concatenate([even, starts, ends]).tolist()
    grey = read_frames(media, wanted, pixel_format="gray", size=(_SIDE_PX, _SIDE_PX))
    middle = read_frames(media, [clip.frames // 2], pixel_format="gray")[0]
    pairs = grey[_TIMES : _TIMES + len(starts)], grey[_TIMES + len(starts) :]
    return ClipContent.of(grey[:_TIMES], pairs, middle, seconds_apart=gap / clip.fps)


def contents_of(
    clip_set: ClipSet, clips: Sequence[Clip], known: Mapping[str, ClipContent] | None = None
) -> list[ClipContent | None]:
    """:func:`content_of` each clip, those of one file once; None for those that cannot be read, of which the log tells.

    Clips are decoded in threads, as many as there are cores, and 16 at most.

    Args:
        clip_set: Where the clips are.
        clips: Which.
        known: Of some clips, by their path: they are not decoded.
    """
    known = known or {}
    first: dict[str, Clip] = {}
    for clip in clips:
        first.setdefault(clip.path, clip)
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads, thread_name_prefix="look") as pool:
        found = pool.map(lambda clip: _tried(clip_set, clip, known), first.values())
        looked: Iterable[ClipContent | str] = track(found, total=len(first), what="look at clips")
        try:
            by_path = dict(zip(first, looked, strict=True))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    problems = [f"{first[path].clip_id}: {each}" for path, each in by_path.items() if isinstance(each, str)]
    if problems:
        _LOG.warning(
            "  ! %d of %d stored clips could not be looked at, first %s", len(problems), len(first), problems[0]
        )
    return [None if isinstance(each := by_path[clip.path], str) else each for clip in clips]


def _tried(clip_set: ClipSet, clip: Clip, known: Mapping[str, ClipContent]) -> ClipContent | str:
    """Of a clip, or what is wrong with it."""
    try:
        clip_set.locate(clip)  # a file that is gone is told, whatever is known of it
        return known[clip.path] if clip.path in known else content_of(clip_set, clip)
    except (KineflowError, OSError) as error:
        return str(error)


def _in_cells(frames: Vector) -> Vector:
    """Means of the cells of frames [n,64,64], [n,16,16]."""
    means: Vector = frames.reshape(-1, _CELLS, _SIDE_PX // _CELLS, _CELLS, _SIDE_PX // _CELLS).mean(axis=(2, 4))
    return means


def _descriptor(cells: Vector) -> tuple[Vector, Vector]:
    """Scene and movement of [16,16,16] grey."""
    level = cells - cells.mean(axis=(1, 2), keepdims=True)
    over_time, over_side = _cosines(_TIMES, _TEMPORAL), _cosines(_CELLS, _SPATIAL)
    waves = np.einsum("at,tyx,by,cx->abc", over_time, level, over_side, over_side, optimize=True)
    waves = waves.reshape(_TEMPORAL, -1)[:, 1:]  # the mean of a frame is light, and 0
    scale = float(np.sqrt(cells.size))
    return _unit(waves[0], _LEAST_CONTRAST * scale), _unit(waves[1:].ravel(), _LEAST_ENERGY * scale)


def _unit(vector: Vector, least: float) -> Vector:
    length = float(np.linalg.norm(vector))
    return (vector / length if length >= least else np.zeros_like(vector)).astype(np.float32)


@cache
def _cosines(count: int, kept: int) -> Vector:
    """The first rows of the orthonormal cosine transform, float32 [kept,count]."""
    phases = (np.arange(count) + 0.5) / count
    rows: Vector = (np.cos(np.pi * np.outer(np.arange(kept), phases)) * np.sqrt(2 / count)).astype(np.float32)
    rows[0] /= np.sqrt(2)
    return rows
