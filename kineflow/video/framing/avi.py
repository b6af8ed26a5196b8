"""AVI: chunks in lists; an empty one stands for a frame that was dropped."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from kineflow.video.framing.words import MOST_PIECES


def empty_avi_chunks(path: Path, number: int) -> int:
    """How many frames of stream ``number`` an AVI says to be like those before them."""
    with path.open("rb", buffering=2**16) as stream:
        size, offset, empty = os.fstat(stream.fileno()).st_size, 0, 0
        for _piece in range(MOST_PIECES):
            if offset + 8 > size:
                break
            stream.seek(offset)
            name, length = struct.unpack("<4sI", stream.read(8))
            if name in (b"RIFF", b"LIST"):
                offset += 12  # into it
                continue
            if name == f"{number:02d}".encode() + name[2:] and name[2:] in (b"dc", b"db") and not length:
                empty += 1
            offset += 8 + length + length % 2
    return empty
