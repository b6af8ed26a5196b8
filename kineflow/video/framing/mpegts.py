"""MPEG-TS: packets of 188 bytes (204 with error correction, 192 with a time), counted from 0 to 15 in each stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from kineflow.video.framing.words import CHUNK, CUT, DAMAGED

_TS_SYNC, _TS_BYTES = 0x47, 188


def check(stream: BinaryIO, size: int, pid: int) -> str:
    """As :func:`kineflow.video.framing.fault.fault_of`, of an open file of ``size`` bytes."""
    head = stream.read(2**16)
    shape = next(
        (
            (width, start)
            for width in (_TS_BYTES, 192, 204)
            for start in range(min(width, len(head)))
            if len(head) > start + 4 * width and all(head[start + n * width] == _TS_SYNC for n in range(5))
        ),
        None,
    )
    if shape is None:
        return ""
    width, start = shape
    expected = -1
    for offset, packets in _rows(stream, start, width):
        lost = np.flatnonzero(packets[:, 0] != _TS_SYNC)
        if len(lost):
            return DAMAGED.format(offset=offset + int(lost[0]) * width, what="no packet")
        film = packets[(packets[:, 1].astype(np.int32) & 0x1F) << 8 | packets[:, 2] == pid]
        film = film[film[:, 3] & 0x10 > 0]
        counts = (film[:, 3] & 15).astype(np.int8)
        if not len(counts):
            continue
        before = np.concatenate([[expected if expected >= 0 else (counts[0] - 1) % 16], counts[:-1]])
        steps = (counts - before) % 16
        restarts = (film[:, 3] & 0x20 > 0) & (film[:, 4] > 0) & (film[:, 5] & 0x80 > 0)  # that the count starts anew
        if ((steps > 1) & ~restarts).any():
            return f"damaged: packets are missing at {int(((steps > 1) & ~restarts).sum())} places"
        if fault := _no_start(film, offset):
            return fault
        expected = int(counts[-1])
    return "" if (size - start) % width in (0, _TS_BYTES) else CUT.format(what="packet")


def _no_start(film: np.ndarray, offset: int) -> str:
    """What is wrong with packets that are said to begin something: there is no start code, and all of it is lost."""
    begins = film[film[:, 1] & 0x40 > 0]
    content = np.where(begins[:, 3] & 0x20, 5 + begins[:, 4].astype(np.int64), 4)
    if (content > _TS_BYTES - 3).any():
        return DAMAGED.format(offset=offset, what="no room for what a packet begins")
    code = np.take_along_axis(begins, content[:, None] + np.arange(3), axis=1)
    scrambled = begins[:, 3] & 0xC0
    return "" if ((code == (0, 0, 1)).all(axis=1) | (scrambled > 0)).all() else "damaged: the start of a frame is lost"


def _rows(stream: BinaryIO, start: int, width: int) -> Iterator[tuple[int, np.ndarray]]:
    stream.seek(start)
    while content := stream.read(CHUNK // width * width):
        whole = len(content) // width
        yield start, np.frombuffer(content[: whole * width], np.uint8).reshape(whole, width)
        start += whole * width
