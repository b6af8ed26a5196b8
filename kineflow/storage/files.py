"""Files that are whole or absent, and paths that stay inside their root."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kineflow.storage.errors import KineflowError


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Give a temporary path beside ``target``; rename it into place only when the block succeeds.

    The temporary name keeps the target's suffix, so that writers which choose a format by suffix still do.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}-", suffix=f".partial{target.suffix}")
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``target``; it replaces ``target`` only when the block succeeds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-", suffix=".partial"))
    replaced = partial.with_suffix(".replaced")
    try:
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


def work_folder(output: Path, *key: object) -> Path:
    """A folder beside ``output`` where an interrupted step keeps its finished parts for the next run.

    ``key`` is all that decides the result; work done under another key is never found. Folders of other keys are
    removed, so that abandoned work does not pile up. The caller removes the folder once ``output`` is whole.
    """
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    parent = output.parent / f".{output.name}-work"
    for stale in parent.glob("*"):
        if stale.name != digest:
            shutil.rmtree(stale, ignore_errors=True)
    folder = parent / digest
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def discard_work(output: Path) -> None:
    """Remove what :func:`work_folder` kept for ``output``."""
    shutil.rmtree(output.parent / f".{output.name}-work", ignore_errors=True)


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
