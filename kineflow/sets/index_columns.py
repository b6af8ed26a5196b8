"""The columns of an index that nobody vouches for, checked block after block."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from kineflow.sets.rows import enum_of
from kineflow.spec.video_bounds import MAX_FILE_FRAMES
from kineflow.storage.parquet import MAX_BYTES

# Frames of a file, of which a part may be late, and a rejected row has a few more; pixels of a side. It bounds what a
# row can make others lay out.
_MOST_WHOLE = 2 * MAX_FILE_FRAMES
_SIGNED = frozenset({"rotation"})


def checked_batches(
    blocks: Iterable[Mapping[str, Any]], hints: Mapping[str, Any], later: Mapping[str, Any], *, max_text_bytes: int
) -> Iterator[Any]:
    """Record batches with a column for each field of a row, as :class:`kineflow.sets.rows.Rows` takes them.

    Args:
        blocks: As :meth:`kineflow.storage.parquet.Table.blocks` gives them.
        hints: Type of each field, in their order.
        later: Values of the fields that came with a later version of the format, where the index has none.
        max_text_bytes: Most bytes of all texts one by one; a small file may stand for many long ones.

    Raises:
        ValueError: A value is none of its field, or texts that repeat would take too much.
    """
    import pyarrow as pa

    texts = [name for name, hint in hints.items() if _is_text(hint)]
    text_bytes = 0
    for block in blocks:
        of_block = sum(_text_bytes(block[name]) for name in texts if name in block)
        text_bytes += of_block
        for size, most, where in ((of_block, MAX_BYTES, "a block of rows"), (text_bytes, max_text_bytes, "all rows")):
            if size > most:
                raise ValueError(f"the texts of {where} take more than {most} bytes")
        rows = len(next(iter(block.values())))
        columns = {
            name: _checked(block[name], name, hint) if name in block else pa.repeat(_arrow(later[name], hint), rows)
            for name, hint in hints.items()
        }
        yield pa.record_batch(columns)


def _checked(column: Any, name: str, hint: Any) -> Any:
    import pyarrow as pa

    if members := enum_of(hint):
        known = column.dictionary.to_pylist()
        codes = pa.array([members.index(type(members[0])(text)) for text in known], pa.uint8())
        return codes.take(column.indices)
    if _is_text(hint):
        return column.dictionary.cast(pa.string()).take(column.indices)
    _check_bounds(column.to_numpy(zero_copy_only=False), name)
    return column


def _is_text(hint: Any) -> bool:
    return hint not in (int, float) and not enum_of(hint)


def _text_bytes(column: Any) -> int:
    """Of a dictionary's texts, one by one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.binary_length(column.dictionary).cast(pa.int64())
    return int(pc.sum(lengths.take(column.indices)).as_py() or 0)


def _check_bounds(numbers: Any, name: str) -> None:
    most = _MOST_WHOLE if numbers.dtype.kind == "i" else math.inf
    least = -_MOST_WHOLE if name in _SIGNED else 0
    if len(numbers) and not (numbers.min() >= least and numbers.max() <= most and np.isfinite(numbers).all()):
        raise ValueError(f"{name} is too small or too large in a row")


def _arrow(value: Any, hint: Any) -> Any:
    """A value as it is kept."""
    import pyarrow as pa

    return pa.scalar(value, pa.int32() if hint is int else pa.string())
