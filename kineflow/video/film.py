"""Which of the picture streams of a file is the film."""

from __future__ import annotations

from typing import Any

from av.stream import Disposition

from kineflow.storage.errors import KineflowError

_NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image | Disposition.metadata
_LONG_ENOUGH = 0.5  # of the longest


def film_of(container: Any) -> Any:
    """The film: no cover, no still and no thumbnails, not much shorter than others, and the largest of those.

    Of two of one size the default one is taken, then the first. Only the header is asked, so that everyone who opens
    the file takes the same.

    Raises:
        KineflowError: There is no video stream, or none that can be decoded.
    """
    streams = list(container.streams.video)
    if not streams:
        raise KineflowError("holds no video stream")
    decodable = [stream for stream in streams if stream.codec_context is not None]
    if not decodable:
        raise KineflowError("its video is coded in a way that FFmpeg does not know")
    films = [stream for stream in decodable if not stream.disposition & _NO_FILM and stream.frames != 1]
    candidates = films or decodable
    lengths = {stream.index: _seconds(stream) for stream in candidates}
    longest = max(lengths.values())

    def rank(stream: Any) -> tuple[bool, int, bool, int]:
        known = lengths[stream.index]
        size = stream.codec_context.width * stream.codec_context.height
        is_long = not known or known >= _LONG_ENOUGH * longest
        return is_long, size, bool(stream.disposition & Disposition.default), -int(stream.index)

    return max(candidates, key=rank)


def _seconds(stream: Any) -> float:
    """What the header says; 0.0 where that is nothing."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")  # of Matroska
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return 0.0
