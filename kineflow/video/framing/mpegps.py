"""MPEG-PS: packets of a start code and a length, in packs."""

from __future__ import annotations

from typing import BinaryIO

from kineflow.video.framing.words import CUT, DAMAGED, MOST_PIECES

_PACK, _PS_END = 0xBA, 0xB9


def check(stream: BinaryIO, size: int, _: int) -> str:
    """As :func:`kineflow.video.framing.fault.fault_of`, of an open file of ``size`` bytes."""
    if stream.read(4) != b"\0\0\1\xba":  # a Video CD's sectors, or a part of something
        return ""
    offset = 0
    for _piece in range(MOST_PIECES):
        if offset + 4 > size:
            break
        stream.seek(offset)
        head = stream.read(14)
        if head.startswith(b"\0\0\0"):  # padding
            offset += 1
            continue
        if head[:3] != b"\0\0\1" or head[3] < _PS_END:
            return DAMAGED.format(offset=offset, what="no packet")
        if head[3] == _PACK:
            offset += 14 + (head[13] & 7) if len(head) == 14 and head[4] & 0xC0 == 0x40 else 12
        elif head[3] == _PS_END:
            offset += 4
        else:
            offset += 6 + int.from_bytes(head[4:6], "big")
    return CUT.format(what="packet") if offset > size else ""
