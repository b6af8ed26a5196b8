"""Threads that work together: the first one to fail stops all, and so does an interruption of their caller."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from queue import Empty, Full, Queue
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.05  # between two looks at whether the others have stopped


class WorkersStopped(Exception):  # noqa: N818 (nothing is wrong where it is raised)
    """The workers have stopped while one of them waited."""


class Workers:
    """A context in which threads run.

    Its end stops them and waits for them: a thread stops where it next waits for another one, so work has to come in
    small pieces. (None is left behind: an interpreter that ends while one is inside torch is aborted.)
    """

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._cpu_seconds: Counter[str] = Counter()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        if self._error is not None and (error is None or isinstance(error, WorkersStopped)):
            raise self._error from None

    def start(self, role: str, work: Callable[[], None], *, count: int = 1) -> None:
        """Run ``work`` on ``count`` threads until it returns."""
        for _ in range(count):
            thread = threading.Thread(target=self._run, args=(role, work), name=f"flow-{role}")
            self._threads.append(thread)
            thread.start()

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time by role, of the threads that have ended."""
        return dict(self._cpu_seconds)

    def get(self, queue: Queue[T]) -> T:
        """The next item of a queue.

        Raises:
            WorkersStopped: The workers stop, here and in the methods below.
        """
        return self._wait(lambda: queue.get(timeout=_POLL_SECONDS), Empty)

    def items(self, queue: Queue[T]) -> Iterator[T]:
        """Items of a queue, without end."""
        while True:
            yield self.get(queue)

    def put(self, queue: Queue[T], item: T) -> None:
        """Put an item into a queue, once there is room."""
        self._wait(lambda: queue.put(item, timeout=_POLL_SECONDS), Full)

    def result(self, future: Future[T]) -> T:
        """The result of a future, once it is there."""
        return self._wait(lambda: future.result(timeout=_POLL_SECONDS), TimeoutError)

    def take(self, budget: Budget, amount: int) -> None:
        """Take ``amount`` from a budget, once enough is left."""
        self._wait(lambda: budget.take(amount, timeout=_POLL_SECONDS), TimeoutError)

    def _wait(self, attempt: Callable[[], T], not_yet: type[Exception]) -> T:
        while True:
            if self._stopping.is_set():
                raise WorkersStopped
            try:
                return attempt()
            except not_yet:
                continue

    def _run(self, role: str, work: Callable[[], None]) -> None:
        try:
            work()
        except WorkersStopped:
            pass
        except BaseException as error:
            with self._lock:
                self._error = self._error or error
            self._stopping.set()
        with self._lock:
            self._cpu_seconds[role] += time.thread_time()  # type: ignore[assignment]


class Budget:
    """An amount that threads share, memory for instance; a request above all of it is met when nothing else is out."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._changed = threading.Condition()

    def take(self, amount: int, *, timeout: float) -> None:
        """Take ``amount``.

        Raises:
            TimeoutError: So much is not left, for ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._used or self._used + amount <= self._limit, timeout):
                raise TimeoutError
            self._used += amount

    def give_back(self, amount: int) -> None:
        """Give back what was taken."""
        with self._changed:
            self._used -= amount
            self._changed.notify_all()


class Channel(Generic[T]):
    """A queue from one thread to another; its writer closes it, with an error for its reader if need be."""

    def __init__(self, workers: Workers, limit: int = 0) -> None:
        self._workers = workers
        self._queue: Queue[T | _End] = Queue(limit)

    def put(self, item: T) -> None:
        """Pass an item on, once there is room."""
        self._workers.put(self._queue, item)

    def close(self, error: Exception | None = None) -> None:
        """No more items follow."""
        self._workers.put(self._queue, _End(error))

    def __iter__(self) -> Iterator[T]:
        while not isinstance(item := self._workers.get(self._queue), _End):
            yield item
        if item.error is not None:
            raise item.error


class _End:
    def __init__(self, error: Exception | None) -> None:
        self.error = error
