"""FLV: tags, each followed by its size; the first one may tell how long the file is."""

from __future__ import annotations

import struct
from typing import BinaryIO

from kineflow.video.framing.words import CUT, DAMAGED, LOST, MOST_PIECES

_SCRIPT_BYTES = 2**16
_TAIL_SEC = 1.0  # a stream may end this much before the file's stated end


def check(stream: BinaryIO, size: int, _: int) -> str:
    """As :func:`kineflow.video.framing.fault.fault_of`, of an open file of ``size`` bytes."""
    head = stream.read(_SCRIPT_BYTES)
    stated = {name: _flv_number(head, name) for name in (b"filesize", b"duration")}
    if stated[b"filesize"] > size:
        return LOST.format(have=size, promised=round(stated[b"filesize"]))
    offset, until_ms = int.from_bytes(head[5:9], "big") + 4, 0
    for _piece in range(MOST_PIECES):
        if offset >= size:
            break
        stream.seek(offset)
        tag = stream.read(11)
        if len(tag) == 11 and tag[0] & 0x1F not in (8, 9, 15, 18):
            return DAMAGED.format(offset=offset, what="no tag")
        length = int.from_bytes(tag[1:4], "big")
        if len(tag) < 11 or offset + 11 + length > size:
            return CUT.format(what="tag")
        until_ms = max(until_ms, int.from_bytes(tag[7:8] + tag[4:7], "big"))
        offset += 11 + length + 4
    if 0 < offset - size < 4:
        return CUT.format(what="tag")
    if until_ms / 1000 + _TAIL_SEC < stated[b"duration"]:
        return f"{until_ms / 1000:.2f} of the {stated[b'duration']:.2f} s of its header are there"
    return ""


def _flv_number(head: bytes, name: bytes) -> float:
    """A number of the script tag, below a petabyte or a year; 0.0 when it is not there."""
    offset = head.find(name + b"\0")
    if offset < 0 or len(head) < offset + len(name) + 9:
        return 0.0
    (value,) = struct.unpack_from(">d", head, offset + len(name) + 1)
    return float(value) if 0 < value < (1e15 if name == b"filesize" else 3e7) else 0.0
