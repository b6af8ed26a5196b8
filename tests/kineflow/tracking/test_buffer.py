import threading
import time
from collections.abc import Callable

import pytest

from kineflow.tracking.buffer import Figure, FigureBuffer


class Store:
    """Takes figures, or refuses them while it is down."""

    def __init__(self) -> None:
        self.batches: list[list[Figure]] = []
        self.failures: list[Exception] = []
        self.down = False

    def send(self, figures: list[Figure]) -> None:
        if self.down:
            raise ConnectionError("gone")
        self.batches.append(figures)

    @property
    def values(self) -> list[float]:
        return [figure.value for batch in self.batches for figure in batch]


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit, "nothing happened for 10 s"
        time.sleep(0.005)


@pytest.fixture
def store() -> Store:
    return Store()


def test_hands_over_in_batches_and_in_order(store: Store) -> None:
    buffer = FigureBuffer(store.send, on_failure=store.failures.append, interval_sec=60, batch=10)
    for step in range(25):
        buffer.add({"loss": float(step)}, step)
    assert buffer.close() == 0
    assert [len(batch) for batch in store.batches] == [10, 10, 5]
    assert store.values == [float(step) for step in range(25)]
    assert store.batches[0][3][:2] == ("loss", 3.0)
    assert store.batches[0][3].step == 3
    assert abs(store.batches[0][0].time_ms / 1000 - time.time()) < 60


def test_hands_over_while_the_work_goes_on(store: Store) -> None:
    buffer = FigureBuffer(store.send, on_failure=store.failures.append, interval_sec=0.01)
    buffer.add({"loss": 1.0}, 0)
    wait_until(lambda: store.values == [1.0])
    buffer.close()


def test_keeps_figures_while_the_store_is_down_and_sends_them_when_it_is_back(store: Store) -> None:
    store.down = True
    buffer = FigureBuffer(store.send, on_failure=store.failures.append, interval_sec=0.01)
    buffer.add({"loss": 1.0}, 0)
    wait_until(lambda: len(store.failures) > 1)
    buffer.add({"loss": float("nan")}, 1)
    buffer.add({"loss": 3.0}, 2)
    store.down = False
    assert buffer.close() == 0
    assert [figure.step for batch in store.batches for figure in batch] == [0, 1, 2]


def test_says_how_many_were_lost(store: Store) -> None:
    store.down = True
    buffer = FigureBuffer(store.send, on_failure=store.failures.append, interval_sec=60)
    buffer.add({"loss": 1.0, "top1": 2.0}, 0)
    assert buffer.close() == 2


def test_drops_the_oldest_past_its_capacity(store: Store) -> None:
    buffer = FigureBuffer(store.send, on_failure=store.failures.append, interval_sec=60, capacity=3)
    for step in range(5):
        buffer.add({"loss": float(step)}, step)
    buffer.close()
    assert store.values == [2.0, 3.0, 4.0]


def test_a_slow_store_holds_up_neither_the_work_nor_the_end() -> None:
    release = threading.Event()
    entered = threading.Event()

    def send(figures: list[Figure]) -> None:
        entered.set()
        release.wait(30)

    buffer = FigureBuffer(send, on_failure=lambda error: None, interval_sec=0.001)
    buffer.add({"loss": 0.0}, 0)
    assert entered.wait(10)
    start = time.monotonic()
    buffer.add({"loss": 1.0}, 1)
    assert buffer.close(timeout_sec=0.05) == 2
    assert time.monotonic() - start < 5
    release.set()
