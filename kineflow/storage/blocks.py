"""Columns of many rows, in blocks: small ones in memory, large ones in a file that is mapped.

What is mapped is no memory of the process: the system reads it in as it is looked at, gives it to all processes that
were forked from this one, and takes it back when memory is short.
"""

from __future__ import annotations

import itertools
import mmap
import os
from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from kineflow.storage.cache import default_cache, unnamed_file
from kineflow.storage.disk import translate_full_disk

IN_MEMORY_BYTES = 64 * 2**20
BYTES_A_LOOK = 2 * 2**16
"""What the system maps at most when a cell is looked at: pages around its bytes, and around where they begin."""
_FORGET_BYTES = 128 * 2**20


class Blocks:
    """Record batches of one schema, one after the other.

    Attributes:
        columns: Of each batch, Arrow arrays.
        starts: Number of each batch's first row, and how many rows there are.
    """

    def __init__(self, batches: list[Any], mapped: tuple[IO[bytes], mmap.mmap] | None = None) -> None:
        self._batches, self._mapped, self._looked_at = batches, mapped, 0
        self.columns: list[list[Any]] = [batch.columns for batch in batches]
        self.starts: list[int] = [0, *itertools.accumulate(batch.num_rows for batch in batches)]

    def __len__(self) -> int:
        return self.starts[-1]

    def find(self, number: int) -> tuple[list[Any], int]:
        """The columns of the batch that holds a row, and the row's number in them."""
        at = bisect_right(self.starts, number) - 1
        return self.columns[at], number - self.starts[at]

    def looked_at(self, size: int) -> None:
        """Count bytes that have been looked at, and give back what is mapped before it is much.

        What is needed again is mapped again.
        """
        self._looked_at += size
        if self._mapped and self._looked_at > _FORGET_BYTES:
            self._mapped[1].madvise(mmap.MADV_DONTNEED)
            self._looked_at = 0

    def __reduce__(self) -> tuple[Any, ...]:
        if self._mapped is None:
            return Blocks, (self._batches,)
        return _mapped_at, (f"/proc/{os.getpid()}/fd/{self._mapped[0].fileno()}",)  # there while this process is


def keep(batches: Iterable[Any], *, in_memory_bytes: int = IN_MEMORY_BYTES) -> Blocks:
    """Keep record batches of one schema, which are taken one after the other.

    Args:
        batches: Of Arrow.
        in_memory_bytes: Past this size, they are written to a file without a name (:func:`unnamed_file`).

    Raises:
        KineflowError: The disk is full.
    """
    kept: list[Any] = []
    size, rest = 0, iter(batches)
    for batch in rest:
        kept.append(batch)
        size += batch.nbytes
        if size > in_memory_bytes:
            return _kept_in_a_file(kept, rest)
    return Blocks(kept)


def _kept_in_a_file(first: list[Any], rest: Iterable[Any]) -> Blocks:
    import pyarrow as pa

    file = unnamed_file()
    with (
        translate_full_disk(default_cache().folder),
        os.fdopen(os.dup(file.fileno()), "wb") as sink,
        pa.ipc.new_file(sink, first[0].schema) as writer,
    ):
        while first:
            writer.write_batch(first.pop(0))
        for batch in rest:
            writer.write_batch(batch)
    pa.default_memory_pool().release_unused()
    return _mapped(file)


def _mapped_at(path: str) -> Blocks:
    return _mapped(Path(path).open("rb"))


def _mapped(file: IO[bytes]) -> Blocks:
    import pyarrow as pa

    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(content)))
    return Blocks([reader.get_batch(number) for number in range(reader.num_record_batches)], (file, content))
