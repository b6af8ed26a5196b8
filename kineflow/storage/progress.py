"""Progress of long work: a live bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 10.0


def _one(_: object) -> int:
    return 1


def track(
    items: Iterable[T], *, total: int, what: str, unit: str = "clip", size: Callable[[T], int] = _one
) -> Iterator[T]:
    """Yield ``items`` while showing how much of ``total`` is done, the rate and the time left.

    Args:
        items: To be yielded.
        total: Of all of them, in ``unit``.
        what: Is being done.
        unit: What is counted, in the singular.
        size: How many units an item is; by default each is one.
    """
    if sys.stderr.isatty():
        yield from _bar(items, total, what, unit, size)
    else:
        yield from _lines(items, total, what, unit, size)


def _bar(items: Iterable[T], total: int, what: str, unit: str, size: Callable[[T], int]) -> Iterator[T]:
    from rich import progress as rp
    from rich.console import Console

    columns = (
        rp.TextColumn("{task.description}"), rp.BarColumn(), rp.MofNCompleteColumn(),
        rp.TextColumn("{task.fields[rate]}"), rp.TimeElapsedColumn(), rp.TextColumn("left"), rp.TimeRemainingColumn(),
    )  # fmt: skip
    with rp.Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total, rate="")
        start, done = time.monotonic(), 0
        for item in items:
            yield item
            done += size(item)
            rate = done / max(time.monotonic() - start, 1e-9)
            progress.update(task, completed=done, rate=f"{rate:.1f} {unit}s/s")


def _lines(items: Iterable[T], total: int, what: str, unit: str, size: Callable[[T], int]) -> Iterator[T]:
    start = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += size(item)
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES or done == total:
            last = now
            rate = done / max(now - start, 1e-9)
            left = (total - done) / rate if rate else float("inf")
            _LOG.info("%s: %d/%d, %.1f %ss/s, %.0f s left", what, done, total, rate, unit, left)
