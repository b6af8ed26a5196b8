"""Threads that work together and stop together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import Queue
from typing import Any

import pytest

from kineflow.flow.extraction.workers import Budget, Channel, Workers

WAITING: dict[str, Callable[[Workers], Any]] = {
    "get": lambda workers: workers.get(Queue()),
    "put": lambda workers: [workers.put(full, 0) for full in [Queue(1)] for _ in range(2)],
    "result": lambda workers: workers.result(Future()),
    "take": lambda workers: [workers.take(budget, 2) for budget in [Budget(3)] for _ in range(2)],
    "read": lambda workers: list(Channel(workers)),
}


def fail() -> None:
    raise ValueError("broken")


def interrupt_while(hire: Callable[[Workers], None]) -> None:
    def work() -> None:
        with Workers() as workers:
            hire(workers)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()


def test_work_is_done_by_many() -> None:
    todo: Queue[int] = Queue()
    done: Queue[int] = Queue()
    threads = threading.active_count()
    with Workers() as workers:
        workers.start("square", lambda: [done.put(n * n) for n in workers.items(todo)], count=3)
        for n in range(20):
            workers.put(todo, n)
        assert sorted(workers.get(done) for _ in range(20)) == [n * n for n in range(20)]
    assert threading.active_count() == threads
    assert workers.cpu_seconds()["square"] > 0


@pytest.mark.parametrize("waiting", WAITING.values(), ids=WAITING.keys())
def test_a_failure_reaches_the_caller_and_stops_who_waits(waiting: Callable[[Workers], Any]) -> None:
    threads = threading.active_count()

    def work() -> None:
        with Workers() as workers:
            workers.start("wait", lambda: waiting(workers), count=2)
            workers.start("fail", fail)
            waiting(workers)

    with pytest.raises(ValueError, match="broken"):
        work()
    assert threading.active_count() == threads


@pytest.mark.parametrize("waiting", WAITING.values(), ids=WAITING.keys())
def test_an_interruption_of_the_caller_stops_who_waits(waiting: Callable[[Workers], Any]) -> None:
    threads = threading.active_count()
    interrupt_while(lambda workers: workers.start("wait", lambda: waiting(workers), count=2))
    assert threading.active_count() == threads


def test_no_thread_is_left_behind() -> None:
    done = []

    def compute() -> None:
        time.sleep(0.2)
        done.append(True)

    interrupt_while(lambda workers: workers.start("compute", compute))
    assert done == [True]


def test_a_channel_passes_on_in_order_and_ends() -> None:
    workers = Workers()
    channel: Channel[int] = Channel(workers)
    for n in range(3):
        channel.put(n)
    channel.close()
    assert list(channel) == [0, 1, 2]


def test_an_error_comes_after_what_was_sent_before_it() -> None:
    workers = Workers()
    channel: Channel[int] = Channel(workers)
    channel.put(0)
    channel.close(ValueError("broken off"))
    items = iter(channel)
    assert next(items) == 0
    with pytest.raises(ValueError, match="broken off"):
        next(items)


def test_a_budget_is_shared() -> None:
    budget = Budget(10)
    budget.take(6, timeout=0)
    budget.take(4, timeout=0)
    with pytest.raises(TimeoutError):
        budget.take(1, timeout=0)
    budget.give_back(4)
    budget.take(3, timeout=0)


def test_a_request_above_the_budget_is_met_alone() -> None:
    budget = Budget(10)
    budget.take(99, timeout=0)
    with pytest.raises(TimeoutError):
        budget.take(1, timeout=0)
    budget.give_back(99)
    budget.take(1, timeout=0)
    with pytest.raises(TimeoutError):
        budget.take(99, timeout=0)
