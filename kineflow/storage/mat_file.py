"""MATLAB's MAT-files of version 5 to 7 that nobody vouches for, as plain values.

https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf. A file is a row of elements, each a type, a length
and bytes; arrays are elements made of elements. Arrays of numbers keep MATLAB's type and shape, text is ``str``, a cell
array a list, a struct array, of one struct too, a list of dictionaries. Objects, functions and sparse arrays are None.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8", 16: "u1"}
_TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
_CELL, _STRUCT, _CHAR, _DOUBLE, _LAST_NUMBER = 1, 2, 4, 6, 15
_CLASS = {6: "f8", 7: "f4"}  # of numbers that are stored as the smallest type that holds them
_MOST_BYTES = 2**28
_MOST_VALUES, _MOST_DEPTH, _MOST_SIDES, _MOST_NAME_BYTES = 500_000, 16, 16, 500


def read_mat(path: Path, *, max_bytes: int = _MOST_BYTES) -> dict[str, Any]:
    """The variables of a file by name.

    Args:
        path: Of the file.
        max_bytes: Most bytes of the file, and of all that is unpacked and made of it.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no such file, damaged, of version 7.3, or larger.
    """
    with path.open("rb") as stream:
        content = memoryview(stream.read(max_bytes + 1))
    if len(content) > max_bytes:
        raise ValueError(f"larger than {max_bytes} bytes")
    header = bytes(content[:_HEADER_BYTES])
    if header.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise ValueError(
            "of version 7.3, which is HDF5: load it in MATLAB or Octave, and save it with -v7: "
            "save('NAME.mat', '-struct', 'variables', '-v7')"
        )
    if len(header) < _HEADER_BYTES or header[126:] not in (b"IM", b"MI"):
        raise ValueError("no MATLAB file of version 5 to 7")
    return _Reader("<" if header[126:] == b"IM" else ">", max_bytes).variables(content[_HEADER_BYTES:])


class _Reader:
    """Reads elements.

    Args:
        order: Of bytes, as numpy and struct write it.
        memory: Bytes that may be made of the file.
    """

    def __init__(self, order: str, memory: int) -> None:
        self._order, self._memory, self._values = order, memory, _MOST_VALUES

    def variables(self, content: memoryview) -> dict[str, Any]:
        named = {}
        position = 0
        while position < len(content):
            kind, body, position = self._element(content, position)
            if kind == _COMPRESSED:
                kind, body, _ = self._element(self._expanded(body), 0)
            if kind == _MATRIX:
                name, value = self._matrix(body, depth=0)
                named[name] = value
        return named

    def _expanded(self, body: memoryview) -> memoryview:
        try:
            expanded = zlib.decompressobj().decompress(body, self._memory)
        except zlib.error as error:
            raise ValueError(f"damaged: {error}") from None
        self._take(len(expanded))
        return memoryview(expanded)

    def _element(self, content: memoryview, position: int) -> tuple[int, memoryview, int]:
        """Type and bytes of the element at ``position``, and where the next begins."""
        if position + 8 > len(content):
            raise ValueError("damaged: an element is cut short")
        kind, length = struct.unpack_from(f"{self._order}II", content, position)
        start = position + 8
        if kind >> 16:  # a small one: the length beside the type, four bytes of content behind
            kind, length, start = kind & 0xFFFF, kind >> 16, position + 4
            if length > 4:
                raise ValueError(f"a small element of {length} bytes")
        end = start + length
        if end > len(content):
            raise ValueError(f"damaged: an element of {length} bytes is longer than the file")
        after = end if kind == _COMPRESSED else position + 8 if start == position + 4 else end + -length % 8
        return kind, content[start:end], min(after, len(content))

    def _matrix(self, body: memoryview, depth: int) -> tuple[str, Any]:
        """Name and value of an array."""
        self._count(1)
        if depth > _MOST_DEPTH:
            raise ValueError(f"arrays more than {_MOST_DEPTH} deep in each other")
        if not body:
            return "", np.zeros((0, 0))
        _, flags, position = self._element(body, 0)
        if len(flags) != 8:
            raise ValueError("an array without a class")
        (flag,) = struct.unpack_from(f"{self._order}I", flags)
        kind = flag & 0xFF
        if not 1 <= kind <= _LAST_NUMBER or kind in (3, 5):
            return "", None
        _, sides, position = self._element(body, position)
        shape = tuple(int(side) for side in np.frombuffer(sides, f"{self._order}i4"))
        if not 2 <= len(shape) <= _MOST_SIDES or min(shape) < 0:
            raise ValueError(f"an array of shape {list(shape[:_MOST_SIDES])}")
        _, text, position = self._element(body, position)
        name = _name(text)
        if kind == _CELL:
            return name, self._cells(body, position, math.prod(shape), depth)
        if kind == _STRUCT:
            return name, self._structs(body, position, math.prod(shape), depth)
        stored, content, _ = self._element(body, position)
        if kind == _CHAR:
            return name, bytes(content).decode(self._coding(stored), errors="replace")
        return name, self._numbers(stored, content, kind, shape)

    def _cells(self, body: memoryview, position: int, count: int, depth: int) -> list[Any]:
        self._count(count)
        cells = []
        for _ in range(count):
            _, content, position = self._element(body, position)
            cells.append(self._matrix(content, depth + 1)[1])
        return cells

    def _structs(self, body: memoryview, position: int, count: int, depth: int) -> list[dict[str, Any]]:
        self._count(count)
        _, length, position = self._element(body, position)
        _, text, position = self._element(body, position)
        width = struct.unpack(f"{self._order}i", length)[0] if len(length) == 4 else 0
        if width < 1:
            raise ValueError("a struct whose fields have no names")
        names = [_name(text[at : at + width]) for at in range(0, len(text), width)]
        structs = []
        for _ in range(count):
            values = {}
            for field in names:
                _, content, position = self._element(body, position)
                values[field] = self._matrix(content, depth + 1)[1]
            structs.append(values)
        return structs

    def _numbers(self, stored: int, content: memoryview, kind: int, shape: tuple[int, ...]) -> Any:
        if stored not in _STORED:
            raise ValueError(f"numbers of type {stored}, which there is not")
        numbers = np.frombuffer(content, f"{self._order}{_STORED[stored]}")
        if len(numbers) != math.prod(shape):
            raise ValueError(f"an array of shape {list(shape)} with {len(numbers)} numbers")
        if kind in _CLASS:
            self._take(len(numbers) * np.dtype(_CLASS[kind]).itemsize)
            numbers = numbers.astype(_CLASS[kind])
        return numbers.reshape(shape, order="F")

    def _coding(self, stored: int) -> str:
        if stored not in _TEXT:
            raise ValueError(f"text of type {stored}, which there is not")
        coding = _TEXT[stored]
        return coding + ("-le" if self._order == "<" else "-be") if coding == "utf-16" else coding

    def _count(self, values: int) -> None:
        self._values -= values
        if self._values < 0:
            raise ValueError(f"more than {_MOST_VALUES} arrays, cells and structs")

    def _take(self, size: int) -> None:
        self._memory -= size
        if self._memory <= 0:
            raise ValueError("unpacks to more than is read")


def _name(text: memoryview) -> str:
    if len(text) > _MOST_NAME_BYTES:
        raise ValueError(f"a name of {len(text)} bytes")
    return bytes(text).partition(b"\0")[0].decode("latin-1")
