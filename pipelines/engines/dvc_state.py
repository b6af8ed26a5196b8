"""What a kill or a full disk leaves of DVC's own files, mended before DVC reads them.

DVC writes ``dvc.lock`` in place, after each stage; for as long as that takes the file is empty, then half. Nothing is
lost with it: what a stage has made is in DVC's cache, and its run cache tells of which inputs. So a lock that cannot be
read is set aside, and the last whole one that we have kept takes its place; what that one does not know DVC finds in
its run cache.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from components.dvc.workspace_files import DVC_FILE, LOCK_FILE
from kineflow.storage.config import read_yaml
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.storage.project import state_folder
from pipelines.engines.workspace import RUNS

_BROKEN = ".broken"
_ENTRY = re.compile("[0-9a-f]{64}")  # DVC writes one under another name, and renames it
_SHARED_SECONDS = 3600.0
_NO_GIT = ("core", "no_scm")


def mend_dvc_state(project: Path) -> list[str]:
    """Mend what DVC has left of itself in a project, and keep a copy of each lock that is whole.

    To be called while no other run of the project goes on (:func:`pipelines.engines.run_lock.run_lock`).

    Returns:
        What was done, in words.
    """
    done = [words for lock in _locks(project) if (words := _mend_lock(lock, project))]
    _mend_rwlock(project / ".dvc" / "tmp" / "rwlock")
    _tell_of_git(project)
    return done


def keep_locks(project: Path) -> None:
    """Keep a copy of each lock of a project that is whole, and drop those of workspaces that are gone."""
    for lock in _locks(project):
        if is_whole(lock):
            _keep(lock, project)
    for copy in _copies(project):
        if not (project / copy.relative_to(_copies_folder(project))).parent.is_dir():
            copy.unlink(missing_ok=True)


def is_whole(lock: Path) -> bool:
    """Whether DVC can read a ``dvc.lock``."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(read_yaml(lock))
    except (KineflowError, OSError, Invalid):
        return False
    return True


def mend_databases(folder: Path, *, wait_seconds: float = 10.0) -> list[str]:
    """Remove DVC's databases in a folder that are damaged; they hold hashes of files, which are then computed again.

    Args:
        folder: DVC's ``site_cache_dir`` of a repository.
        wait_seconds: For a database that another process writes to, which is not damaged.

    Returns:
        What was done, in words.
    """
    done = []
    for database in sorted(folder.rglob("*.db")):
        if _is_damaged(database, wait_seconds):
            for part in database.parent.glob(f"{database.name}*"):
                part.unlink(missing_ok=True)
            done.append(f"{database}: damaged, and removed; DVC hashes files anew")
    return done


def mend_run_cache(folder: Path, project: Path) -> None:
    """Remove what is no whole entry from DVC's run cache: a folder without an entry in it ends DVC with a TypeError.

    Args:
        folder: Of the run cache.
        project: Where the cache lies elsewhere, other projects may share it, and only what is old is removed.
    """
    youngest = time.time() - (0 if folder.resolve().is_relative_to(project.resolve()) else _SHARED_SECONDS)
    for entries in folder.glob("*/*"):
        with suppress(OSError):  # others may share the cache
            if entries.stat().st_mtime > youngest:
                continue
            for path in entries.iterdir():
                if not _ENTRY.fullmatch(path.name) or path.stat().st_size == 0:
                    path.unlink()
            entries.rmdir()  # where it is empty


def _tell_of_git(project: Path) -> None:
    """Let DVC do without git where there is none, as in a copy of a project: it refuses to work otherwise.

    That is said in ``.dvc/config.local``, which is of this copy alone, and is taken back when git has come.
    """
    path = project / ".dvc" / "config.local"
    shared, own = ConfigParser(), ConfigParser()
    shared.read(project / ".dvc" / "config", encoding="utf-8")
    own.read(path, encoding="utf-8")
    has_git = any((folder / ".git").exists() for folder in (project, *project.parents))
    if has_git == own.has_option(*_NO_GIT) and not shared.has_option(*_NO_GIT):
        if has_git:
            own.remove_option(*_NO_GIT)
        else:
            own.read_dict({_NO_GIT[0]: {_NO_GIT[1]: "true"}})
        with atomic_file(path) as partial, partial.open("w", encoding="utf-8") as file:
            own.write(file)


def _locks(project: Path) -> list[Path]:
    """The locks of a project; DVC reads them all, whichever recipe it is to run."""
    beside = [project / DVC_FILE, *sorted((project / RUNS).rglob(DVC_FILE))]
    return [file.with_name(LOCK_FILE) for file in beside if file.with_name(LOCK_FILE).is_file()]


def _mend_lock(lock: Path, project: Path) -> str:
    if is_whole(lock):
        _keep(lock, project)
        return ""
    aside, copy = _copy_of(lock, project, _BROKEN), _copy_of(lock, project)
    aside.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(lock, aside)
    lock_name = lock.relative_to(project)
    if not (copy.is_file() and is_whole(copy)):
        return f"{lock_name} was cut short, and is made anew from DVC's cache (the rest of it: {aside})"
    with atomic_file(lock) as partial:
        shutil.copyfile(copy, partial)
    return f"{lock_name} was cut short: the last whole one is back (the rest of the other: {aside})"


def _keep(lock: Path, project: Path) -> None:
    copy = _copy_of(lock, project)
    text = lock.read_bytes()
    if not copy.is_file() or copy.read_bytes() != text:
        with atomic_file(copy) as partial:
            partial.write_bytes(text)


def _copies_folder(project: Path) -> Path:
    return state_folder(project) / "locks"


def _copies(project: Path) -> Iterator[Path]:
    yield from sorted(_copies_folder(project).rglob(LOCK_FILE))


def _copy_of(lock: Path, project: Path, suffix: str = "") -> Path:
    return _copies_folder(project) / lock.relative_to(project).with_name(f"{lock.name}{suffix}")


def _mend_rwlock(path: Path) -> None:
    """Let DVC's list of who reads and writes what name nobody that is gone.

    DVC asks whether there is a process of the number, and any other may have got it since.
    """
    try:
        listed = json.loads(path.read_text(encoding="utf-8") or "{}")
        written = path.stat().st_mtime
        kept = {
            "write": {name: who for name, who in listed.get("write", {}).items() if _is_at_work(who, written)},
            "read": {
                name: [who for who in holders if _is_at_work(who, written)]
                for name, holders in listed.get("read", {}).items()
            },
        }
    except FileNotFoundError:
        return
    except (ValueError, AttributeError, TypeError, KeyError):  # half of it, or another thing
        path.unlink(missing_ok=True)
        return
    kept["read"] = {name: holders for name, holders in kept["read"].items() if holders}
    if kept != listed:
        with atomic_file(path) as partial:
            partial.write_text(json.dumps(kept), encoding="utf-8")


def _is_at_work(who: dict[str, Any], written: float) -> bool:
    """Whether the process that an entry names is still the one that has written it."""
    import psutil

    try:
        process = psutil.Process(int(who["pid"]))
        arguments = str(who["cmd"]).split()[1:]  # the first is the program, named in another way
        running = " ".join(process.cmdline()).split()
        is_same = running[len(running) - len(arguments) :] == arguments
        return bool(is_same and process.create_time() <= written + 1 and process.pid != os.getpid())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False
    except psutil.AccessDenied:  # somebody else's: it cannot be told
        return True


def _is_damaged(database: Path, wait_seconds: float) -> bool:
    with suppress(OSError):
        if database.stat().st_size == 0:
            return False
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=rw", uri=True, timeout=wait_seconds)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",))
    except sqlite3.OperationalError as error:  # locked, or not to be read: not damaged
        return "malformed" in str(error)
    except sqlite3.DatabaseError:
        return True
