"""Matroska: elements of an id, a size and a content, one in the other."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from kineflow.video.framing.words import CHUNK, CUT, DAMAGED, LOST, MOST_PIECES

_EBML, _SEGMENT, _TRACKS, _CLUSTER, _CRC32 = 0x1A45DFA3, 0x18538067, 0x1654AE6B, 0x1F43B675, 0xBF
_TRACK, _TRACK_NUMBER, _SIMPLE_BLOCK = 0xAE, 0xD7, 0xA3
_IN_SEGMENT = {0x114D9B74, 0x1549A966, _TRACKS, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367, _CLUSTER}
_IN_CLUSTER = {0xE7, _SIMPLE_BLOCK, 0xA0, 0xAF, 0xA7, 0xAB, 0x5854}
_ANYWHERE = {0xEC, _CRC32}
_UNKNOWN = -1


def check(stream: BinaryIO, size: int, _: int) -> str:
    """As :func:`kineflow.video.framing.fault.fault_of`, of an open file of ``size`` bytes."""
    end, tracks, fault = size, set[int](), ""
    pieces = iter(range(MOST_PIECES))
    for _piece in pieces:
        offset = stream.tell()
        if offset >= end:
            return ""
        element = _element(stream)
        if element is None:
            return (
                CUT.format(what="element") if size - offset < 12 else DAMAGED.format(offset=offset, what="no element")
            )
        name, length, content = *element, stream.tell()
        if name not in _IN_SEGMENT | _IN_CLUSTER | _ANYWHERE | {_EBML, _SEGMENT}:
            return DAMAGED.format(offset=offset, what="no element of Matroska")
        if length == _UNKNOWN:
            if name not in (_SEGMENT, _CLUSTER):
                return DAMAGED.format(offset=offset, what="an element without a size")
            continue  # into it
        if name == _SEGMENT:
            if content + length > size:
                return LOST.format(have=size, promised=content + length)
            end = content + length
            continue
        if content + length > end:
            return CUT.format(what="element") if end == size else DAMAGED.format(offset=offset, what="a wrong size")
        if name == _TRACKS:
            tracks = _track_numbers(stream, content + length)
        elif name == _CLUSTER:
            fault = _cluster(stream, content, content + length, tracks, pieces)
        elif name == _SIMPLE_BLOCK:
            fault = _block(stream, offset, tracks)
        if fault:
            return fault
        stream.seek(content + length)
    return ""


def _cluster(stream: BinaryIO, start: int, end: int, tracks: set[int], pieces: Iterator[int]) -> str:
    """Its elements fill it, and have its check sum where it holds one."""
    offset = start
    for _piece in pieces:
        if offset >= end:
            break
        element = _element(stream)
        if element is None or element[0] not in _IN_CLUSTER | _ANYWHERE or not 0 <= element[1] <= end - stream.tell():
            return DAMAGED.format(offset=offset, what="no element of a cluster")
        name, length, content = *element, stream.tell()
        if name == _CRC32 and length == 4 and offset == start:
            (stated,) = struct.unpack("<I", stream.read(4))
            if _crc32(stream, end - stream.tell()) != stated:
                return DAMAGED.format(offset=start, what="a check sum fails")
        elif name == _SIMPLE_BLOCK and (fault := _block(stream, offset, tracks)):
            return fault
        offset = stream.seek(content + length)
    return ""


def _block(stream: BinaryIO, offset: int, tracks: set[int]) -> str:
    if not tracks or _number(stream) in tracks:
        return ""
    return DAMAGED.format(offset=offset, what="a block of no track")


def _track_numbers(stream: BinaryIO, end: int) -> set[int]:
    numbers = set()
    while stream.tell() < end and (element := _element(stream)) and element[1] != _UNKNOWN:
        name, length = element
        if name == _TRACK_NUMBER:
            numbers.add(int.from_bytes(stream.read(min(length, 8)), "big"))
        elif name != _TRACK:  # else into it
            stream.seek(length, os.SEEK_CUR)
    return numbers


def _element(stream: BinaryIO) -> tuple[int, int] | None:
    """Id, and size of the content or :data:`_UNKNOWN`; the content is next. None where there is none."""
    first = stream.read(1)
    width = 9 - first[0].bit_length() if first else 9
    if width > 4:
        return None
    name = int.from_bytes(first + stream.read(width - 1), "big")
    length = _number(stream)
    return None if length is None else (name, length)


def _number(stream: BinaryIO) -> int | None:
    """A number of 1 to 8 bytes, as many as its leading zeros say; :data:`_UNKNOWN` when all its bits are set."""
    first = stream.read(1)
    width = 9 - first[0].bit_length() if first else 9
    if width > 8:
        return None
    rest = stream.read(width - 1)
    if len(rest) < width - 1:
        return None
    value = int.from_bytes(first + rest, "big") - (1 << 7 * width)
    return _UNKNOWN if value == (1 << 7 * width) - 1 else value


def _crc32(stream: BinaryIO, length: int) -> int:
    value = 0
    while length > 0:
        content = stream.read(min(length, CHUNK))
        if not content:
            break
        value, length = zlib.crc32(content, value), length - len(content)
    return value
