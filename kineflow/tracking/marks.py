"""Marks of runs whose process lives: a file each, locked for as long as it does.

A mark that nobody holds is of a run whose process is gone. Nothing else tells that for certain, least of all the number
of a process, which another may get. Marks lie beside a SQLite store, or, where runs are recorded on a server, in the
project; elsewhere there are none, as on file systems without locks.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kineflow.storage.locks import is_held, open_lock, take_lock
from kineflow.storage.project import project_around, state_folder
from kineflow.tracking.locations import marks_folder
from kineflow.tracking.store import database_file

Kind = Literal["pipeline", "step"]

_YOUNG_SECONDS = 2.0  # of a mark that its maker may be about to lock


@dataclass(frozen=True)
class Mark:
    """The mark of a run.

    Attributes:
        kind: Of the run.
        run_id: A pipeline run's own, a step's in MLflow.
    """

    kind: Kind
    run_id: str

    def path_in(self, folder: Path) -> Path:
        """Where it lies in a folder of marks."""
        return folder / f"{self.kind}-{self.run_id}"


@contextmanager
def marked(mark: Mark, uri: str, root: Path) -> Iterator[None]:
    """Have a run marked as long as the block lasts, or the process.

    Args:
        mark: The run's.
        uri: Of its store.
        root: The project's folder.
    """
    folder = _folder(uri, root)
    if folder is None:
        yield
        return
    path = mark.path_in(folder)
    try:
        descriptor = open_lock(path)
    except OSError:  # of a store that others keep
        yield
        return
    try:
        with suppress(BlockingIOError):  # two that run as one
            if not take_lock(descriptor):
                path.unlink(missing_ok=True)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        with suppress(OSError):
            folder.rmdir()


def is_marked(mark: Mark, uri: str, root: Path) -> bool:
    """Whether the process of a run lives."""
    folder = _folder(uri, root)
    return folder is not None and is_held(mark.path_in(folder))


def stale_marks(uri: str, root: Path) -> list[Mark]:
    """Marks that nobody holds any more."""
    folder = _folder(uri, root)
    stale = []
    for path in sorted(folder.glob("*-*")) if folder else ():
        kind, _, run_id = path.name.partition("-")
        with suppress(FileNotFoundError):  # it has just ended in peace
            is_young = abs(time.time() - path.stat().st_mtime) < _YOUNG_SECONDS
            if kind in ("pipeline", "step") and not is_young and not is_held(path):
                stale.append(Mark("pipeline" if kind == "pipeline" else "step", run_id))
    return stale


def remove_mark(mark: Mark, uri: str, root: Path) -> None:
    """Forget a run."""
    if folder := _folder(uri, root):
        mark.path_in(folder).unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()


def _folder(uri: str, root: Path) -> Path | None:
    database = database_file(uri)
    if database is not None:
        return marks_folder(database)
    project = project_around(root)
    store = hashlib.sha256(uri.encode()).hexdigest()[:16]  # the address may hold a password
    return state_folder(project) / f"running-{store}" if project else None
