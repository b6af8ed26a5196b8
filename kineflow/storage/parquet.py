"""Columns of a parquet file that nobody vouches for, within bounds that are checked before anything is decoded.

Pages compress, and texts and numbers repeat for nothing, so a file of some kilobytes may stand for gigabytes. What it
stands for is told from its headers (:mod:`kineflow.storage.parquet_pages`), and then read column by column: a text that
repeats is one object, numbers are an array.
"""

from __future__ import annotations

import mmap
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kineflow.storage.parquet_pages import ColumnSize, Footer, read_sizes

MAX_ROWS = 1_000_000
MAX_BYTES = 320 * 2**20
"""Of all pages, decompressed: a clip set of a million clips has 300 MB."""

_MAX_TEXT_BYTES = 2**16
_VALUES_A_BATCH = 2**18
_ROWS_A_BLOCK = 2**16
_BUFFER_BYTES = 2**16  # not a whole column of a group


@dataclass(frozen=True)
class Table:
    """An open file.

    Attributes:
        rows: How many it has.
        metadata: Texts that it holds beside its columns.
        names: Of its columns, in their order.
    """

    rows: int
    metadata: dict[bytes, bytes]
    names: tuple[str, ...]
    _file: Any
    _sizes: Footer

    def texts(self, name: str, *, nullable: bool = False) -> list[Any]:
        """A column of texts, None where there is none.

        Raises:
            ValueError: There is no such column, or one of something else; a text is longer than 64 KiB, or missing.
        """
        texts: list[Any] = []
        for part in self._chunks(name):
            part = _checked_texts(part, name, nullable=nullable)
            of_number = [*part.dictionary.to_pylist(), None]
            texts += [of_number[-1 if number is None else number] for number in part.indices.to_pylist()]
        return texts

    def numbers(self, name: str, kind: type[np.generic]) -> NDArray[Any]:
        """A column of numbers [rows].

        Raises:
            ValueError: There is no such column, or one of something else; a number is missing or does not fit.
        """
        parts = [_checked_numbers(part, name, kind).to_numpy(zero_copy_only=False) for part in self._chunks(name)]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=kind)

    def blocks(
        self, texts: Mapping[str, bool], numbers: Mapping[str, type[np.generic]], *, max_group_bytes: int = MAX_BYTES
    ) -> Iterator[dict[str, Any]]:
        """Columns of all rows, block after block, so that a file of any length takes the memory of one group of rows.

        Args:
            texts: Columns of texts, and whether each may lack some.
            numbers: Columns of numbers, and what they are read as.
            max_group_bytes: Most bytes of the pages of a group of rows, decompressed.

        Yields:
            Arrow arrays of up to 65,536 rows by the name of their column; texts are in dictionaries, so that one that
            repeats is there once.

        Raises:
            ValueError: As :meth:`texts` and :meth:`numbers`; or a group of rows is past the bound.
        """
        if self._sizes.largest_group > max_group_bytes:
            raise ValueError(
                f"a group of rows of {self._sizes.largest_group} bytes; at most {max_group_bytes} are read"
            )
        names, rows_read = [*texts, *numbers], 0
        for name in names:
            self._size(name)
        for batch in self._file.iter_batches(_ROWS_A_BLOCK, columns=names, use_threads=False) if self.rows else ():
            batch.validate(full=True)
            rows_read += batch.num_rows
            yield {
                **{name: _checked_texts(batch.column(name), name, nullable=texts[name]) for name in texts},
                **{name: _checked_numbers(batch.column(name), name, numbers[name]) for name in numbers},
            }
        if rows_read != self.rows:
            raise ValueError(f"{rows_read} rows were read, not {self.rows}")

    def matrix(self, name: str, width: int) -> NDArray[np.float32]:
        """A column of lists of ``width`` numbers each, float32 [rows, width].

        Raises:
            ValueError: There is no such column, or one of something else; a list is of another length.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        values = self._size(name).values
        if self.rows and values != self.rows * width:
            raise ValueError(f"column {name!r} has {values} numbers, not {self.rows} lists of {width}")
        matrix, done = np.empty((self.rows, width), dtype=np.float32), 0
        batch_rows = max(1, _VALUES_A_BATCH // max(width, 1))
        for batch in self._file.iter_batches(batch_rows, columns=[name], use_threads=False) if self.rows else ():
            lists = batch.column(0)
            lists.validate(full=True)
            if not (pa.types.is_list(lists.type) and pa.types.is_floating(lists.type.value_type)):
                raise ValueError(f"column {name!r} holds {lists.type}, not lists of numbers")
            ends = pc.min_max(pc.list_value_length(lists)).as_py()
            numbers = lists.flatten()
            if lists.null_count or numbers.null_count or {ends["min"], ends["max"]} != {width}:
                raise ValueError(f"a list of column {name!r} has not {width} numbers")
            matrix[done : done + len(lists)] = numbers.to_numpy(zero_copy_only=False).reshape(-1, width)
            done += len(lists)
        if done != self.rows:
            raise ValueError(f"column {name!r} has {done} rows, not {self.rows}")
        return matrix

    def _chunks(self, name: str) -> Iterator[Any]:
        self._size(name)
        rows_read = 0
        if self.rows:
            for part in self._file.read(columns=[name], use_threads=False).column(0).chunks:
                part.validate(full=True)  # Arrow does not look whether a text's number is in its dictionary
                rows_read += len(part)
                yield part
        if rows_read != self.rows:
            raise ValueError(f"column {name!r} has {rows_read} rows, not {self.rows}")

    def _size(self, name: str) -> ColumnSize:
        if name not in self.names or (self.rows and name not in self._sizes.columns):
            raise ValueError(f"no column {name!r}; there are {', '.join(map(repr, self.names))}")
        return self._sizes.columns.get(name, ColumnSize(0, 0))


@contextmanager
def open_table(
    path: Path,
    *,
    texts: Collection[str],
    max_rows: int = MAX_ROWS,
    max_values: int = 0,
    max_bytes: int = MAX_BYTES,
    max_row_bytes: int = 0,
) -> Iterator[Table]:
    """Open a parquet file whose columns are then read one by one; nothing of it is decoded when it is past a bound.

    Args:
        path: Of the file.
        texts: Names of the columns that hold texts.
        max_rows: Most rows.
        max_values: Most values in one column; ``max_rows`` when less.
        max_bytes: Most bytes of all pages, decompressed.
        max_row_bytes: As many for each row instead, where that is more.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no parquet file, is damaged, or is past a bound; in the block too.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.stat().st_size == 0:
        raise ValueError("the file is empty")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        sizes = read_sizes(content)
    most = {column.values for column in sizes.columns.values()}
    unfolded = sum(column.page_bytes for column in sizes.columns.values())
    for what, count, bound in (
        ("rows", sizes.rows, max_rows),
        ("values in a column", max(most, default=0), max(max_rows, max_values)),
        ("bytes when unfolded", unfolded, max(max_bytes, sizes.rows * max_row_bytes)),
    ):
        if count > bound:
            raise ValueError(f"{count} {what}; at most {bound} are read")
    try:
        # read_table would import pandas, in every step anew
        with pq.ParquetFile(
            path, read_dictionary=sorted({*texts} & {*sizes.columns}), pre_buffer=False, buffer_size=_BUFFER_BYTES
        ) as file:
            schema = file.schema_arrow
            yield Table(sizes.rows, dict(schema.metadata or {}), tuple(schema.names), file, sizes)
    except (pa.ArrowException, MemoryError, OverflowError) as error:  # some of Arrow's are no ValueError
        raise ValueError(f"damaged: {error}") from None


def _checked_texts(part: Any, name: str, *, nullable: bool) -> Any:
    """An array of texts, in a dictionary."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(part.type):
        part = part.dictionary_encode()
    known = part.dictionary
    if not (pa.types.is_string(known.type) or pa.types.is_large_string(known.type)):
        raise ValueError(f"column {name!r} holds {known.type}, not texts")
    if (pc.max(pc.binary_length(known)).as_py() or 0) > _MAX_TEXT_BYTES:
        raise ValueError(f"column {name!r} holds a text of more than {_MAX_TEXT_BYTES} bytes")
    if part.null_count and not nullable:
        raise ValueError(f"column {name!r} lacks {part.null_count} values")
    return part


def _checked_numbers(part: Any, name: str, kind: type[np.generic]) -> Any:
    """An array of numbers, as ``kind``."""
    import pyarrow as pa

    to = pa.from_numpy_dtype(kind)
    if part.null_count:
        raise ValueError(f"column {name!r} lacks {part.null_count} values")
    if not (pa.types.is_integer(part.type) or (pa.types.is_floating(part.type) and pa.types.is_floating(to))):
        raise ValueError(f"column {name!r} holds {part.type}, not {to}")
    return part.cast(to)
