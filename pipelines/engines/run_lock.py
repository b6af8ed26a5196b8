"""One run of a project at a time: DVC knows of one run only, and two would take each other's outputs away."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from components.frontend.lifeline import LIFELINE, RUN_LOCK, STEPS_LOCK, held_by
from kineflow.storage.errors import KineflowError
from kineflow.storage.locks import is_held, open_lock, take_lock
from kineflow.storage.project import state_folder

_EVERY_SECONDS = 0.5


@contextmanager
def run_lock(project: Path, recipe: str, run_id: str) -> Iterator[dict[str, str]]:
    """Be the project's only run within the block; wait, and say for whom, while there is another.

    The operating system gives the lock back when this process ends, however it ends; a process that has got the number
    of one that is gone means nothing. File systems without locks go without.

    Args:
        project: Its folder.
        recipe: What is run.
        run_id: Of this run.

    Yields:
        Environment variables for steps, which end with this process by them.
    """
    folder = state_folder(project)
    path = folder / RUN_LOCK
    held = open_lock(path)
    try:
        is_real = _wait_for(held, path)
        _write_who(held, recipe, run_id)
        steps = open_lock(folder / STEPS_LOCK)  # of a run that was killed, about to end
        try:
            _wait_for(steps, path, "the steps of an earlier run")
        finally:
            os.close(steps)
        yield {LIFELINE: f"{folder}:{run_id}"} if is_real else {}
    finally:
        os.ftruncate(held, 0)
        os.close(held)


@contextmanager
def lifeline(project: Path, recipe: str, run_id: str) -> Iterator[dict[str, str]]:
    """Have steps end with this process, which other runs of the project may go on beside.

    Args:
        project: Its folder.
        recipe: What is run.
        run_id: Of this run.

    Yields:
        Environment variables for steps; none where the folder is no project.
    """
    if not (project / ".dvc").is_dir():
        yield {}
        return
    for killed in state_folder(project).glob("run-*"):
        if not is_held(killed / RUN_LOCK):
            shutil.rmtree(killed, ignore_errors=True)
    folder = state_folder(project) / f"run-{run_id}"
    held = open_lock(folder / RUN_LOCK)
    try:
        is_real = take_lock(held)
        _write_who(held, recipe, run_id)
        yield {LIFELINE: f"{folder}:{run_id}"} if is_real else {}
    finally:
        os.close(held)
        shutil.rmtree(folder, ignore_errors=True)


def check_not_running(project: Path) -> None:
    """Refuse to go on while there is a run of a project.

    Raises:
        KineflowError: There is one.
    """
    path = state_folder(project) / RUN_LOCK
    if is_held(path) and (who := held_by(path)):
        raise KineflowError(f"busy: {_in_words(who)}", where=project, remedy="wait for it, or stop it")


def _wait_for(descriptor: int, path: Path, whom: str = "") -> bool:
    """Take a lock, and say once for whom it is waited."""
    was_said = False
    while True:
        try:
            return take_lock(descriptor)
        except BlockingIOError:
            pass
        if not was_said:
            sys.stdout.write(f"waiting for {whom or _in_words(held_by(path))}\n")
            sys.stdout.flush()
            was_said = True
        time.sleep(_EVERY_SECONDS)


def _write_who(descriptor: int, recipe: str, run_id: str) -> None:
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    who = {"run": run_id, "recipe": recipe, "pid": os.getpid(), "host": socket.gethostname(), "since": now}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(who).encode(), 0)


def _in_words(who: dict[str, str]) -> str:
    if not {"recipe", "pid", "host", "since"} <= who.keys():
        return "another run of this project"
    process = f"process {who['pid']} on {who['host']}, since {who['since']}"
    return f"another run of this project: {who['recipe']}, {process}"
