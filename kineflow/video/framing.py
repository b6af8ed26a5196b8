"""Whether a file is whole by what its container says of itself: sizes, numbers and check sums, without the pictures.

FFmpeg reads on after what it cannot make out, and stops without a word where a file ends early. The containers know
better: Matroska states how long every element is, Ogg numbers its pages and marks the last one, FLV and MPEG-TS are
chains that a lost byte breaks, AVI and Windows Media state their size. A stream that was written live states no length
and is whole as long as its last piece is.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

_CHUNK = 2**22
_MOST_PIECES = 20_000_000  # walked through; what comes behind is not judged

_CUT = "its last {what} breaks off: the file ends early"
_LOST = "{have} of the {promised} bytes of its header are there"
_DAMAGED = "damaged at byte {place}: {what}"


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


# Matroska: elements of an id, a size and a content, one in the other.

_EBML, _SEGMENT, _TRACKS, _CLUSTER, _CRC32 = 0x1A45DFA3, 0x18538067, 0x1654AE6B, 0x1F43B675, 0xBF
_TRACK, _TRACK_NUMBER, _SIMPLE_BLOCK = 0xAE, 0xD7, 0xA3
_IN_SEGMENT = {0x114D9B74, 0x1549A966, _TRACKS, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367, _CLUSTER}
_IN_CLUSTER = {0xE7, _SIMPLE_BLOCK, 0xA0, 0xAF, 0xA7, 0xAB, 0x5854}
_ANYWHERE = {0xEC, _CRC32}
_UNKNOWN = -1


def _matroska(stream: BinaryIO, size: int, _: int) -> str:
    end, tracks, fault = size, set[int](), ""
    pieces = iter(range(_MOST_PIECES))
    for _piece in pieces:
        place = stream.tell()
        if place >= end:
            return ""
        element = _element(stream)
        if element is None:
            return _CUT.format(what="element") if size - place < 12 else _DAMAGED.format(place=place, what="no element")
        name, length, content = *element, stream.tell()
        if name not in _IN_SEGMENT | _IN_CLUSTER | _ANYWHERE | {_EBML, _SEGMENT}:
            return _DAMAGED.format(place=place, what="no element of Matroska")
        if length == _UNKNOWN:
            if name not in (_SEGMENT, _CLUSTER):
                return _DAMAGED.format(place=place, what="an element without a size")
            continue  # into it
        if name == _SEGMENT:
            if content + length > size:
                return _LOST.format(have=size, promised=content + length)
            end = content + length
            continue
        if content + length > end:
            return _CUT.format(what="element") if end == size else _DAMAGED.format(place=place, what="a wrong size")
        if name == _TRACKS:
            tracks = _track_numbers(stream, content + length)
        elif name == _CLUSTER:
            fault = _cluster(stream, content, content + length, tracks, pieces)
        elif name == _SIMPLE_BLOCK:
            fault = _block(stream, place, tracks)
        if fault:
            return fault
        stream.seek(content + length)
    return ""


def _cluster(stream: BinaryIO, start: int, end: int, tracks: set[int], pieces: Iterator[int]) -> str:
    """Its elements fill it, and have its check sum where it holds one."""
    place = start
    for _piece in pieces:
        if place >= end:
            break
        element = _element(stream)
        if element is None or element[0] not in _IN_CLUSTER | _ANYWHERE or not 0 <= element[1] <= end - stream.tell():
            return _DAMAGED.format(place=place, what="no element of a cluster")
        name, length, content = *element, stream.tell()
        if name == _CRC32 and length == 4 and place == start:
            (stated,) = struct.unpack("<I", stream.read(4))
            if _crc32(stream, end - stream.tell()) != stated:
                return _DAMAGED.format(place=start, what="a check sum fails")
        elif name == _SIMPLE_BLOCK and (fault := _block(stream, place, tracks)):
            return fault
        place = stream.seek(content + length)
    return ""


def _block(stream: BinaryIO, place: int, tracks: set[int]) -> str:
    if not tracks or _number(stream) in tracks:
        return ""
    return _DAMAGED.format(place=place, what="a block of no track")


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
        content = stream.read(min(length, _CHUNK))
        if not content:
            break
        value, length = zlib.crc32(content, value), length - len(content)
    return value


# Ogg: pages, numbered in each stream, with a check sum; the last of a stream is marked.

_OGG_HEADER = struct.Struct("<4sBBqIIIB")
_FIRST, _LAST = 2, 4
_OGG_VIDEO = (b"\x80theora", b"BBCD\0", b"OVP80", b"\x01video")
_MIRRORED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def _ogg(stream: BinaryIO, size: int, _: int) -> str:
    number_of: dict[int, int] = {}
    films: dict[int, bool] = {}  # whether the last page has come
    place = 0
    for _piece in range(_MOST_PIECES):
        if place >= size:
            break
        header = stream.read(_OGG_HEADER.size)
        if not header.startswith(b"OggS") and films and all(films.values()):
            break  # something is appended
        if len(header) < _OGG_HEADER.size:
            return _CUT.format(what="page")
        mark, _version, flags, _time, serial, number, stated, segments = _OGG_HEADER.unpack(header)
        if mark != b"OggS":
            return _DAMAGED.format(place=place, what="no page")
        lacing = stream.read(segments)
        content = stream.read(sum(lacing))
        if len(lacing) < segments or len(content) < sum(lacing):
            return _CUT.format(what="page")
        if _ogg_check_sum(header, lacing + content) != stated:
            return _DAMAGED.format(place=place, what="a check sum fails")
        if flags & _FIRST:
            if content.startswith(_OGG_VIDEO):
                films[serial] = False
        elif number != number_of.get(serial, number - 1) + 1:
            return _DAMAGED.format(place=place, what=f"{number - number_of[serial] - 1} pages are missing")
        if flags & _LAST and serial in films:
            films[serial] = True
        number_of[serial] = number
        place += len(header) + len(lacing) + len(content)
    return "" if all(films.values()) else "it ends without its last page"


def _ogg_check_sum(header: bytes, rest: bytes) -> int:
    """CRC-32 of the other bit order than zlib's, from zero on, with the place of the sum itself empty."""
    page = header[:22] + bytes(4) + header[26:] + rest
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")


# FLV: tags, each followed by its size; the first one may tell how long the file is.

_SCRIPT_BYTES = 2**16
_TAIL_SEC = 1.0  # a stream may end this much before the file's stated end


def _flv(stream: BinaryIO, size: int, _: int) -> str:
    head = stream.read(_SCRIPT_BYTES)
    stated = {name: _flv_number(head, name) for name in (b"filesize", b"duration")}
    if stated[b"filesize"] > size:
        return _LOST.format(have=size, promised=round(stated[b"filesize"]))
    place, until_ms = int.from_bytes(head[5:9], "big") + 4, 0
    for _piece in range(_MOST_PIECES):
        if place >= size:
            break
        stream.seek(place)
        tag = stream.read(11)
        if len(tag) == 11 and tag[0] & 0x1F not in (8, 9, 15, 18):
            return _DAMAGED.format(place=place, what="no tag")
        length = int.from_bytes(tag[1:4], "big")
        if len(tag) < 11 or place + 11 + length > size:
            return _CUT.format(what="tag")
        until_ms = max(until_ms, int.from_bytes(tag[7:8] + tag[4:7], "big"))
        place += 11 + length + 4
    if 0 < place - size < 4:
        return _CUT.format(what="tag")
    if until_ms / 1000 + _TAIL_SEC < stated[b"duration"]:
        return f"{until_ms / 1000:.2f} of the {stated[b'duration']:.2f} s of its header are there"
    return ""


def _flv_number(head: bytes, name: bytes) -> float:
    """A number of the script tag, below a petabyte or a year; 0.0 when it is not there."""
    place = head.find(name + b"\0")
    if place < 0 or len(head) < place + len(name) + 9:
        return 0.0
    (value,) = struct.unpack_from(">d", head, place + len(name) + 1)
    return float(value) if 0 < value < (1e15 if name == b"filesize" else 3e7) else 0.0


# Windows Media (ASF): objects of a GUID and a size; packets of one size, which hold pieces of numbered frames.

_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_INDEX = bytes.fromhex("90080033b1e5cf1189f400a0c90349cb")
_ASF_HEADER_BYTES = 2**20
_ASF_WIDTHS = (0, 1, 2, 4)
_ASF_COPIED = 8  # bytes, of which the first four are the size of the frame


def _asf(stream: BinaryIO, size: int, number: int) -> str:
    head = stream.read(_ASF_HEADER_BYTES)
    place, start = head.find(_ASF_FILE), head.find(_ASF_DATA)
    if min(place, start) < 0 or len(head) < max(place + 104, start + 50):
        return ""
    (stated,) = struct.unpack_from("<Q", head, place + 40)
    flags, least, most = struct.unpack_from("<III", head, place + 88)
    is_live = flags & 1
    if not is_live and stated > size:
        return _LOST.format(have=size, promised=stated)
    if least != most or not 0 < most <= _CHUNK:
        return ""
    (length,) = struct.unpack_from("<Q", head, start + 16)
    end = size if is_live or length <= 50 else min(size, start + length)
    stream.seek(start + 50)
    corrected = 0x80 & (stream.read(1) or b"\x80")[0]  # all packets begin with error correction, or none does
    last: _Piece | None = None  # all that has come of a frame
    for place in range(start + 50, end, most):
        stream.seek(place)
        packet = stream.read(most)
        if packet.startswith(_ASF_INDEX):
            break
        if len(packet) < most:
            return _CUT.format(what="packet")
        if packet[0] & 0x80 != corrected or (corrected and packet[0] & 0x10):
            return _DAMAGED.format(place=place, what="no packet")
        try:
            pieces = list(_asf_pieces(packet, number))
        except (IndexError, struct.error):
            return _DAMAGED.format(place=place, what="no packet")
        for piece in pieces:
            if last is None or piece.frame != last.frame:
                if last is not None and ((piece.frame - last.frame) % 256 > 1 or last.have != last.size):
                    return _DAMAGED.format(place=place, what="a frame, or a piece of one, is missing")
                last = piece
            else:
                last = last._replace(have=last.have + piece.have)
    return ""


class _Piece(NamedTuple):
    """Of a frame: its number, modulo 256, bytes that are here, and bytes of the whole frame."""

    frame: int
    have: int
    size: int


def _asf_pieces(packet: bytes, number: int) -> Iterator[_Piece]:
    """The pieces of frames of one stream that a packet holds."""
    place = 1 + (packet[0] & 15) if packet[0] & 0x80 else 0
    sizes, kinds = packet[place], packet[place + 1]
    place += 2
    fields = []
    for shift in (5, 1, 3):  # length of the packet, sequence, padding
        width = _ASF_WIDTHS[sizes >> shift & 3]
        fields.append(int.from_bytes(packet[place : place + width], "little"))
        place += width
    end = len(packet) - fields[2]
    place += 6  # when to send it, for how long
    several = sizes & 1
    count, length_width = (packet[place] & 63, _ASF_WIDTHS[packet[place] >> 6]) if several else (1, 0)
    place += several
    number_width, offset_width, copied_width = (_ASF_WIDTHS[kinds >> shift & 3] for shift in (4, 2, 0))
    for _piece in range(count):
        stream = packet[place] & 127
        frame = packet[place + 1] if number_width else 0
        place += 1 + number_width + offset_width
        copied = int.from_bytes(packet[place : place + copied_width], "little")
        place += copied_width
        size = int.from_bytes(packet[place : place + 4], "little")
        place += copied
        length = int.from_bytes(packet[place : place + length_width], "little") if several else end - place
        place += length_width + length
        if place > end:
            raise IndexError
        if stream == number and number_width and copied >= _ASF_COPIED:
            yield _Piece(frame, length, size)


# MPEG-TS: packets of 188 bytes (204 with error correction, 192 with a time), counted from 0 to 15 in each stream.

_TS_SYNC, _TS_BYTES = 0x47, 188


def _mpegts(stream: BinaryIO, size: int, pid: int) -> str:
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
    for place, packets in _rows(stream, start, width):
        lost = np.flatnonzero(packets[:, 0] != _TS_SYNC)
        if len(lost):
            return _DAMAGED.format(place=place + int(lost[0]) * width, what="no packet")
        film = packets[(packets[:, 1].astype(np.int32) & 0x1F) << 8 | packets[:, 2] == pid]
        film = film[film[:, 3] & 0x10 > 0]
        counts = (film[:, 3] & 15).astype(np.int8)
        if not len(counts):
            continue
        before = np.concatenate([[expected if expected >= 0 else (counts[0] - 1) % 16], counts[:-1]])
        steps = (counts - before) % 16
        said = (film[:, 3] & 0x20 > 0) & (film[:, 4] > 0) & (film[:, 5] & 0x80 > 0)  # that the count starts anew
        if ((steps > 1) & ~said).any():
            return f"damaged: packets are missing at {int(((steps > 1) & ~said).sum())} places"
        if fault := _no_start(film, place):
            return fault
        expected = int(counts[-1])
    return "" if (size - start) % width in (0, _TS_BYTES) else _CUT.format(what="packet")


def _no_start(film: np.ndarray, place: int) -> str:
    """What is wrong with packets that are said to begin something: there is no start code, and all of it is lost."""
    begins = film[film[:, 1] & 0x40 > 0]
    content = np.where(begins[:, 3] & 0x20, 5 + begins[:, 4].astype(np.int64), 4)
    if (content > _TS_BYTES - 3).any():
        return _DAMAGED.format(place=place, what="no room for what a packet begins")
    code = np.take_along_axis(begins, content[:, None] + np.arange(3), axis=1)
    scrambled = begins[:, 3] & 0xC0
    return "" if ((code == (0, 0, 1)).all(axis=1) | (scrambled > 0)).all() else "damaged: the start of a frame is lost"


def _rows(stream: BinaryIO, start: int, width: int) -> Iterator[tuple[int, np.ndarray]]:
    stream.seek(start)
    while content := stream.read(_CHUNK // width * width):
        whole = len(content) // width
        yield start, np.frombuffer(content[: whole * width], np.uint8).reshape(whole, width)
        start += whole * width


# MPEG-PS: packets of a start code and a length, in packs.

_PACK, _PS_END = 0xBA, 0xB9


def _mpegps(stream: BinaryIO, size: int, _: int) -> str:
    if stream.read(4) != b"\0\0\1\xba":  # a Video CD's sectors, or a part of something
        return ""
    place = 0
    for _piece in range(_MOST_PIECES):
        if place + 4 > size:
            break
        stream.seek(place)
        head = stream.read(14)
        if head.startswith(b"\0\0\0"):  # padding
            place += 1
            continue
        if head[:3] != b"\0\0\1" or head[3] < _PS_END:
            return _DAMAGED.format(place=place, what="no packet")
        if head[3] == _PACK:
            place += 14 + (head[13] & 7) if len(head) == 14 and head[4] & 0xC0 == 0x40 else 12
        elif head[3] == _PS_END:
            place += 4
        else:
            place += 6 + int.from_bytes(head[4:6], "big")
    return _CUT.format(what="packet") if place > size else ""


# mp4 in fragments: its header lists no frames, so that what follows has to be followed box by box.


def _mp4(stream: BinaryIO, size: int, _: int) -> str:
    place, in_fragments = 0, False
    for _piece in range(_MOST_PIECES):
        if place >= size:
            return ""
        stream.seek(place)
        head = stream.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        in_fragments |= head[4:8] == b"moof"
        if not in_fragments and (length == 0 or len(head) < 8):
            return ""
        if length == 0 and head[4:8] == b"mdat":  # to the end of the file
            return ""
        if length < 8 or not head[4:8].isalnum():
            return _DAMAGED.format(place=place, what="no box") if in_fragments else ""
        if place + length > size:
            return _CUT.format(what="box") if in_fragments else ""
        place += length
    return ""


# AVI: chunks in lists; an empty one stands for a frame that was dropped.


def empty_avi_chunks(path: Path, number: int) -> int:
    """How many frames of stream ``number`` an AVI says to be like those before them."""
    with path.open("rb", buffering=2**16) as stream:
        size, place, found = os.fstat(stream.fileno()).st_size, 0, 0
        for _piece in range(_MOST_PIECES):
            if place + 8 > size:
                break
            stream.seek(place)
            name, length = struct.unpack("<4sI", stream.read(8))
            if name in (b"RIFF", b"LIST"):
                place += 12  # into it
                continue
            if name == f"{number:02d}".encode() + name[2:] and name[2:] in (b"dc", b"db") and not length:
                found += 1
            place += 8 + length + length % 2
    return found


_CHECKS: dict[str, Callable[[BinaryIO, int, int], str]] = {
    "matroska": _matroska,
    "ogg": _ogg,
    "flv": _flv,
    "asf": _asf,
    "mpegts": _mpegts,
    "mpeg": _mpegps,
    "mp4": _mp4,
}
