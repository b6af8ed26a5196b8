"""Frames of a video in the order they are shown, with their times, read once from front to back.

For what is too long to hold, or has no end yet: nothing is known of a video but what has come so far.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from kineflow.video.geometry import Turn, pixel_aspect, square_size, turn_of, upright
from kineflow.video.opening import decoded

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
    usual_sec, aspect = 1 / stated_fps(stream), pixel_aspect(stream)
    reformatter, turn, rotation = VideoReformatter(), Turn(), None
    stamp_before, sec = math.nan, -usual_sec
    for frame in decoded(container, stream):
        size = size or square_size(frame.width, frame.height, aspect)
        if frame.rotation != rotation:
            rotation, turn = frame.rotation, turn_of(frame)
        picture = reformatter.reformat(
            frame, width=size[0], height=size[1], format="rgb24", interpolation="BICUBIC", threads=1
        )
        stamp = math.nan if frame.pts is None else float(frame.pts * frame.time_base)
        step = stamp - stamp_before
        sec += step if 0 < step <= _LEAP_SEC else usual_sec
        stamp_before = stamp if math.isfinite(stamp) else stamp_before + usual_sec
        yield TimedFrame(sec, upright(picture.to_ndarray(channel_last=True), turn))


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
