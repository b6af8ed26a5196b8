"""A few frames of a clip, small, at given times: what one look costs is what lies between key frame and frame.

Nothing is believed of the file but that a frame is a frame: where it ends too early, fewer come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter

from kineflow.storage.media import Media
from kineflow.survey.facts import Header
from kineflow.video.geometry import pixel_aspect, square_size, turn_of, upright
from kineflow.video.opening import decoded, open_video

_FASTEST_FPS = 300.0  # what is above is a unit of time that was taken for a rate
_WORTH_A_SEEK_SEC = 3.0
_MOST_FRAMES = 20_000  # decoded for one glimpse: the film of a file without a usable index


@dataclass(frozen=True)
class Wish:
    """One frame that is wanted.

    Attributes:
        at_sec: Seconds from the beginning of the film.
        short_side: To scale its shorter side down to, px.
        grey: Grey values in place of RGB.
    """

    at_sec: float
    short_side: int
    grey: bool = False


def glimpse(
    path: Media, wishes_for: Callable[[Header], Sequence[Wish]]
) -> tuple[Header, list[tuple[Wish, np.ndarray]], float]:
    """Open a film, and take the frames that are wished for once its header is known.

    Returns:
        The header, the frames that there are in order of time (uint8 ``[H, W, 3]`` RGB or ``[H, W]``), and the time of
        the last one in seconds.

    Raises:
        KineflowError: The file is no video, or breaks off with an error before any frame.
    """
    with open_video(path) as (container, stream):
        header = _header_of(container, stream)
        wishes = sorted(wishes_for(header), key=lambda wish: wish.at_sec)
        if not wishes:
            return header, [], 0.0
        taken, last = [], 0.0
        convert = _Converter(pixel_aspect(stream))
        sideways = False
        for wish, frame, at_sec in _frames_at(container, stream, wishes, header.fps or 25.0):
            taken.append((wish, convert(frame, wish)))
            last, sideways = at_sec, turn_of(frame).is_sideways
        if sideways:
            header = Header(header.fps, header.seconds, header.height, header.width, header.codec)
        return header, taken, last


def _header_of(container: Any, stream: Any) -> Header:
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    if seconds <= 0 and container.duration:
        seconds = container.duration / 1e6
    width, height = square_size(stream.codec_context.width, stream.codec_context.height, pixel_aspect(stream))
    fps = rate if 0 < rate <= _FASTEST_FPS else 0.0
    return Header(fps, max(seconds, 0.0), width, height, stream.codec_context.name)


def _frames_at(container: Any, stream: Any, wishes: Sequence[Wish], fps: float) -> Iterator[tuple[Wish, Any, float]]:
    """The frame nearest to the time of each wish, in their order."""
    start = float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0
    pending, here, count = list(wishes), 0.0, 0
    if pending[0].at_sec > _WORTH_A_SEEK_SEC:
        _seek(container, stream, start + pending[0].at_sec)
    frames = decoded(container, stream)
    while pending:
        frame = next(frames, None)
        if frame is None or count >= _MOST_FRAMES:
            return
        here = count / fps if frame.time is None else frame.time - start
        count += 1
        while pending and here >= pending[0].at_sec - 0.5 / fps:
            yield pending.pop(0), frame, here
        if pending and pending[0].at_sec - here > _WORTH_A_SEEK_SEC and frame.time is not None:
            _seek(container, stream, start + pending[0].at_sec)
            frames = decoded(container, stream)


def _seek(container: Any, stream: Any, at_sec: float) -> None:
    if stream.time_base:
        container.seek(int(at_sec / stream.time_base), stream=stream)


class _Converter:
    """Scales frames down; a scaler for each size is kept by the reformatter."""

    def __init__(self, aspect: float) -> None:
        self._aspect, self._reformatters = aspect, dict[tuple[int, bool], VideoReformatter]()

    def __call__(self, frame: Any, wish: Wish) -> np.ndarray:
        width, height = square_size(frame.width, frame.height, self._aspect)
        scale = min(1.0, wish.short_side / min(width, height))
        size = (max(2, round(width * scale)), max(2, round(height * scale)))
        reformatter = self._reformatters.setdefault((wish.short_side, wish.grey), VideoReformatter())
        scaled = reformatter.reformat(
            frame,
            width=size[0],
            height=size[1],
            format="gray" if wish.grey else "rgb24",
            interpolation="AREA",
            threads=1,
        )
        return upright(scaled.to_ndarray(), turn_of(frame))
