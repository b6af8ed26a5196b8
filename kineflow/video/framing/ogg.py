"""Ogg: pages, numbered in each stream, with a check sum; the last of a stream is marked."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

from kineflow.video.framing.words import CUT, DAMAGED, MOST_PIECES

_OGG_HEADER = struct.Struct("<4sBBqIIIB")
_FIRST, _LAST = 2, 4
_OGG_VIDEO = (b"\x80theora", b"BBCD\0", b"OVP80", b"\x01video")
_MIRRORED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def check(stream: BinaryIO, size: int, _: int) -> str:
    """As :func:`kineflow.video.framing.fault.fault_of`, of an open file of ``size`` bytes."""
    number_of: dict[int, int] = {}
    films: dict[int, bool] = {}  # whether the last page has come
    offset = 0
    for _piece in range(MOST_PIECES):
        if offset >= size:
            break
        header = stream.read(_OGG_HEADER.size)
        if not header.startswith(b"OggS") and films and all(films.values()):
            break  # something is appended
        if len(header) < _OGG_HEADER.size:
            return CUT.format(what="page")
        mark, _version, flags, _time, serial, number, stated, segments = _OGG_HEADER.unpack(header)
        if mark != b"OggS":
            return DAMAGED.format(offset=offset, what="no page")
        lacing = stream.read(segments)
        content = stream.read(sum(lacing))
        if len(lacing) < segments or len(content) < sum(lacing):
            return CUT.format(what="page")
        if _ogg_check_sum(header, lacing + content) != stated:
            return DAMAGED.format(offset=offset, what="a check sum fails")
        if flags & _FIRST:
            if content.startswith(_OGG_VIDEO):
                films[serial] = False
        elif number != number_of.get(serial, number - 1) + 1:
            return DAMAGED.format(offset=offset, what=f"{number - number_of[serial] - 1} pages are missing")
        if flags & _LAST and serial in films:
            films[serial] = True
        number_of[serial] = number
        offset += len(header) + len(lacing) + len(content)
    return "" if all(films.values()) else "it ends without its last page"


def _ogg_check_sum(header: bytes, rest: bytes) -> int:
    """CRC-32 of the other bit order than zlib's, from zero on, with the place of the sum itself empty."""
    page = header[:22] + bytes(4) + header[26:] + rest
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")
