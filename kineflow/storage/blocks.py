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
_FORGET_AFTER = 2**18  # rows of a block
_ROWS_A_LOOK = 64  # the system maps pages around the one that is looked at


class Blocks:
    """Record batches of one schema, one after the other.

    Attributes:
        batches: Of Arrow.
        starts: Number of each one's first row, and how many rows there are.
    """

    def __init__(self, batches: list[Any], mapped: tuple[IO[bytes], mmap.mmap] | None = None) -> None:
        self.batches, self._mapped, self._looked_at = batches, mapped, 0
        self.starts: list[int] = [0, *itertools.accumulate(batch.num_rows for batch in batches)]

    def __len__(self) -> int:
        return self.starts[-1]

    def find(self, number: int) -> tuple[Any, int]:
        """The batch that holds a row, and the row's number in it."""
        at = bisect_right(self.starts, number) - 1
        self.looked_at(_ROWS_A_LOOK)
        return self.batches[at], number - self.starts[at]

    def looked_at(self, rows: int) -> None:
        """Let the process give back what it has mapped, from time to time; what it needs again is mapped again."""
        self._looked_at += rows
        if self._mapped and self._looked_at > _FORGET_AFTER:
            self._mapped[1].madvise(mmap.MADV_DONTNEED)
            self._looked_at = 0

    def __reduce__(self) -> tuple[Any, ...]:
        if self._mapped is None:
            return Blocks, (self.batches,)
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
