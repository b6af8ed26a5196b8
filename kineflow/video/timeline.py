"""When the frames of a video are shown.

Time is counted as players count it: in seconds from where the file begins, which is the first of its pictures unless
its sound begins before them. Of a video of constant rate the rate and the time of the first frame say all. Of any
other, the time of every frame is kept, in microseconds::

    frame            0    1    2    3  4  5  6  7
    shown at, s      0    .2   .4   .6 .65 .7 .75 .8       5 frames a second, then 20
    0.4 s to 0.7 s             x    x  x                   the frames whose times lie in it: 2, 3 and 4

Stamps that cannot be true are mended: where they run backwards (33 bits of MPEG come to their end, or two files were
put one behind the other) or leap by more than ten minutes, time goes on at the usual pace; a frame without a stamp is
shown between its neighbours, or after the usual time.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LEAP_SEC = 600.0
_BACKWARDS_SEC = 0.5
_STEADY_FRAMES = 0.5
_FIRST_FRAMES = 1.5
_SLACK_SEC = 0.002  # stamps of Matroska are rounded to a millisecond, and so are listed parts
_MICRO = 1_000_000

Times = NDArray[np.float64]


@dataclass(frozen=True)
class Timeline:
    """When the frames of a video are shown.

    Attributes:
        frames: How many there are.
        fps: Frames per second; their mean where ``stamps`` are kept.
        first_sec: Time of the first frame.
        stamps: Of a variable rate, the packed times of all frames; empty when the rate is constant.
    """

    frames: int
    fps: float
    first_sec: float = 0.0
    stamps: str = ""

    @property
    def seconds(self) -> float:
        """How long the frames are shown, the last one for as long as frames are on average."""
        if not self.stamps:
            return self.frames / self.fps
        times = unpacked(self.stamps, self.frames)
        return float(times[-1] - times[0]) + 1 / self.fps

    def times(self, first: int, stop: int) -> Times:
        """When the frames ``first`` to ``stop`` (exclusive) are shown, seconds from the first frame of all."""
        if not self.stamps:
            return np.arange(first, stop) / self.fps
        return unpacked(self.stamps, self.frames)[first:stop]

    def end_of(self, stop: int) -> float:
        """When the frame before ``stop`` gives way to the next, seconds from the first frame of all."""
        if not self.stamps:
            return stop / self.fps
        times = unpacked(self.stamps, self.frames)
        return float(times[stop]) if stop < self.frames else float(times[-1]) + 1 / self.fps

    def first_at(self, sec: float) -> int:
        """Number of the first frame from ``sec`` on (of the nearest, at a constant rate); ``frames`` past the end."""
        if not self.stamps:
            return min(max(0, round((sec - self.first_sec) * self.fps)), self.frames)
        times = unpacked(self.stamps, self.frames) + self.first_sec
        return int(np.searchsorted(times, sec - _SLACK_SEC))

    def fps_of(self, first: int, stop: int) -> float:
        """Frames per second of the frames ``first`` to ``stop`` (exclusive): the mean of their own where rates vary."""
        if not self.stamps or stop - first < 2:
            return self.fps
        times = unpacked(self.stamps, self.frames)
        lasted = float(times[stop - 1] - times[first])
        return (stop - first - 1) / lasted if lasted > 0 else self.fps


def mended(stamps: Sequence[float] | Times, usual_sec: float) -> Times:
    """Times that never run backwards, from what a file says of its frames in the order they are shown.

    Args:
        stamps: In seconds; NaN where there is none.
        usual_sec: From one frame to the next, where nothing else tells.

    Returns:
        float64 ``[len(stamps)]``, ascending; empty when fewer than half of the frames have a stamp.
    """
    given = np.asarray(stamps, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(given))
    if 2 * len(known) < len(given) or not len(known):
        return np.empty(0)
    numbers = np.arange(len(given))
    times = given[known]
    steps = np.diff(times)
    pace = np.diff(known) * usual_sec
    broken = (steps < -_BACKWARDS_SEC) | (steps > _LEAP_SEC)
    if broken.any():
        times = times[0] + np.concatenate([[0.0], np.cumsum(np.where(broken, pace, steps))])
    times = np.sort(times)  # small steps back: stamps in the order of decoding
    every = np.interp(numbers, known, times)
    every[: known[0]] = times[0] + (numbers[: known[0]] - known[0]) * usual_sec
    every[known[-1] + 1 :] = times[-1] + (numbers[known[-1] + 1 :] - known[-1]) * usual_sec
    return every


def is_steady(times: Times, fps: float) -> bool:
    """Whether every frame is shown within half a frame of where a constant rate would show it.

    The first one may be further off: a decoder that puts frames in order may stamp it late (packed B-frames in AVI).
    """
    off = (times - np.arange(len(times)) / fps) * fps
    off -= np.median(off)
    return bool(abs(off[0]) < _FIRST_FRAMES and np.abs(off[1:]).max(initial=0.0) < _STEADY_FRAMES)


def packed(times: Times) -> str:
    """Times as text, from the first frame on: the steps in microseconds, compressed."""
    ticks = np.rint((times - times[0]) * _MICRO).astype(np.int64)
    steps = np.diff(ticks, prepend=0).astype("<u4")  # below an hour: leaps are mended
    return base64.b85encode(zlib.compress(steps.tobytes(), 9)).decode()


def unpacked(stamps: str, frames: int) -> Times:
    """The times that :func:`packed` was given, less the first.

    Raises:
        ValueError: They are not those of so many frames.
    """
    content = zlib.decompressobj().decompress(base64.b85decode(stamps), 4 * frames + 4)
    steps = np.frombuffer(content, dtype="<u4")
    if len(steps) != frames:
        raise ValueError(f"{len(steps)} time stamps for {frames} frames")
    return np.cumsum(steps, dtype=np.int64) / _MICRO
