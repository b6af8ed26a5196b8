"""The processes that a run has started, and those that they have: told to stop, and none of them left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import psutil

_CHILD_SUBREAPER = 36  # prctl's PR_SET_CHILD_SUBREAPER
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "fish", "ksh", "ash", "busybox"})
_EVERY_SECONDS = 0.05
_GRACE_SECONDS = 30.0
_ORPHANS_SECONDS = 5.0


class ProcessTree:
    """DVC, the step that it runs, and the step's helpers.

    Make it before DVC is started. On Linux a process whose parent has died is adopted, so that it is found; elsewhere
    steps look themselves whether their run is over (:mod:`components.frontend.lifeline`).
    """

    def __init__(self) -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_CHILD_SUBREAPER, 1)
        self._others = {child.pid for child in psutil.Process().children()}
        self._dvc = -1

    def started(self, dvc: int) -> None:
        """Know the number of DVC's process, for which somebody else waits."""
        self._dvc = dvc

    def stop(self, grace_seconds: float = _GRACE_SECONDS) -> None:
        """Send SIGTERM to what DVC runs, and then to DVC itself; kill what has not ended in time.

        Without DVC, to the processes that this one has started. The helpers of a step are the step's to end.
        """
        with suppress(psutil.NoSuchProcess):
            dvc = [psutil.Process(self._dvc)] if self._dvc > 0 else []
            children = dvc[0].children() if dvc else self._own_children()
            for process in (*_below_shells(children), *dvc):
                _send(process, signal.SIGTERM)
        self.end(grace_seconds)

    def end(self, grace_seconds: float = _ORPHANS_SECONDS) -> None:
        """Wait for all of them to end, and kill what has not in time; orphans are sent SIGTERM at once."""
        deadline = time.monotonic() + grace_seconds
        signalled: set[int] = set()
        while left := self._running():
            for process in left:
                if time.monotonic() > deadline:
                    _send(process, signal.SIGKILL)
                elif process.pid not in signalled and self._is_orphan(process):
                    signalled.add(process.pid)
                    _send(process, signal.SIGTERM)
            time.sleep(_EVERY_SECONDS)

    def _running(self) -> list[psutil.Process]:
        """Those that run; of orphans that have ended, the number is given back."""
        running = []
        for child in self._own_children():
            with suppress(psutil.NoSuchProcess):
                running += [each for each in (child, *child.children(recursive=True)) if _is_running(each)]
            if child.pid != self._dvc:
                with suppress(OSError):
                    os.waitpid(child.pid, os.WNOHANG)
        return running

    def _own_children(self) -> list[psutil.Process]:
        return [child for child in psutil.Process().children() if child.pid not in self._others]

    def _is_orphan(self, process: psutil.Process) -> bool:
        with suppress(psutil.NoSuchProcess):
            return bool(process.ppid() == os.getpid() and process.pid != self._dvc)
        return False


def _is_running(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _below_shells(processes: Iterable[Any]) -> list[Any]:
    """A shell that DVC has started is no step; what it runs is."""
    steps = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            steps += _below_shells(process.children()) if process.name() in _SHELLS else [process]
    return steps


def _send(process: psutil.Process, number: int) -> None:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process.send_signal(number)
