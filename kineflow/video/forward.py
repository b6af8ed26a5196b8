"""Frames of a video in the order they are shown, with their times, read once from front to back.

For what is too long to hold, or has no end yet: nothing is known of a video but what has come so far.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from kineflow.spec.arrays import Indices
from kineflow.spec.video_bounds import MAX_PIXELS
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import Media
from kineflow.video.geometry import Turn, pixel_aspect, square_size, turn_of, upright
from kineflow.video.opening import decoded, open_video

USUAL_FPS = 25.0
"""Where a video does not say its rate."""

_FASTEST_FPS = 1000.0
_LEAP_SEC = 600.0
_SLACK_SEC = 1e-6


class TimedFrame(NamedTuple):
    """A frame and when it is shown.

    Attributes:
        sec: Seconds from the first frame.
        image: uint8 [H, W, 3] RGB, upright.
    """

    sec: float
    image: NDArray[np.uint8]


def stated_fps(stream: Any) -> float:
    """Frames per second, by the header of a stream; 25 where it says nothing that can be."""
    fps = float(stream.average_rate or stream.guessed_rate or 0)
    return fps if 0 < fps <= _FASTEST_FPS else USUAL_FPS


def timed_frames(container: Any, stream: Any, size: tuple[int, int] | None = None) -> Iterator[TimedFrame]:
    """Decode a stream that was opened (:func:`kineflow.video.opening.open_video`).

    A time stamp that is missing, runs backwards or leaps by more than ten minutes is taken for one usual step.

    Args:
        container: PyAV's.
        stream: Its film.
        size: Width and height to scale to (bicubic), before the picture is turned; None keeps those of the first frame,
            with its pixels made square.

    Yields:
        As :func:`kineflow.video.decode.iter_frames` has them, each with its time.
    """
    usual_sec, convert = 1 / stated_fps(stream), _converter(stream, size)
    stamp_before, sec = math.nan, -usual_sec
    for frame in decoded(container, stream):
        stamp = math.nan if frame.pts is None else float(frame.pts * frame.time_base)
        step = stamp - stamp_before
        sec += step if 0 < step <= _LEAP_SEC else usual_sec
        stamp_before = stamp if math.isfinite(stamp) else stamp_before + usual_sec
        yield TimedFrame(sec, convert(frame))


def picked_frames(
    path: Media, windows: Sequence[Indices], *, size: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS
) -> Iterator[NDArray[np.uint8]]:
    """The frames of several windows, one window after the other, of a video that is decoded once.

    No more is held than the frames of a window and of those that begin before it ends; others are not converted.

    Args:
        path: Of the video.
        windows: The frames of each, ascending; windows in the order in which they end.
        size: See :func:`timed_frames`.
        max_pixels: Most pixels in one picture.

    Yields:
        uint8 [len(window), H, W, 3].

    Raises:
        KineflowError: It cannot be read, or ends before the last window does.
    """
    last_use = {int(number): place for place, window in enumerate(windows) for number in window}
    held: dict[int, NDArray[np.uint8]] = {}
    ahead = 0
    with open_video(path, max_pixels=max_pixels) as (container, stream):
        convert = _converter(stream, size)
        for number, frame in enumerate(decoded(container, stream)):
            if number in last_use:
                held[number] = convert(frame)
            while ahead < len(windows) and windows[ahead][-1] <= number:
                yield np.stack([held[int(wanted)] for wanted in windows[ahead]])
                held = {kept: image for kept, image in held.items() if last_use[kept] > ahead}
                ahead += 1
            if ahead == len(windows):
                return
    raise KineflowError(f"ends before frame {windows[-1][-1]}", where=str(path), remedy="pass a whole video file")


def _converter(stream: Any, size: tuple[int, int] | None) -> Callable[[Any], NDArray[np.uint8]]:
    """Frames as :func:`kineflow.video.decode.read_frames` has them in RGB; of one size, the first one's for None."""
    aspect, reformatter, turn, rotation = pixel_aspect(stream), VideoReformatter(), Turn(), None

    def convert(frame: Any) -> NDArray[np.uint8]:
        nonlocal size, turn, rotation
        size = size or square_size(frame.width, frame.height, aspect)
        if frame.rotation != rotation:
            rotation, turn = frame.rotation, turn_of(frame)
        picture = reformatter.reformat(
            frame, width=size[0], height=size[1], format="rgb24", interpolation="BICUBIC", threads=1
        )
        return upright(picture.to_ndarray(channel_last=True), turn)

    return convert


def at_rate(frames: Iterable[TimedFrame], fps: float, usual_sec: float) -> Iterator[TimedFrame]:
    """The frame nearest to each multiple of 1/``fps`` seconds, as :func:`kineflow.video.resample.numbers_at` has them.

    Args:
        frames: In order.
        fps: Frames per second wanted.
        usual_sec: How long the last frame is shown.
    """
    waiting: deque[TimedFrame] = deque()  # they are given once the video is known to last that long
    moments = given = 0
    before: TimedFrame | None = None
    for frame in frames:
        while before is not None and moments / fps - _SLACK_SEC <= (before.sec + frame.sec) / 2:
            waiting.append(TimedFrame(moments / fps, before.image))
            moments += 1
        lasts = round((frame.sec + usual_sec) * fps)
        while waiting and given < lasts:
            yield waiting.popleft()
            given += 1
        before = frame
    if before is None:
        return
    total = max(1, round((before.sec + usual_sec) * fps))
    while moments < total:
        waiting.append(TimedFrame(moments / fps, before.image))
        moments += 1
    while waiting and given < total:
        yield waiting.popleft()
        given += 1
