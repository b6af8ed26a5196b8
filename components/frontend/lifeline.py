"""Steps end with the run that has started them, however that ends, also where it is killed.

The run holds a lock of the operating system for as long as it lives (:mod:`pipelines.engines.run_lock`), and tells its
steps where. Each looks whether the lock is still held by that run, and ends itself as SIGTERM would end it when it is
not. Meanwhile it holds a shared lock of its own: the next run begins when no step of an earlier one is left. Process
numbers tell nothing here: in a new container they begin anew.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

from kineflow.storage.locks import open_lock, take_lock

LIFELINE = "KINEFLOW_LIFELINE"  # folder of the two locks, and after a colon the name of the run
RUN_LOCK, STEPS_LOCK = "run.lock", "steps.lock"

_EVERY_SECONDS = 0.5
_GRACE_SECONDS = 30.0


def end_with_run() -> None:
    """Do what a step does first: from now on it ends when its run does. Nothing where no run has started it."""
    folder, _, name = os.environ.get(LIFELINE, "").rpartition(":")
    if not folder or not Path(folder).is_dir():
        return
    held = open_lock(Path(folder) / STEPS_LOCK)  # until this process ends
    while True:
        try:
            take_lock(held, shared=True)
            break
        except BlockingIOError:  # the next run looks whether a step is left
            time.sleep(_EVERY_SECONDS)
    threading.Thread(target=_watch, args=(Path(folder) / RUN_LOCK, name), daemon=True).start()


def _watch(lock: Path, name: str) -> None:
    while not _is_over(lock, name):
        time.sleep(_EVERY_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _is_over(lock: Path, name: str) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except OSError:
        return not lock.parent.exists()
    try:
        return take_lock(descriptor, shared=True)
    except BlockingIOError:
        holder = held_by(lock).get("run")
        return holder not in (name, None)  # None: the next run is about to write who it is
    finally:
        os.close(descriptor)


def held_by(lock: Path) -> dict[str, str]:
    """What the run that holds a lock has written of itself; empty where nothing readable is."""
    try:
        content = json.loads(lock.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in content.items()} if isinstance(content, dict) else {}
