"""Batches of pairs, filled from clip after clip."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

MOST_PIXELS_CPU = 2**17  # a pair of 340x256, or many small ones: a worker is soon ready to share the rest, or to stop
MOST_PIXELS_GPU = 2**24  # bounds the memory where frames are large


def pairs_in_batch(frame_pixels: int, most_pairs: int, *, on_cpu: bool) -> int:
    """How many pairs of frames of this size are solved together."""
    most_pixels = MOST_PIXELS_CPU if on_cpu else MOST_PIXELS_GPU
    return max(1, min(most_pairs, most_pixels // frame_pixels))


@dataclass
class PairBatch:
    """Pairs to be solved together, from one clip or several.

    Attributes:
        room: Pairs that it can take.
        parts: Consecutive frames of a clip, uint8 [n + 1, H, W] for n pairs.
        flow: uint8 [pairs, H, W, 2], once solved.
    """

    room: int
    parts: list[np.ndarray] = field(default_factory=list)
    flow: Future[np.ndarray] = field(default_factory=Future)
    on_used: Callable[[], None] = lambda: None
    _unused: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pairs(self) -> int:
        """Pairs that are in it."""
        return sum(len(part) - 1 for part in self.parts)

    def add(self, frames: np.ndarray) -> Piece:
        """Take the pairs of ``frames``, for which there must be room."""
        start = self.pairs
        self.parts.append(frames)
        self._unused += 1
        return Piece(self, start, start + len(frames) - 1)

    def frames(self) -> tuple[np.ndarray, np.ndarray]:
        """First and second frame of each pair: uint8 [pairs, H, W] each."""
        first = np.concatenate([part[:-1] for part in self.parts])
        second = np.concatenate([part[1:] for part in self.parts])
        return first, second

    def release(self) -> None:
        """One piece has been used; after the last one the memory of the batch is free."""
        with self._lock:
            self._unused -= 1
            last = not self._unused
        if last:
            self.on_used()


@dataclass(frozen=True)
class Piece:
    """The pairs of one clip in a batch: ``batch.flow.result()[start:stop]``."""

    batch: PairBatch
    start: int
    stop: int


class Filler:
    """Fills batches; a batch ends early only where the size of the frames changes.

    Args:
        open_batch: Gives an empty batch for frames of ``height`` and ``width``.
        send: Takes each full batch.
    """

    def __init__(self, open_batch: Callable[[int, int], PairBatch], send: Callable[[PairBatch], None]) -> None:
        self._open, self._send = open_batch, send
        self._batch: PairBatch | None = None
        self._size: tuple[int, ...] = ()

    def add(self, frames: np.ndarray) -> Iterator[Piece]:
        """Put the pairs of consecutive ``frames``, uint8 [T, H, W], into batches; yields where they went."""
        if frames.shape[1:] != self._size:
            self.flush()
            self._size = frames.shape[1:]
        start = 0
        while start < len(frames) - 1:
            batch = self._batch or self._open(*self._size)
            self._batch = batch
            stop = min(len(frames) - 1, start + batch.room - batch.pairs)
            yield batch.add(frames[start : stop + 1])
            start = stop
            if batch.pairs == batch.room:
                self.flush()

    def flush(self) -> None:
        """Send the batch that is being filled."""
        if self._batch is not None:
            self._send(self._batch)
            self._batch = None
