"""Which frames of a video make a clip: pure functions from a frame count to indices, tested without a video.

A clip is ``frames`` indices, ``stride_frames`` apart; it covers ``span_frames`` frames of the video::

    video          0 1 2 3 4 5 6 7 8 9 10 11        n_frames = 12
    clip               x   x   x   x                frames = 4, stride_frames = 2, first index 2
                       <----------->                span_frames = (4 - 1) * 2 + 1 = 7

Training takes a window anywhere (:func:`random_clip`), a quick validation the middle one (:func:`centre_clip`), and
the test protocols average over several (:func:`clips_laid_out`): spread evenly from the first frame to the last
(:func:`uniform_clips`), each in the middle of its share of the video (:func:`spread_clips`), as few as cover it
(:func:`covering_clips`), or all that there are (:func:`dense_clips`).
Where the video is shorter than the span, ``short`` names what happens::

    video of 5 frames, frames = 4, stride_frames = 2, the indices wanted: 0 2 4 6
    repeat_last    0 2 4 4        every index past the end becomes the last frame
    wrap           0 2 4 1        the video starts again (index modulo 5)
    closer         0 1 2 4        frames move closer together, evenly from the first to the last
    error          KineflowError
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from kineflow.spec.arrays import Indices
from kineflow.storage.errors import KineflowError

WindowLayout = Literal["even", "spread", "covering", "dense"]
ShortPolicy = Literal["repeat_last", "wrap", "closer", "error"]


@dataclass(frozen=True)
class ClipSpec:
    """The shape of a clip in time.

    Attributes:
        frames: Frames in one clip, at least 1.
        stride_frames: Distance between neighbouring frames of the clip, in frames of the video, at least 1.
        short: What to do with a video of fewer than ``span_frames`` frames; see the module's picture.
    """

    frames: int
    stride_frames: int = 1
    short: ShortPolicy = "repeat_last"

    def __post_init__(self) -> None:
        if self.frames < 1 or self.stride_frames < 1:
            raise ValueError(f"frames and stride_frames must be at least 1: {self}")
        if self.short not in get_args(ShortPolicy):
            raise ValueError(f"short must be one of {', '.join(get_args(ShortPolicy))}: {self}")

    @property
    def span_frames(self) -> int:
        """Frames of the video from the clip's first to its last, both counted."""
        return (self.frames - 1) * self.stride_frames + 1


def random_clip(n_frames: int, spec: ClipSpec, rng: np.random.Generator) -> Indices:
    """One window, its start uniform over all places where it fits.

    Args:
        n_frames: Frames of the video, at least 1.
        spec: Shape of the clip.
        rng: Source of the start; drawn from once whatever the length, so that later draws do not depend on it.

    Returns:
        int64 ``[1, frames]``, each in ``[0, n_frames)``.

    Raises:
        KineflowError: The video has no frames, or is too short and ``spec.short`` is ``error``.
    """
    draw = rng.random()
    start = int(draw * (last_start(n_frames, spec) + 1))
    return windows_at(n_frames, spec, np.array([start]))


def centre_clip(n_frames: int, spec: ClipSpec) -> Indices:
    """The window in the middle of the video (one frame early where it cannot be exact).

    Returns:
        int64 ``[1, frames]``, each in ``[0, n_frames)``.

    Raises:
        KineflowError: As :func:`random_clip`.
    """
    return windows_at(n_frames, spec, np.array([last_start(n_frames, spec) // 2]))


def uniform_clips(n_frames: int, spec: ClipSpec, n_clips: int) -> Indices:
    """``n_clips`` windows spread evenly: the first begins at the first frame, the last ends at the last frame.

    ::

        video       0 1 2 3 4 5 6 7 8 9        n_frames = 10, frames = 4, stride_frames = 1
        n_clips=3   x x x x
                          x x x x
                                x x x x

    Windows overlap where the video is short; a video no longer than the span gives the same window ``n_clips`` times.
    A single window is the centre one.

    Returns:
        int64 ``[n_clips, frames]``, each in ``[0, n_frames)``; starts are 0 to ``n_frames - span``, and gaps between
        starts differ by at most one frame.

    Raises:
        KineflowError: As :func:`random_clip`.
        ValueError: ``n_clips`` is below 1.
    """
    if n_clips < 1:
        raise ValueError(f"n_clips must be at least 1, not {n_clips}")
    if n_clips == 1:
        return centre_clip(n_frames, spec)
    starts = np.arange(n_clips, dtype=np.int64) * last_start(n_frames, spec) // (n_clips - 1)
    return windows_at(n_frames, spec, starts)


def covering_clips(n_frames: int, spec: ClipSpec, most: int) -> Indices:
    """As few windows as cover the video, spread evenly as :func:`uniform_clips` has them; ``most`` of a long one.

    Returns:
        int64 ``[windows, frames]``, each in ``[0, n_frames)``.

    Raises:
        KineflowError: As :func:`random_clip`.
    """
    return uniform_clips(n_frames, spec, max(1, min(most, -(-n_frames // spec.span_frames))))


def spread_clips(n_frames: int, spec: ClipSpec, n_clips: int) -> Indices:
    """VideoLSTM's test: ``n_clips`` windows, each in the middle of its share of the video.

    ::

        gap = ⌊(last start + 1) / n_clips⌋,    start_j = ⌊gap/2⌋ + j · gap

    A video with fewer starts than windows gives the first window again and again.

    Returns:
        int64 ``[n_clips, frames]``, each in ``[0, n_frames)``.

    Raises:
        KineflowError: As :func:`random_clip`.
    """
    gap = (last_start(n_frames, spec) + 1) // n_clips
    return windows_at(n_frames, spec, gap // 2 + gap * np.arange(n_clips, dtype=np.int64))


def dense_clips(n_frames: int, spec: ClipSpec) -> Indices:
    """ALSTM's test: the windows from every frame on which one fits, int64 ``[windows, frames]``; one for a short video.

    Raises:
        KineflowError: As :func:`random_clip`.
    """
    return windows_at(n_frames, spec, np.arange(last_start(n_frames, spec) + 1, dtype=np.int64))


def clips_laid_out(n_frames: int, spec: ClipSpec, n_clips: int, layout: WindowLayout) -> Indices:
    """Windows by their layout: ``even``, ``spread``, ``covering``, or ``dense``, which has no use for ``n_clips``."""
    if layout == "dense":
        return dense_clips(n_frames, spec)
    lay_out = {"even": uniform_clips, "spread": spread_clips, "covering": covering_clips}
    return lay_out[layout](n_frames, spec, n_clips)


def last_start(n_frames: int, spec: ClipSpec) -> int:
    """The last frame at which a window can start and still fit; 0 for a video shorter than the span.

    Raises:
        KineflowError: As :func:`random_clip`.
    """
    if n_frames < 1:
        raise KineflowError("a video without frames has no clip", remedy="ingest again: such videos are rejected there")
    if n_frames < spec.span_frames and spec.short == "error":
        raise KineflowError(
            f"a clip of {spec.frames} frames, {spec.stride_frames} apart, spans {spec.span_frames} frames, "
            f"but the video has {n_frames}",
            remedy="lower frames or stride_frames, set short to repeat_last, wrap or closer, or drop short videos",
        )
    return max(n_frames - spec.span_frames, 0)


def windows_at(n_frames: int, spec: ClipSpec, starts: Indices) -> Indices:
    """Windows that begin at ``starts`` [clips], int64 ``[clips, frames]``, each in ``[0, n_frames)``."""
    if spec.short == "closer" and n_frames < spec.span_frames:
        even = np.arange(spec.frames, dtype=np.int64) * (n_frames - 1) // (spec.frames - 1)
        return np.tile(even, (len(starts), 1))
    offsets = np.arange(spec.frames, dtype=np.int64) * spec.stride_frames  # [frames]
    indices = starts.astype(np.int64)[:, None] + offsets  # [clips, frames]
    return indices % n_frames if spec.short == "wrap" else np.minimum(indices, n_frames - 1)
