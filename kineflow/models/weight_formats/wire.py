"""Protocol buffers as they are on the wire: numbered fields of a message, without the code made of its definition.

https://protobuf.dev/programming-guides/encoding. Only what a reader asks for is looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_VARINT_BYTES = 10

Value = int | bytes


def read_varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of 1 to 10 bytes, seven bits in each from the lowest on; and the place behind it.

    Raises:
        ValueError: The number does not end within ten bytes, or within ``content``.
    """
    number = 0
    for count, byte in enumerate(content[at : at + _MOST_VARINT_BYTES]):
        number |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return number, at + count + 1
    raise ValueError("a number that does not end")


def fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Number and value of each field, in order: an int, or the bytes of a text or of a message within.

    Raises:
        ValueError: It is no message.
    """
    at = 0
    while at < len(message):
        tag, at = read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = read_varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = read_varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"a field of kind {kind}, which there is not")
        part = message[at : at + length]
        if len(part) < length:
            raise ValueError("a field that reaches beyond its message")
        at += length
        yield number, part if kind == _BYTES else struct.unpack("<I" if kind == _FIXED32 else "<Q", part)[0]
