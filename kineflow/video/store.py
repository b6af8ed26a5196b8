"""The form in which a clip set keeps its videos, and how a source video is brought into it.

Stored clips are H.264 mp4, upright, with a bounded short side and a key frame every few frames, so that sparse
sampling seeks cheaply. A source that has this form already is copied byte for byte: encoding it again would cost
quality and gain nothing.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.video.decode import iter_frames
from kineflow.video.encode import write_video
from kineflow.video.index import VideoIndex

STORED_SUFFIX = ".mp4"
_SPARE_SEC = 1.0


@dataclass(frozen=True)
class StoredForm:
    """What stored videos look like.

    Attributes:
        short_side: Longest the shorter side may be, in pixels; smaller videos keep their size.
        gop: Most frames from one key frame to the next.
        crf: x264's constant rate factor for videos that have to be encoded.
    """

    short_side: int = 256
    gop: int = 12
    crf: int = 18


@dataclass(frozen=True)
class Part:
    """The frames ``first`` to ``stop`` (exclusive) of a video."""

    first: int
    stop: int

    @property
    def frames(self) -> int:
        """How many there are."""
        return self.stop - self.first


def part_of(index: VideoIndex, start_sec: float | None, end_sec: float | None, *, may_be_cut: bool = False) -> Part:
    """The frames from ``start_sec`` to ``end_sec``, counted at the mean frame rate and cut off at the video's end.

    Args:
        index: Of the video.
        start_sec, end_sec: In seconds; None for the start and the end of the video.
        may_be_cut: Take all of a video that lasts no longer than the part (give or take a second): it is the part.
    """
    if may_be_cut and index.frames / index.fps <= (end_sec or math.inf) - (start_sec or 0.0) + _SPARE_SEC:
        return Part(0, index.frames)
    first = 0 if start_sec is None else min(round(start_sec * index.fps), index.frames)
    stop = index.frames if end_sec is None else min(round(end_sec * index.fps), index.frames)
    return Part(first, max(first, stop))


def stored_size(index: VideoIndex, form: StoredForm) -> tuple[int, int]:
    """Width and height of the stored video: upright, even, its aspect kept, never larger than the source."""
    width, height = _scaled_size(index, form)
    if index.rotation in (90, 270):
        width, height = height, width
    return width // 2 * 2, height // 2 * 2


def conforms(index: VideoIndex, form: StoredForm) -> bool:
    """Whether the source has the stored form already."""
    return (
        index.codec == "h264"
        and index.pixel_format == "yuv420p"
        and "mp4" in index.container.split(",")
        and index.rotation == 0
        and (index.width, index.height) == stored_size(index, form)
        and index.max_gop <= form.gop
    )


def store_video(source: Path, target: Path, *, index: VideoIndex, part: Part, form: StoredForm) -> None:
    """Write ``part`` of ``source`` to ``target`` in the stored form; ``target`` appears whole or not at all.

    Args:
        source: A video whose status is ``ok``.
        target: Path with :data:`STORED_SUFFIX`.
        index: Of the source.
        part: The frames to keep.
        form: The stored form.

    Raises:
        KineflowError: The source no longer holds what its index says, or the disk is full.
    """
    if part == Part(0, index.frames) and conforms(index, form):
        with atomic_file(target) as partial:
            shutil.copyfile(source, partial)
        return
    write_video(target, _prepared(source, index, part, form), fps=index.fps, crf=form.crf, gop=form.gop)


def _prepared(source: Path, index: VideoIndex, part: Part, form: StoredForm) -> Iterator[np.ndarray]:
    width, height = stored_size(index, form)
    count = 0
    for image in iter_frames(source, start=part.first, stop=part.stop, size=_scaled_size(index, form)):
        count += 1
        yield image[:height, :width]
    if count != part.frames:
        raise KineflowError(f"{count} frames where {part.frames} were counted: the file has changed", where=source)


def _scaled_size(index: VideoIndex, form: StoredForm) -> tuple[int, int]:
    """Width and height as coded, after scaling: even when it is scaled, untouched when it is small enough."""
    short = min(index.width, index.height)
    if short <= form.short_side:
        return index.width, index.height
    width, height = (max(2, round(side * form.short_side / short / 2) * 2) for side in (index.width, index.height))
    return width, height
