"""Protocol buffers' wire format: the fields of a message, one after the other, without its schema.

https://protobuf.dev/programming-guides/encoding/. Nothing is copied: what is not a number is a view of the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_FIXED = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_MOST_VARINT_BYTES = 10


class WireReader:
    """Reads messages, up to a number of fields in all.

    Args:
        most_fields: More are refused, so that a file of any size takes a bounded time.
    """

    def __init__(self, most_fields: int) -> None:
        self._left = self._most = most_fields

    def fields(self, message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """Number and value of each field: an integer ≥ 0, or bytes.

        Raises:
            ValueError: The message is cut short, has fields of no kind, or there are too many.
        """
        position = 0
        while position < len(message):
            self._left -= 1
            if self._left < 0:
                raise ValueError(f"more than {self._most} fields")
            key, position = read_varint(message, position)
            number, kind = key >> 3, key & 7
            if kind == _VARINT:
                value, position = read_varint(message, position)
                yield number, value
                continue
            if kind == _LENGTH:
                length, position = read_varint(message, position)
            elif kind in _FIXED:
                length = _FIXED[kind]
            else:
                raise ValueError(f"a field of kind {kind}, which there is not")
            if length > len(message) - position:
                raise ValueError(f"a field of {length} bytes where {len(message) - position} are left")
            yield number, message[position : position + length]
            position += length


def as_bytes(value: int | memoryview) -> memoryview:
    """The value of a field that is text, a message or an array.

    Raises:
        ValueError: It is a number.
    """
    if isinstance(value, int):
        raise ValueError("a number where text, a message or an array belongs")
    return value


def varints(packed: memoryview) -> list[int]:
    """The integers ≥ 0 of a packed array.

    Raises:
        ValueError: The last is cut short.
    """
    numbers, position = [], 0
    while position < len(packed):
        number, position = read_varint(packed, position)
        numbers.append(number)
    return numbers


def read_varint(message: bytes | memoryview, position: int) -> tuple[int, int]:
    """An integer ≥ 0, and where it ends.

    Raises:
        ValueError: It does not end within ten bytes, or within ``message``.
    """
    value = 0
    for index, byte in enumerate(message[position : position + _MOST_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + index + 1
    raise ValueError("an integer that does not end")
