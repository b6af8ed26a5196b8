"""Variables of a MATLAB file of version 5 to 7 that nobody vouches for: numbers, texts, structures and cells.

Objects and functions are refused, what is unpacked is bounded, and sizes that a file states are held against the bytes
that it has.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

_MOST_BYTES = 2**28
_MOST_DEPTH = 16
_HEADER = 128
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
_MATRIX, _PACKED = 14, 15
_CELL, _STRUCTURE, _TEXT, _NUMERIC = 1, 2, 4, range(6, 16)


def read_mat(path: Path, name: str, *, max_bytes: int = _MOST_BYTES) -> Any:
    """One variable: float64 arrays as MATLAB shapes them, texts, lists of dictionaries (structures), lists (cells).

    Args:
        path: Of the file.
        name: Of the variable.
        max_bytes: Most bytes of the file, and of all that is unpacked.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such file, is too large, has no such variable, or that holds an object or a function.
    """
    with path.open("rb") as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"larger than {max_bytes} bytes")
    if data[:10] != b"MATLAB 5.0":
        newer = data[:10] == b"MATLAB 7.3"
        raise ValueError("a MATLAB file of version 7.3; save it with -v7" if newer else "no MATLAB file")
    order = {b"IM": "<", b"MI": ">"}.get(data[_HEADER - 2 : _HEADER])
    if order is None:
        raise ValueError("no byte order is told")
    left = max_bytes
    for kind, content in _elements(data[_HEADER:], order):
        if kind == _PACKED:
            unpacked = _unpacked(content, left)
            left -= len(unpacked)
            variables = _elements(unpacked, order)
        else:
            variables = iter([(kind, content)])
        for inner, matrix in variables:
            if inner == _MATRIX and _name_of(matrix, order) == name:
                return _matrix(matrix, order, 0)
    raise ValueError(f"no variable {name!r}")


def _unpacked(content: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(content, most + 1)
    except zlib.error as error:
        raise ValueError(f"damaged: {error}") from None
    if len(unpacked) > most:
        raise ValueError("unpacks to more than is read")
    return unpacked


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of each element; small ones have both in eight bytes."""
    at = 0
    while at + 8 <= len(data):
        first, size = (int(word) for word in np.frombuffer(data, f"{order}u4", 2, at))
        if first >> 16:
            kind, size, begin, end = first & 0xFFFF, first >> 16, at + 4, at + 8
        else:
            kind, begin = first, at + 8
            end = begin + size + (0 if kind == _PACKED else -size % 8)
        if begin + size > len(data) or (first >> 16 and size > 4):
            raise ValueError("damaged: an element is longer than the file")
        yield kind, data[begin : begin + size]
        at = end


def _name_of(matrix: bytes, order: str) -> str:
    parts = _elements(matrix, order)
    for _ in ("flags", "dimensions"):
        next(parts, None)
    _, name = next(parts, (0, b""))
    return name.decode("latin-1")


def _matrix(matrix: bytes, order: str, depth: int) -> Any:
    if depth > _MOST_DEPTH:
        raise ValueError(f"nested more than {_MOST_DEPTH} deep")
    if not matrix:
        return np.zeros((0, 0))
    parts = _elements(matrix, order)

    def part() -> tuple[int, bytes]:
        found = next(parts, None)
        if found is None:
            raise ValueError("damaged: a matrix has less in it than it says")
        return found

    flags, sizes = (_whole(part(), order) for _ in range(2))
    part()  # its name
    kind, count = int(flags[0]) & 0xFF if len(flags) else 0, math.prod(map(int, sizes))
    if kind in _NUMERIC:
        of, numbers = part()
        return np.frombuffer(numbers, f"{order}{_number_type(of)}").astype(np.float64).reshape(sizes, order="F")
    if kind == _TEXT:
        of, letters = part()
        if of not in _TEXTS:
            raise ValueError(f"a text of type {of}")
        return letters.decode({"utf-16": {"<": "utf-16-le", ">": "utf-16-be"}[order]}.get(_TEXTS[of], _TEXTS[of]))
    if kind == _CELL:
        return [_matrix(part()[1], order, depth + 1) for _ in range(count)]
    if kind != _STRUCTURE:
        raise ValueError(f"holds an object, a function or a sparse matrix (class {kind})")
    length, (_, texts) = int(_whole(part(), order)[0]), part()
    if length < 1:
        raise ValueError("damaged: names of fields without a length")
    names = [texts[at : at + length].split(b"\0")[0].decode("latin-1") for at in range(0, len(texts), length)]
    return [{name: _matrix(part()[1], order, depth + 1) for name in names} for _ in range(count if names else 0)]


def _whole(element: tuple[int, bytes], order: str) -> Any:
    kind, content = element
    numbers = np.frombuffer(content, f"{order}{_number_type(kind)}")
    if not len(numbers) or numbers.dtype.kind not in "iu" or (numbers.dtype.kind == "i" and numbers.min() < 0):
        raise ValueError("damaged: sizes that are none")
    return numbers


def _number_type(kind: int) -> str:
    if kind not in _NUMBERS:
        raise ValueError(f"damaged: numbers of type {kind}")
    return _NUMBERS[kind]
