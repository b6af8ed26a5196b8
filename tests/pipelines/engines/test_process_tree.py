"""Processes told to stop, and none left behind; those that were there before are nobody's business."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from pipelines.engines.process_tree import ProcessTree

SLEEP = [sys.executable, "-c", "import time; print(flush=True); time.sleep(100)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(100)",
]


def start(command: list[str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    return process


@pytest.fixture
def earlier() -> Iterator[subprocess.Popen[bytes]]:
    process = start(SLEEP)
    yield process
    process.kill()
    process.communicate()


def test_what_it_started_is_stopped_and_what_was_there_is_not(earlier: subprocess.Popen[bytes]) -> None:
    tree = ProcessTree()
    with start(SLEEP) as own:
        tree.stop()
        assert not psutil.pid_exists(own.pid)
    assert earlier.poll() is None


def test_what_does_not_listen_is_killed_in_the_end() -> None:
    tree = ProcessTree()
    with start(DEAF) as own:
        tree.stop(grace_seconds=0.3)
        assert not psutil.pid_exists(own.pid)
