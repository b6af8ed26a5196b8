"""Being told to stop: SIGTERM and SIGHUP unwind a program as Ctrl-C does, so that it puts things away."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """The program was told to stop.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def exit_code_of(stop: KeyboardInterrupt) -> int:
    """The exit code by which shells know what has ended a program: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


@contextmanager
def signals_stop() -> Iterator[None]:
    """Raise :class:`Stopped` in the block at the first SIGTERM or SIGHUP.

    Further ones are ignored, those after a Ctrl-C too: what is being put away is not to be disturbed. A signal that
    the program already has a use for, or is to ignore (``nohup``), stays as it is, and all do in threads.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_stopping = False

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal is_stopping
        if not is_stopping:
            is_stopping = True
            raise Stopped(number)

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal is_stopping
        is_stopping = True
        signal.default_int_handler(number, frame)

    handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]] = {
        each: stop for each in _SIGNALS if signal.getsignal(each) is signal.SIG_DFL
    }
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        handlers[signal.SIGINT] = interrupt
    with signals_restored(handlers):
        for each, handler in handlers.items():
            signal.signal(each, handler)
        yield


@contextmanager
def signals_held() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP wait for the end of the block, which is short and not to be left half done.

    To block them would not do: the system then gives them to another thread, and Python the word to the main one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    held = [each for each in (signal.SIGINT, *_SIGNALS) if signal.getsignal(each) not in (None, signal.SIG_IGN)]
    try:
        with signals_restored(held):
            for each in held:
                signal.signal(each, lambda number, _frame: waiting.append(number))
            yield
    finally:
        for number in dict.fromkeys(waiting):
            signal.raise_signal(number)


@contextmanager
def signals_restored(numbers: Iterable[signal.Signals]) -> Iterator[None]:
    """Give signals back, after the block, the handlers that they had before it; those set outside of Python stay.

    For the main thread.
    """
    before = {each: handler for each in numbers if (handler := signal.getsignal(each)) is not None}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
