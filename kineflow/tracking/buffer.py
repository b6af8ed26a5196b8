"""Figures on their way to a store that may be slow or gone: a training loop never waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Figure(NamedTuple):
    """One value of one metric."""

    name: str
    value: float
    time_ms: int
    step: int


class FigureBuffer:
    """Collects figures and hands them over in batches, from a thread of its own.

    What could not be handed over is kept and tried again with the next batch, so that a server which comes back misses
    nothing; past ``capacity`` the oldest figures are dropped.

    Args:
        send: Takes at most ``batch`` figures; whatever it raises means "not now".
        on_failure: Called with each failure of ``send``.
        interval_sec: Longest wait before a figure is handed over.
        batch: Most figures in one call of ``send``.
        capacity: Most figures kept while ``send`` fails.
    """

    def __init__(
        self,
        send: Callable[[list[Figure]], None],
        *,
        on_failure: Callable[[Exception], None],
        interval_sec: float = 3.0,
        batch: int = 1000,
        capacity: int = 100_000,
    ) -> None:
        self._send, self._on_failure = send, on_failure
        self._interval_sec, self._batch, self._capacity = interval_sec, batch, capacity
        self._waiting: list[Figure] = []
        self._sending: list[Figure] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="figures", daemon=True)
        self._thread.start()

    def add(self, metrics: Mapping[str, float], step: int) -> None:
        """Take figures of one step; returns at once."""
        now_ms = time.time_ns() // 1_000_000
        with self._lock:
            self._waiting.extend(Figure(name, float(value), now_ms, step) for name, value in metrics.items())
            del self._waiting[: -self._capacity]

    def close(self, timeout_sec: float = 60.0) -> int:
        """Hand over what is left, and stop. Returns the count of figures that were lost."""
        self._closed.set()
        self._thread.join(timeout_sec)
        with self._lock:
            return len(self._sending) + len(self._waiting)

    def _run(self) -> None:
        while not self._closed.wait(self._interval_sec):
            self._hand_over()
        self._hand_over()

    def _hand_over(self) -> None:
        while True:
            with self._lock:
                self._sending, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
            if not self._sending:
                return
            try:
                self._send(self._sending)
            except Exception as error:  # a store can fail in any way, and none may end a training
                with self._lock:
                    self._waiting = (self._sending + self._waiting)[-self._capacity :]
                    self._sending = []
                self._on_failure(error)
                return
