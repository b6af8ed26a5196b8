"""Rows of an index by the id of their clip, found by bisection."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import ItemsView, Iterator, Mapping, Sequence, ValuesView
from typing import Any, Generic, cast

import numpy as np
from numpy.typing import NDArray

from kineflow.sets.rows import R, Row, Rows, blocks_of
from kineflow.spec.status import Status

_STRIDE = 2**12  # each first id of so many is kept
_SPREAD = 8  # ids of a block are looked up together where they lie among this many times as many


class RowsById(Mapping[str, R], Generic[R]):
    """A mapping from ids to rows; hardly anything is kept beside the rows.

    Attributes:
        rows: In the order of their ids, none of which is there twice.
    """

    def __init__(self, rows: Rows[R]) -> None:
        self.rows = rows
        self._firsts = [self._id(number) for number in range(0, len(rows), _STRIDE)]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[str]:
        for (ids,) in self.rows.cells("clip_id"):
            yield from ids

    def __getitem__(self, clip_id: str) -> R:
        place = self._place(clip_id)
        if place < 0:
            raise KeyError(clip_id)
        return self.rows[place]

    def values(self) -> ValuesView[R]:
        """All rows, in the order of their ids."""
        return _Values(self)

    def items(self) -> ItemsView[str, R]:
        """All ids and rows, in their order."""
        return _Items(self)

    def places(self, clip_ids: Sequence[str]) -> NDArray[np.int64]:
        """Where among :attr:`rows` the rows of these ids are, int64 [ids]; -1 where there is none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not clip_ids:
            return np.zeros(0, np.int64)
        first = self._first_from(min(clip_ids))
        end = self._first_from(max(clip_ids)) + 1
        if end - first > _SPREAD * len(clip_ids):
            return np.array([self._place(clip_id) for clip_id in clip_ids], np.int64)
        among = self.rows.array("clip_id", np.arange(first, min(end, len(self))))
        found = pc.fill_null(pc.index_in(pa.array(clip_ids, pa.string()), value_set=among), -1 - first)
        return cast("NDArray[np.int64]", found.to_numpy(zero_copy_only=False).astype(np.int64) + first)

    def _place(self, clip_id: str) -> int:
        at = self._first_from(clip_id)
        return at if at < len(self) and self._id(at) == clip_id else -1

    def _first_from(self, clip_id: str) -> int:
        stride = bisect_right(self._firsts, clip_id)
        among = range(max(stride - 1, 0) * _STRIDE, min(stride * _STRIDE, len(self)))
        return among.start + bisect_left(among, clip_id, key=self._id)

    def _id(self, number: int) -> Any:
        return self.rows.cell(number, "clip_id")


class _Values(ValuesView[R]):
    def __init__(self, mapping: RowsById[R]) -> None:
        super().__init__(mapping)
        self._rows = mapping.rows

    def __iter__(self) -> Iterator[R]:
        return iter(self._rows)


class _Items(ItemsView[str, R]):
    def __init__(self, mapping: RowsById[R]) -> None:
        super().__init__(mapping)
        self._rows = mapping.rows

    def __iter__(self) -> Iterator[tuple[str, R]]:
        return ((row.clip_id, row) for row in self._rows)


def by_id(rows: Rows[R]) -> RowsById[R]:
    """Rows by the id of their clip, whatever their order.

    Raises:
        ValueError: An id is there twice.
    """
    return RowsById(ordered(rows))


def rows_of(entries: Mapping[str, R]) -> Sequence[R]:
    """The rows of a mapping from ids, in the order of their ids."""
    return entries.rows if isinstance(entries, RowsById) else sorted(entries.values(), key=lambda row: row.clip_id)


def ordered(rows: Rows[R]) -> Rows[R]:
    """The rows in the order of their ids.

    Raises:
        ValueError: An id is there twice.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if _first_out_of_order(rows) is None:
        return rows
    ids = pa.chunked_array([*rows.arrays("clip_id")])
    in_order = rows.take(pc.sort_indices(ids).to_numpy(zero_copy_only=False).astype(np.int32))
    if (twice := _first_out_of_order(in_order)) is not None:
        raise ValueError(f"clip {twice!r} is listed twice")
    return in_order


def _first_out_of_order(rows: Rows[Any]) -> str | None:
    """The first id that is not after the one before it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    before = None
    for ids in rows.arrays("clip_id"):
        if not len(ids):
            continue
        if before is not None and not before < ids[0].as_py():
            return str(ids[0].as_py())
        grows = pc.less(ids[:-1], ids[1:])
        if not (pc.all(grows, min_count=0).as_py()):
            return str(ids[1 + pc.index(grows, pa.scalar(False)).as_py()].as_py())
        before = ids[-1].as_py()
    return None


def lacking(entries: Mapping[str, R], clips: Sequence[Row]) -> list[str]:
    """Ids of the clips whose entry is missing, or has no media."""
    missing: list[str] = []
    for (ids,) in blocks_of(clips, "clip_id"):
        if isinstance(entries, RowsById) and len(entries):
            places = entries.places(ids)
            has = entries.rows.take(np.maximum(places, 0)).is_one_of("status", {Status.OK}) & (places >= 0)
        else:
            found = (entries.get(clip_id) for clip_id in ids)
            has = np.array([row is not None and row.status is Status.OK for row in found], np.bool_)
        missing += [clip_id for clip_id, is_there in zip(ids, has.tolist(), strict=True) if not is_there]
    return missing


def values_of(entries: Mapping[str, R], clips: Sequence[Row], name: str, missing: int) -> NDArray[np.int64]:
    """A field of whole numbers of the entry of each clip, int64 [clips]; ``missing`` where there is none."""
    columns = []
    for (ids,) in blocks_of(clips, "clip_id"):
        if isinstance(entries, RowsById) and len(entries):
            places = entries.places(ids)
            rows = entries.rows.take(np.maximum(places, 0))
            columns.append(np.where(places < 0, missing, rows.numbers(name)))
        else:
            of = (entries.get(clip_id) for clip_id in ids)
            columns.append(np.array([missing if row is None else getattr(row, name) for row in of], np.int64))
    return np.concatenate([np.zeros(0, np.int64), *columns])
