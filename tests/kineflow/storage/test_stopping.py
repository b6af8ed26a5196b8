"""SIGTERM and SIGHUP unwind a block once, and what is to be ignored is."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from kineflow.storage.stopping import Stopped, exit_code_of, signals_held, signals_stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unwinds_the_block_and_is_told_by_the_exit_code(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as caught, signals_stop():
        signal.raise_signal(number)
    assert exit_code_of(caught.value) == 128 + number
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_what_is_put_away_is_not_disturbed_by_a_second_one(first: signal.Signals) -> None:
    done = []

    def put_away() -> None:
        try:
            signal.raise_signal(first)
        finally:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
            done.append(True)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell may have had ignored
    try:
        with pytest.raises(KeyboardInterrupt), signals_stop():
            put_away()
    finally:
        signal.signal(signal.SIGINT, before)
    assert done


def test_a_signal_that_is_to_be_ignored_is() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with signals_stop():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_is_held_ends_first_in_a_process_with_other_threads_too() -> None:
    """The system gives a signal to any thread that does not block it."""
    ended, done = threading.Event(), []
    thread = threading.Thread(target=ended.wait)
    thread.start()

    def put_away() -> None:
        with signals_held():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
            done.append(True)

    try:
        with pytest.raises(Stopped), signals_stop():
            put_away()
    finally:
        ended.set()
        thread.join()
    assert done


def test_ctrl_c_has_the_exit_code_of_shells() -> None:
    assert exit_code_of(KeyboardInterrupt()) == 130
    assert exit_code_of(Stopped(signal.SIGTERM)) == 143


def test_threads_go_without() -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with signals_stop():
                pass
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failed == []
