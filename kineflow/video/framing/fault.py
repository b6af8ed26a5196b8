"""Whether a file is whole by what its container says of itself: sizes, numbers and check sums, without the pictures.

FFmpeg reads on after what it cannot make out, and stops without a word where a file ends early. The containers know
better: Matroska states how long every element is, Ogg numbers its pages and marks the last one, FLV and MPEG-TS are
chains that a lost byte breaks, AVI and Windows Media state their size. A stream that was written live states no length
and is whole as long as its last piece is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from kineflow.video.framing import asf, flv, matroska, mp4, mpegps, mpegts, ogg

_CHECKS: dict[str, Callable[[BinaryIO, int, int], str]] = {
    "matroska": matroska.check,
    "ogg": ogg.check,
    "flv": flv.check,
    "asf": asf.check,
    "mpegts": mpegts.check,
    "mpeg": mpegps.check,
    "mp4": mp4.check,
}


def fault_of(path: Path, container: str, stream_id: int) -> str:
    """What is missing or damaged in a file; empty when nothing is, or the container does not tell.

    Args:
        path: Of the file.
        container: FFmpeg's names of it, separated by commas.
        stream_id: Of the film, as the container numbers it (of MPEG-TS, its PID).
    """
    check = next((_CHECKS[name] for name in container.split(",") if name in _CHECKS), None)
    if check is None:
        return ""
    with path.open("rb", buffering=2**16) as stream:
        return check(stream, os.fstat(stream.fileno()).st_size, stream_id)
