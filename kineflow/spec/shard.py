"""One of several parts of a work, each done by a machine of its own, with nothing said between them."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from kineflow.storage.errors import KineflowError

T = TypeVar("T")
_WRITTEN = re.compile(r"(\d{1,6})/(\d{1,6})")
_REMEDY = "write the first of four shards as 0/4 and the last as 3/4"


@dataclass(frozen=True)
class Shard:
    """Number ``index``, counted from 0, of ``count``."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise KineflowError(f"there is no shard {self}", where="shard", remedy=_REMEDY)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``1/4``.

        Raises:
            KineflowError: It is not written so, or there is no such shard, as 4/4.
        """
        written = _WRITTEN.fullmatch(text)
        if not written:
            raise KineflowError(f"{text!r} names no shard", where="shard", remedy=_REMEDY)
        return cls(int(written[1]), int(written[2]))

    @property
    def is_all(self) -> bool:
        """Whether it is the only one."""
        return self.count == 1

    def of(self, items: Iterable[T], *, work: Callable[[T], int], name: Callable[[T], str]) -> list[T]:
        """Its items, see :func:`deal`."""
        return deal(items, self.count, work=work, name=name)[self.index]


def deal(items: Iterable[T], count: int, *, work: Callable[[T], int], name: Callable[[T], str]) -> list[list[T]]:
    """The items of each shard: one has each, whatever order they come in, and all have like work to do.

    The item with the most work left goes to the shard with the least; so no two shards differ by more than the
    largest item.

    Args:
        items: All there are.
        count: Of shards.
        work: Of an item, 0 or more.
        name: Of an item, unique: it decides between equal ones.
    """
    most_first = sorted(items, key=lambda item: (-work(item), name(item)))
    least_loaded = [(0, index) for index in range(count)]
    dealt: list[list[T]] = [[] for _ in range(count)]
    for item in most_first:
        load, index = least_loaded[0]
        heapq.heapreplace(least_loaded, (load + work(item), index))
        dealt[index].append(item)
    return dealt


def check_all_there(shards: Mapping[Path, Shard]) -> None:
    """Check that shards, by their folders, are all of one work, once each.

    Args:
        shards: At least one; all of as many.

    Raises:
        KineflowError: One is missing, or there twice.
    """
    count = next(iter(shards.values())).count
    for shard in (Shard(index, count) for index in range(count)):
        having = [folder for folder, each in shards.items() if each == shard]
        if not having:
            raise KineflowError(f"shard {shard} is missing", remedy="make it, and name its folder too")
        if len(having) > 1:
            raise KineflowError(
                f"shard {shard} is there twice: {having[0]} and {having[1]}", remedy="leave one of them out"
            )
