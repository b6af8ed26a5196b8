"""The form in which a clip set keeps its videos, and how a source video is brought into it.

Stored clips are H.264 mp4, upright, with a bounded short side or all of one size, and a key frame every few frames, so
that sparse sampling seeks cheaply. A source that has this form already is copied byte for byte: encoding it again would
cost quality and gain nothing.

Unless a rate is asked for, every frame of the source is kept once, whatever its rate does: repeating or leaving out
frames to make a varying rate constant puts pictures without motion, or with twice of it, before a network. A stored
clip of such a video has the mean rate of its own frames, so that it lasts as long as the part of the source that it is.

With a rate (:mod:`kineflow.video.resample`) all clips have it: where sources differ in theirs, one motion is then as
fast in each of them. A clip whose frames would be those of the source, each once, is stored as without it.
"""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.video.decode import PartReader
from kineflow.video.encode import write_video
from kineflow.video.geometry import Turn, square_size
from kineflow.video.index import VideoIndex
from kineflow.video.resample import numbers_at, span_at

STORED_SUFFIX = ".mp4"
_SPARE_SEC = 1.0

# x264's, by `python benchmarks/video.py storing`: what is written once and read every epoch is to be cheap to decode.
_PRESET, _TUNE = "medium", "fastdecode"


@dataclass(frozen=True)
class StoredForm:
    """What stored videos look like.

    Attributes:
        short_side: Longest the shorter side may be, in pixels; smaller videos keep their size.
        gop: Most frames from one key frame to the next.
        crf: x264's constant rate factor for videos that have to be encoded.
        fps: Frames per second, by repeating and leaving out frames; 0: those of the source.
        size: Width and height of every stored video, even, whatever the source's size and aspect; None: ``short_side``
            decides.
    """

    short_side: int = 256
    gop: int = 12
    crf: int = 20
    fps: float = 0.0
    size: tuple[int, int] | None = None

    def of(self, index: VideoIndex, part: Part) -> StoredForm:
        """The form of a part: without a rate where the frames at that rate are its own, each once."""
        if not self.fps or _frames_at(index, part, self.fps) != part.frames:
            return self
        numbers = numbers_at(index.timeline, part.first, part.stop, self.fps)
        same = bool((numbers == np.arange(part.first, part.stop)).all())
        return replace(self, fps=0.0) if same else self


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
    """The frames that are shown from ``start_sec`` to ``end_sec``, cut off at the video's end.

    Args:
        index: Of the video.
        start_sec, end_sec: Seconds as :mod:`kineflow.video.timeline` counts them; None for the video's start and end.
        may_be_cut: Take all of a video that lasts no longer than the part (give or take a second): it is the part.
    """
    timeline = index.timeline
    if may_be_cut and timeline.seconds <= (end_sec or math.inf) - (start_sec or 0.0) + _SPARE_SEC:
        return Part(0, index.frames)
    first = 0 if start_sec is None else timeline.first_at(start_sec)
    stop = index.frames if end_sec is None else timeline.first_at(end_sec)
    return Part(first, max(first, stop))


def fps_of(index: VideoIndex, part: Part) -> float:
    """Frames per second of a part: the mean of its own frames where the rate of the video varies."""
    return index.timeline.fps_of(part.first, part.stop)


def stored_fps(index: VideoIndex, part: Part, form: StoredForm) -> float:
    """Frames per second of a stored part."""
    return form.fps or fps_of(index, part)


def stored_frames(index: VideoIndex, part: Part, form: StoredForm) -> int:
    """How many frames a stored part has."""
    return _frames_at(index, part, form.fps) if form.fps else part.frames


def _frames_at(index: VideoIndex, part: Part, fps: float) -> int:
    return span_at(index.timeline, part.first, part.stop, fps).frames if part.frames else 0


def stored_size(index: VideoIndex, form: StoredForm) -> tuple[int, int]:
    """Width and height of the stored video, upright and even: those that the form asks for.

    Else pixels are made square and the aspect is kept, and no side is longer than the source's.
    """
    width, height = _scaled_size(index, form)
    if index.turn.is_sideways:
        width, height = height, width
    return width // 2 * 2, height // 2 * 2


def peculiarities(index: VideoIndex, part: Part, form: StoredForm) -> dict[str, object]:
    """What a stored clip depends on besides its source's bytes, the part and the form; empty of ordinary videos.

    Clips that were stored before these were told apart keep their names where none of them applies.
    """
    form = form.of(index, part)
    values: dict[str, object] = {}
    if index.stream:
        values["stream"] = index.stream
    if is_copied(index, part, form):
        return values
    if index.mirrored:
        values["mirrored"] = True
    if index.pixel_aspect != 1:
        values["pixel_aspect"] = index.pixel_aspect
    if index.stamps and not form.fps:
        values["fps"] = fps_of(index, part)
    return values


def is_copied(index: VideoIndex, part: Part, form: StoredForm) -> bool:
    """Whether storing the part is to copy the file."""
    return part == Part(0, index.frames) and not form.of(index, part).fps and conforms(index, form)


def conforms(index: VideoIndex, form: StoredForm) -> bool:
    """Whether the source has the stored form already, whatever its rate."""
    return (
        index.codec == "h264"
        and index.pixel_format == "yuv420p"
        and "mp4" in index.container.split(",")
        and index.turn == Turn()
        and index.pixel_aspect == 1
        and (index.width, index.height) == stored_size(index, form)
        and index.max_gop <= form.gop
    )


def store_video(source: Path | PartReader, target: Path, *, index: VideoIndex, part: Part, form: StoredForm) -> None:
    """Write ``part`` of ``source`` to ``target`` in the stored form; ``target`` appears whole or not at all.

    Args:
        source: A video whose status is ``ok``; a reader of it where several parts are stored, in the order of their
            beginnings.
        target: Path with :data:`STORED_SUFFIX`.
        index: Of the source.
        part: The frames to keep.
        form: The stored form.

    Raises:
        KineflowError: The source no longer holds what its index says, x264 cannot encode such pictures, or the disk is
            full.
    """
    if is_copied(index, part, form):
        path = source.path if isinstance(source, PartReader) else source
        with atomic_file(target) as partial, path.open("rb") as given, partial.open("wb") as copy:
            shutil.copyfileobj(given, copy)
        return
    form = form.of(index, part)
    fps = stored_fps(index, part, form)
    with nullcontext(source) if isinstance(source, PartReader) else PartReader(source) as reader:
        frames = prepared_frames(reader, index, part, form)
        write_video(target, frames, fps=fps, crf=form.crf, gop=form.gop, preset=_PRESET, tune=_TUNE)


def prepared_frames(reader: PartReader, index: VideoIndex, part: Part, form: StoredForm) -> Iterator[np.ndarray]:
    """The frames of a part as they are stored, before they are coded: uint8 ``[H, W, 3]``, scaled, upright.

    Raises:
        KineflowError: The video ends before the part does.
    """
    width, height = stored_size(index, form)
    times_shown = _times_shown(index, part, form)
    count = 0
    for image in reader.frames(part.first, part.stop, size=_scaled_size(index, form)):
        yield from itertools.repeat(image[:height, :width], times_shown[count])
        count += 1
    if count != part.frames:
        raise KineflowError(
            f"{count} frames where {part.frames} were counted: the file has changed", where=str(reader.path)
        )


def _times_shown(index: VideoIndex, part: Part, form: StoredForm) -> list[int]:
    """How often the stored clip has each frame of the part."""
    if not form.fps:
        return [1] * part.frames
    numbers = numbers_at(index.timeline, part.first, part.stop, form.fps)
    return [int(count) for count in np.bincount(numbers - part.first, minlength=part.frames)]


def _scaled_size(index: VideoIndex, form: StoredForm) -> tuple[int, int]:
    """Width and height before turning: even when the picture is scaled, untouched when it is small and square."""
    if form.size:
        width, height = form.size
        return (height, width) if index.turn.is_sideways else (width, height)
    width, height = square_size(index.width, index.height, index.pixel_aspect)
    short = min(width, height)
    if short <= form.short_side:
        return width, height
    width, height = (max(2, round(side * form.short_side / short / 2) * 2) for side in (width, height))
    return width, height
