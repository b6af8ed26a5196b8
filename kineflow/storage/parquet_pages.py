"""What a parquet file would unfold to, told from its headers before a page of it is decoded.

The figures in a parquet file's footer are its writer's word. What a reader really allocates follows from the headers
of the pages, which lie in the clear between the pages: this module walks over them all, in a few milliseconds, with a
bound on its own work. A header is a struct in Thrift's compact protocol
(https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md), its fields are those of
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import Any

_MAGIC = b"PAR1"
_MAX_FOOTER_BYTES = 16 * 2**20
_MAX_PAGE_BYTES = 32 * 2**20  # writers split columns into pages of 1 MiB
_MAX_ITEMS = 300_000  # fields and elements of all headers together
_MAX_DEPTH = 12

_DATA_PAGE, _INDEX_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = range(4)
_BYTE_ARRAYS = frozenset({6, 7})
# By their numbers: plain, plain_dictionary, rle, rle_dictionary; of numbers byte_stream_split as well. The others
# (prefixes shared with the value before, say) let a text take no bytes of a page.
_ENCODINGS, _ENCODINGS_OF_NUMBERS = frozenset({0, 2, 3, 8}), frozenset({9})

Struct = dict[int, Any]


@dataclass(frozen=True)
class ColumnSize:
    """What a column would unfold to.

    Attributes:
        values: In all of its pages, nulls too; of a list, those of its elements.
        page_bytes: Of all pages, decompressed.
    """

    values: int
    page_bytes: int


@dataclass(frozen=True)
class Footer:
    """What a parquet file says of itself.

    Attributes:
        rows: In all row groups.
        columns: Sizes by the name of the column at the top of the schema.
        largest_group: Bytes of all pages of the largest row group, decompressed.
    """

    rows: int
    columns: dict[str, ColumnSize]
    largest_group: int


def read_sizes(content: mmap | bytes) -> Footer:
    """Walk over all headers of a parquet file.

    Raises:
        ValueError: It is no parquet file, or one that no reader here should decode: a part lies outside of the file, a
            page is larger than 32 MiB, its values are coded in a way that hides their size, or counts contradict.
    """
    size = len(content)
    if size < 12 or content[:4] != _MAGIC or content[-4:] != _MAGIC:
        raise ValueError("no parquet file")
    (footer_bytes,) = struct.unpack("<I", content[-8:-4])
    if footer_bytes > min(size - 12, _MAX_FOOTER_BYTES):
        raise ValueError(f"a parquet footer of {footer_bytes} bytes in a file of {size}")
    thrift = _Compact(content, size - 8 - footer_bytes, size - 8)
    file = thrift.struct()
    rows, columns, largest_group = 0, dict[str, ColumnSize](), 0
    flat = _flat_columns(_structs(file, 2))
    for group in _structs(file, 4):
        group_rows, group_bytes = _count(group, 3), 0
        rows += group_rows
        for chunk in _structs(group, 1):
            facts = _struct(chunk, 3)
            name, *below = [_text(part) for part in _list(facts, 3)] or [""]
            values, page_bytes = 0, 0
            if not group_rows and not facts.get(9):  # Arrow says of a column without rows that it begins nowhere
                columns.setdefault(name, ColumnSize(0, 0))
                continue
            for page_values, uncompressed in _pages(thrift, facts, size - 8 - footer_bytes):
                values, page_bytes = values + page_values, page_bytes + uncompressed
            if name in flat and not below and values != group_rows:
                raise ValueError(f"column {name!r} has {values} values in a group of {group_rows} rows")
            group_bytes += page_bytes
            before = columns.get(name, ColumnSize(0, 0))
            columns[name] = ColumnSize(before.values + values, before.page_bytes + page_bytes)
        largest_group = max(largest_group, group_bytes)
    if rows != _count(file, 3):
        raise ValueError(f"{_count(file, 3)} rows are promised, and {rows} there")
    return Footer(rows, columns, largest_group)


def _flat_columns(schema: list[Struct]) -> set[str]:
    """Names of the columns without elements of their own."""
    if not schema or len(schema) > _MAX_ITEMS:
        raise ValueError("no schema")
    return {_text(element.get(4)) for element in schema[1:] if 5 not in element and element.get(3) != 2}


def _pages(thrift: _Compact, facts: Struct, end_of_data: int) -> Iterator[tuple[int, int]]:
    """Values and decompressed bytes of each page of a column chunk."""
    first, dictionary = _count(facts, 9), facts.get(11, 0)
    if isinstance(dictionary, int) and 0 < dictionary < first:
        first = dictionary
    end = first + _count(facts, 7)
    if not 4 <= first <= end <= end_of_data:
        raise ValueError("a column lies outside of the file")
    is_text = facts.get(1) in _BYTE_ARRAYS
    thrift.position, thrift.end = first, end
    while thrift.position < end:
        header = thrift.struct()
        kind, uncompressed, compressed = (_count(header, field) for field in (1, 2, 3))
        if uncompressed > _MAX_PAGE_BYTES:
            raise ValueError(f"a page of {uncompressed} bytes; at most {_MAX_PAGE_BYTES} are read")
        thrift.position += compressed
        if thrift.position > end:
            raise ValueError("a page lies outside of its column")
        values = 0
        if kind in (_DATA_PAGE, _DATA_PAGE_V2):
            page = _struct(header, 5 if kind == _DATA_PAGE else 8)
            values, encoding = _count(page, 1), page.get(2 if kind == _DATA_PAGE else 4)
            if encoding not in _ENCODINGS and (is_text or encoding not in _ENCODINGS_OF_NUMBERS):
                raise ValueError(f"values are coded in a way that is not read here ({encoding})")
        elif kind == _DICTIONARY_PAGE:
            if 4 * _count(_struct(header, 7), 1) > uncompressed:
                raise ValueError("a dictionary of more values than its page can hold")
        elif kind != _INDEX_PAGE:
            raise ValueError(f"a page of unknown kind {kind}")
        yield values, uncompressed


def _count(fields: Struct, field: int) -> int:
    value = fields.get(field)
    if type(value) is not int or value < 0:
        raise ValueError(f"field {field} of a parquet header is {value!r}")
    return value


def _list(fields: Struct, field: int) -> list[Any]:
    value = fields.get(field)
    if not isinstance(value, list):
        raise ValueError(f"field {field} of a parquet header is no list")
    return value


def _structs(fields: Struct, field: int) -> list[Struct]:
    value = _list(fields, field)
    if not all(isinstance(each, dict) for each in value):
        raise ValueError(f"field {field} of a parquet header is no list of structs")
    return value


def _struct(fields: Struct, field: int) -> Struct:
    value = fields.get(field)
    if not isinstance(value, dict):
        raise ValueError(f"field {field} of a parquet header is no struct")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        raise ValueError("a name of a parquet header is no text")
    return value.decode("utf-8")


class _Compact:
    """Reads structs as dictionaries from the number of a field to its value; a field twice is refused."""

    def __init__(self, content: mmap | bytes, position: int, end: int) -> None:
        self.content, self.position, self.end = content, position, end
        self._items = 0

    def struct(self, depth: int = 0) -> Struct:
        fields: Struct = {}
        number = 0
        if depth > _MAX_DEPTH:
            raise ValueError("a parquet header is nested too deeply")
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            if number in fields:
                raise ValueError("a field of a parquet header is there twice")
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (4, 5, 6):
            return self._integer()
        if kind == 8:
            return self._bytes(self._varint())
        if kind in (9, 10):
            head = self._byte()
            count, kind = self._varint() if head >> 4 == 15 else head >> 4, head & 15
            if count > self.end - self.position:  # an element takes a byte at least
                raise ValueError("a list of a parquet header is longer than the header")
            return [self._value(kind, depth) for _ in range(count)]
        if kind == 12:
            return self.struct(depth + 1)
        widths = {1: 1, 2: 1, 3: 1, 7: 8, 13: 16}
        if kind not in widths:
            raise ValueError(f"a parquet header holds a value of unknown kind {kind}")
        return self._bytes(widths[kind])

    def _bytes(self, length: int) -> bytes:
        start = self.position
        if length > self.end - start:
            raise ValueError("a parquet header is cut off")
        self._spend()
        self.position = start + length
        return self.content[start : start + length]

    def _byte(self) -> int:
        if self.position >= self.end:
            raise ValueError("a parquet header is cut off")
        self._spend()
        self.position += 1
        return self.content[self.position - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number of a parquet header is too long")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _spend(self) -> None:
        self._items += 1
        if self._items > _MAX_ITEMS * 4:
            raise ValueError("a parquet file of too many parts")
