"""Rows of an index that are columns until somebody asks for a row, and what is asked of all rows at once.

The functions below take any sequence of rows, and are quick for :class:`Rows`.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast, get_type_hints, overload

import numpy as np
from numpy.typing import NDArray

from kineflow.spec.status import Status
from kineflow.storage.blocks import BYTES_A_LOOK, Blocks

ROWS_AT_ONCE = 2**16
_PREFIX_BYTES = 8
_NEAR = 4  # rows that lie among this many times as many share their pages


class Row(Protocol):
    """A row of an index: a dataclass of texts, numbers and members of :class:`~enum.StrEnum`, some of them optional."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def clip_id(self) -> str:
        """Of which clip."""

    @property
    def path(self) -> str:
        """Of its media below the root; empty when there are none."""

    @property
    def status(self) -> Status:
        """Whether there are."""

    @property
    def reason(self) -> str:
        """Why there are none."""


R = TypeVar("R", bound=Row)
Places = NDArray[np.int32]


def enum_of(hint: Any) -> tuple[StrEnum, ...]:
    """The members of a field that is one of few texts, in the order of their codes; none of other fields."""
    return tuple(hint) if isinstance(hint, type) and issubclass(hint, StrEnum) else ()


class Rows(Sequence[R], Generic[R]):
    """Rows in columns, some of them or all; equal to any sequence of equal rows.

    Args:
        row: Dataclass of a row.
        blocks: A column for each of its fields; a member of an enumeration is its place among the members, uint8.
        places: Which rows, int32 and in any order; None for all.
    """

    def __init__(self, row: type[R], blocks: Blocks, places: Places | None = None) -> None:
        self._row, self._blocks, self._places = row, blocks, places
        hints = get_type_hints(row)
        self._names = [field.name for field in dataclasses.fields(row)]
        self._members = [enum_of(hints[name]) for name in self._names]
        self._count = len(blocks) if places is None else len(places)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, key: int) -> R: ...
    @overload
    def __getitem__(self, key: slice) -> Rows[R]: ...
    def __getitem__(self, key: int | slice) -> R | Rows[R]:
        if isinstance(key, slice):
            return self.take(np.arange(*key.indices(len(self)), dtype=np.int32))
        columns, at = self._find(key)
        self._blocks.looked_at(len(self._names) * BYTES_A_LOOK)
        cells = (column[at].as_py() for column in columns)
        return self._row(*(of[cell] if of else cell for cell, of in zip(cells, self._members, strict=True)))

    def __iter__(self) -> Iterator[R]:
        for columns in self.cells(*self._names):
            yield from map(self._row, *columns)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, islice(self, 3)))
        return f"<{len(self)} rows: {shown}{', …' if len(self) > 3 else ''}>"

    def cell(self, number: int, name: str) -> Any:
        """The text or number of one row."""
        columns, at = self._find(number)
        self._blocks.looked_at(BYTES_A_LOOK)
        return columns[self._names.index(name)][at].as_py()

    def take(self, numbers: NDArray[np.integer[Any]]) -> Rows[R]:
        """The rows of these numbers, in this order."""
        places = numbers if self._places is None else self._places[numbers]
        return Rows(self._row, self._blocks, places.astype(np.int32))

    def joined(self, other: Rows[R]) -> Rows[R]:
        """These rows and then others of the same index."""
        return Rows(self._row, self._blocks, np.concatenate([each._all_places() for each in (self, other)]))

    def comes_from(self, other: Rows[Any]) -> bool:
        """Whether both are rows of one index."""
        return self._blocks is other._blocks

    def arrays(self, name: str) -> Iterator[Any]:
        """A column as Arrow arrays of up to 65,536 rows; a member of an enumeration as its code."""
        if self._places is None:
            for columns in self._blocks.columns:
                column = columns[self._names.index(name)]
                yield column
                self._blocks.looked_at(column.nbytes)
        else:
            for first in range(0, len(self), ROWS_AT_ONCE):
                yield self.array(name, np.arange(first, min(first + ROWS_AT_ONCE, len(self))))

    def array(self, name: str, numbers: NDArray[np.integer[Any]]) -> Any:
        """A column of the rows of these numbers, as :meth:`arrays`."""
        import pyarrow as pa

        places = np.asarray(numbers if self._places is None else self._places[numbers], dtype=np.int64)
        order = None if (places[1:] >= places[:-1]).all() else np.argsort(places, kind="stable")
        ordered = places if order is None else places[order]
        bounds = np.searchsorted(ordered, self._blocks.starts)
        parts = []
        for at in np.flatnonzero(np.diff(bounds)):
            column = self._blocks.columns[at][self._names.index(name)]
            parts.append(column.take(pa.array(ordered[bounds[at] : bounds[at + 1]] - self._blocks.starts[int(at)])))
        are_near = len(places) and places.max() - places.min() < _NEAR * len(places)
        self._blocks.looked_at(sum(part.nbytes for part in parts) * _NEAR if are_near else len(places) * BYTES_A_LOOK)
        found = pa.concat_arrays(parts) if parts else self._no_cells(name)
        if order is None:
            return found
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return found.take(pa.array(back))

    def cells(self, *names: str) -> Iterator[tuple[list[Any], ...]]:
        """Columns, block after block, as lists of what rows hold."""
        members = [self._members[self._names.index(name)] for name in names]
        for arrays in zip(*map(self.arrays, names), strict=True):
            yield tuple(
                [of[code] for code in array.to_pylist()] if of else array.to_pylist()
                for array, of in zip(arrays, members, strict=True)
            )

    def is_one_of(self, name: str, values: Collection[object]) -> NDArray[np.bool_]:
        """Of each row, whether a field is one of ``values``, [rows]."""
        import pyarrow as pa
        import pyarrow.compute as pc

        members = self._members[self._names.index(name)]
        wanted = [members.index(value) for value in members if value in values] if members else list(values)
        masks = []
        for array in self.arrays(name):
            masks.append(pc.is_in(array, value_set=pa.array(wanted, array.type)).to_numpy(zero_copy_only=False))
        return np.concatenate([np.zeros(0, np.bool_), *masks])

    def numbers(self, name: str) -> NDArray[Any]:
        """A column of numbers [rows]; copied."""
        arrays = [array.to_numpy(zero_copy_only=False) for array in self.arrays(name)]
        return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)

    def _find(self, number: int) -> tuple[list[Any], int]:
        at = operator.index(number)
        if not -self._count <= at < self._count:
            raise IndexError(f"row {at} of {self._count}")
        at %= self._count
        return self._blocks.find(at if self._places is None else int(self._places[at]))

    def _all_places(self) -> Places:
        return np.arange(len(self), dtype=np.int32) if self._places is None else self._places

    def _no_cells(self, name: str) -> Any:
        import pyarrow as pa

        first = self._blocks.columns[:1]
        return first[0][self._names.index(name)].slice(0, 0) if first else pa.array([])


def select(rows: Sequence[R], mask: NDArray[np.bool_]) -> Sequence[R]:
    """The rows where ``mask`` [rows] is true."""
    if isinstance(rows, Rows):
        return rows if mask.all() else rows.take(np.flatnonzero(mask))
    return [row for row, is_wanted in zip(rows, mask.tolist(), strict=True) if is_wanted]


def joined(first: Sequence[R], second: Sequence[R]) -> Sequence[R]:
    """Rows and then others."""
    if isinstance(first, Rows) and isinstance(second, Rows) and first.comes_from(second):
        return first.joined(second)
    return [*first, *second]


def is_one_of(rows: Sequence[R], name: str, values: Collection[object]) -> NDArray[np.bool_]:
    """Of each row, whether a field is one of ``values``, [rows]."""
    if isinstance(rows, Rows):
        return rows.is_one_of(name, values)
    return np.fromiter((getattr(row, name) in values for row in rows), np.bool_, len(rows))


def whole_numbers(rows: Sequence[Row], name: str) -> NDArray[Any]:
    """A field of whole numbers of each row, [rows]."""
    if isinstance(rows, Rows):
        return rows.numbers(name)
    return np.fromiter((getattr(row, name) for row in rows), np.int64, len(rows))


def distinct(rows: Sequence[Row], name: str) -> set[Any]:
    """What a field is in some row."""
    return {cell for (cells,) in blocks_of(rows, name) for cell in set(cells)}


def blocks_of(rows: Iterable[Row], *names: str) -> Iterator[tuple[Sequence[Any], ...]]:
    """Fields of the rows, as columns of up to 65,536 rows."""
    if isinstance(rows, Rows):
        yield from rows.cells(*names)
        return
    rest = iter(rows)
    while block := list(islice(rest, ROWS_AT_ONCE)):
        yield tuple([getattr(row, name) for row in block] for name in names)


def in_order(rows: Iterable[Row], by: str, then: str) -> Iterator[list[tuple[str, str]]]:
    """Two fields of all rows in the order of both, block after block; a text that is missing is empty."""
    if not isinstance(rows, Rows):
        yield sorted((getattr(row, by), getattr(row, then) or "") for row in rows)
        return
    keys = np.concatenate([np.zeros(0, np.uint64), *map(_prefixes, rows.arrays(by))])
    order = np.argsort(keys, kind="stable").astype(np.int32)
    keys, first = keys[order], 0
    while first < len(order):
        # Texts of one prefix are ordered among themselves, in one block.
        last = min(first + ROWS_AT_ONCE, len(order)) - 1
        end = int(np.searchsorted(keys, keys[last], side="right"))
        block = rows.take(order[first:end]).cells(by, then)
        yield sorted((one, other or "") for columns in block for one, other in zip(*columns, strict=True))
        first = end


def _prefixes(texts: Any) -> NDArray[np.uint64]:
    """The first eight bytes of each text, as a number that is ordered as they are; [texts]."""
    _, offsets, content = texts.buffers()
    if not len(texts):
        return np.zeros(0, np.uint64)
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    data = np.frombuffer(content, np.uint8) if content and content.size else np.zeros(1, np.uint8)
    at = ends[:-1, None] + np.arange(_PREFIX_BYTES)
    inside = at < ends[1:, None]
    prefix = np.where(inside, data[np.minimum(at, len(data) - 1)], 0).astype(np.uint8)
    return cast("NDArray[np.uint64]", prefix.view(">u8")[:, 0].astype(np.uint64))
