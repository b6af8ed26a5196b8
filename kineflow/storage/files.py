"""Files that are whole or absent, and paths that stay inside their root."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kineflow.storage.errors import KineflowError
from kineflow.storage.locks import is_held, take_lock

KEEP_WORK = "KINEFLOW_KEEP_WORK"
"""Set where whoever has started the step discards its work, when the result is recorded."""

_PARTIAL, _REPLACED, _REMOVED = ".partial", ".replaced", ".removed"
_OURS = re.compile(r"\.(.+)-(?:[a-z0-9_]{8}\.(?:partial(?:\.[^.]*)?|replaced)|\d+\.removed)", re.DOTALL)
_YOUNG_SECONDS = 2.0
_swept: set[Path] = set()


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Give a temporary path beside ``target``; rename it into place only when the block succeeds.

    The temporary name keeps the target's suffix, so that writers which choose a format by suffix still do. What others
    have left that were killed as they wrote into the same folder is removed, once by each process.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}-", suffix=f"{_PARTIAL}{target.suffix}")
    partial = Path(name)
    try:
        with _locked(handle):
            yield partial
            partial.chmod(0o644)
            partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``target``; it replaces ``target`` only when the block succeeds.

    What others have left that were killed meanwhile is removed, as by :func:`atomic_file`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent)
    partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-", suffix=_PARTIAL))
    replaced = partial.with_suffix(_REPLACED)
    try:
        with _locked(os.open(partial, os.O_RDONLY)):
            yield partial
            partial.chmod(0o755)
            if target.is_dir():  # stepped aside, not emptied in place: never half a folder under the name
                target.replace(replaced)
            partial.replace(target)
    finally:
        if replaced.exists() and not target.exists():
            replaced.replace(target)
        for leftover in (partial, replaced):
            shutil.rmtree(leftover, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove temporary files and folders whose writers were killed; once in a process for each folder.

    A writer locks what it writes; the operating system gives the lock back when it is gone. On file systems without
    locks nothing is removed.
    """
    folder = folder.absolute()
    if folder in _swept:
        return
    _swept.add(folder)
    for path in folder.glob(".*"):
        with suppress(OSError):
            _sweep(path)


def _sweep(path: Path) -> None:
    """Remove a temporary file or folder, if it is one and nobody is at it."""
    match = _OURS.fullmatch(path.name)
    if not match:
        return
    is_replaced = path.suffix == _REPLACED
    is_young = abs(time.time() - path.lstat().st_mtime) < _YOUNG_SECONDS  # its writer may be about to lock it
    if is_young or is_held(path.with_suffix(_PARTIAL) if is_replaced else path):
        return
    target = path.with_name(match[1])
    if is_replaced and not target.exists():  # its writer was killed between the two moves
        path.replace(target)
    else:
        _remove(path)


@contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    """Hold the lock of an open file or folder, and close it."""
    try:
        with suppress(BlockingIOError):
            take_lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def work_folder(output: Path, *key: object) -> Path:
    """A folder beside ``output`` where an interrupted step keeps its finished parts for the next run.

    ``key`` is all that decides the result; work done under another key is never found. Folders of other keys are
    removed, so that abandoned work does not pile up. The caller discards the folder once ``output`` is whole
    (:func:`discard_work`).
    """
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    parent = _work_parent(output)
    for stale in parent.glob("*"):
        if stale.name != digest:
            _remove_whole(stale)
    folder = parent / digest
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def work_done(output: Path) -> None:
    """Discard what :func:`work_folder` kept for ``output``, which is whole.

    In a run that goes on after the step, the run does so (``KINEFLOW_KEEP_WORK``), when it has recorded the result: one
    that is killed before has the step make the output again, from its work.
    """
    if not os.environ.get(KEEP_WORK):
        discard_work(output)


def discard_work(output: Path) -> None:
    """Remove what :func:`work_folder` kept for ``output``: all at once, so that no half of it is ever found."""
    _remove_whole(_work_parent(output))


def keep_work_in(folder: Path, output: Path) -> None:
    """Have :func:`work_folder` keep the work for ``output`` in another folder: one that outlives the output's place."""
    place, parent = folder / output.name, _work_parent(output)
    place.mkdir(parents=True, exist_ok=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    if not (parent.exists() or parent.is_symlink()):
        parent.symlink_to(place.resolve(), target_is_directory=True)


def _remove_whole(folder: Path) -> None:
    aside = folder.parent / f".{folder.name.lstrip('.')}-{os.getpid()}{_REMOVED}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        folder.replace(aside)
    except OSError:
        aside = folder
    shutil.rmtree(aside, ignore_errors=True)


def _work_parent(output: Path) -> Path:
    return output.parent / f".{output.name}-work"


def inside(root: Path, relative: str) -> Path:
    """Resolve ``relative`` under ``root``.

    Raises:
        KineflowError: The result lies outside ``root`` (an absolute path, ``..`` or a link out), or is no path.
    """
    resolved_root = root.resolve()
    try:
        resolved = (resolved_root / relative).resolve()
    except (ValueError, RuntimeError):  # a null byte; links in a circle
        resolved = None
    if resolved is None or not resolved.is_relative_to(resolved_root):
        raise KineflowError(
            f"path {relative!r} leads outside its root",
            where=root,
            remedy="list only files below the root folder, with relative paths and no '..'",
        )
    return resolved


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
