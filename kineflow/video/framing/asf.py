"""Windows Media (ASF): objects of a GUID and a size; packets of one size, which hold pieces of numbered frames."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from kineflow.video.framing.words import CHUNK, CUT, DAMAGED, LOST

_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_INDEX = bytes.fromhex("90080033b1e5cf1189f400a0c90349cb")
_ASF_HEADER_BYTES = 2**20
_ASF_WIDTHS = (0, 1, 2, 4)
_ASF_COPIED = 8  # bytes, of which the first four are the size of the frame


def check(stream: BinaryIO, size: int, number: int) -> str:
    """As :func:`kineflow.video.framing.fault.fault_of`, of an open file of ``size`` bytes."""
    head = stream.read(_ASF_HEADER_BYTES)
    offset, start = head.find(_ASF_FILE), head.find(_ASF_DATA)
    if min(offset, start) < 0 or len(head) < max(offset + 104, start + 50):
        return ""
    (stated,) = struct.unpack_from("<Q", head, offset + 40)
    flags, least, most = struct.unpack_from("<III", head, offset + 88)
    is_live = flags & 1
    if not is_live and stated > size:
        return LOST.format(have=size, promised=stated)
    if least != most or not 0 < most <= CHUNK:
        return ""
    (length,) = struct.unpack_from("<Q", head, start + 16)
    end = size if is_live or length <= 50 else min(size, start + length)
    stream.seek(start + 50)
    corrected = 0x80 & (stream.read(1) or b"\x80")[0]  # all packets begin with error correction, or none does
    last: _Piece | None = None  # all that has come of a frame
    for offset in range(start + 50, end, most):
        stream.seek(offset)
        packet = stream.read(most)
        if packet.startswith(_ASF_INDEX):
            break
        if len(packet) < most:
            return CUT.format(what="packet")
        if packet[0] & 0x80 != corrected or (corrected and packet[0] & 0x10):
            return DAMAGED.format(offset=offset, what="no packet")
        try:
            pieces = list(_asf_pieces(packet, number))
        except (IndexError, struct.error):
            return DAMAGED.format(offset=offset, what="no packet")
        for piece in pieces:
            if last is None or piece.frame != last.frame:
                if last is not None and ((piece.frame - last.frame) % 256 > 1 or last.have != last.size):
                    return DAMAGED.format(offset=offset, what="a frame, or a piece of one, is missing")
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
    offset = 1 + (packet[0] & 15) if packet[0] & 0x80 else 0
    sizes, kinds = packet[offset], packet[offset + 1]
    offset += 2
    fields = []
    for shift in (5, 1, 3):  # length of the packet, sequence, padding
        width = _ASF_WIDTHS[sizes >> shift & 3]
        fields.append(int.from_bytes(packet[offset : offset + width], "little"))
        offset += width
    end = len(packet) - fields[2]
    offset += 6  # when to send it, for how long
    several = sizes & 1
    count, length_width = (packet[offset] & 63, _ASF_WIDTHS[packet[offset] >> 6]) if several else (1, 0)
    offset += several
    number_width, offset_width, copied_width = (_ASF_WIDTHS[kinds >> shift & 3] for shift in (4, 2, 0))
    for _piece in range(count):
        stream = packet[offset] & 127
        frame = packet[offset + 1] if number_width else 0
        offset += 1 + number_width + offset_width
        copied = int.from_bytes(packet[offset : offset + copied_width], "little")
        offset += copied_width
        size = int.from_bytes(packet[offset : offset + 4], "little")
        offset += copied
        length = int.from_bytes(packet[offset : offset + length_width], "little") if several else end - offset
        offset += length_width + length
        if offset > end:
            raise IndexError
        if stream == number and number_width and copied >= _ASF_COPIED:
            yield _Piece(frame, length, size)
