"""Where the media of a set lie: in the store of the project, below a root of the user's, or in the set itself.

In each of them a file is named by what it holds and by nothing else::

    clips/ab/ab12….mp4             a stored clip, by its source, the part taken, and the stored form
    flow/cd/cd34….mp4              flow, by the stored clip and how it is computed
    features/ef/ef56….safetensors  features, by what the backbone saw, the backbone, and its preprocessing
    index/01/0123….json            what decoding a source video has shown, by the video
    sets/….parquet                 a copy of the index of each set (in a project's store)

The store of a project is its folder ``media``; the names make a video that is relabelled, moved to another folder,
or listed under other parameters the same file as before. A file in a store is whole: work that was interrupted is
found by its names.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kineflow.storage.files import atomic_file, inside, work_done, work_folder
from kineflow.storage.media import check_root, is_remote
from kineflow.storage.project import find_project, media_folder
from kineflow.storage.stores import LocalStore, MediaStore, RemoteStore

CLIPS, FLOW, FEATURES, INDEX, SETS = "clips", "flow", "features", "index", "sets"
OWN_MEDIA = "media"  # folder in a set that keeps its media itself
_LOCK = ".lock"


def media_path(kind: str, key: str, suffix: str) -> str:
    """Path of a file below the root of its media."""
    return f"{kind}/{key[:2]}/{key}{suffix}"


@dataclass(frozen=True)
class SetMedia:
    """Where the media of a set are put that is being written.

    Attributes:
        store: Takes them.
        is_own: Whether they move into the set in the end.
    """

    store: MediaStore
    is_own: bool

    def settle(self, paths: Iterable[str], folder: Path) -> str:
        """Let the media at ``paths`` lie where a set says that is to be written to ``folder``.

        Returns:
            The set's media root.
        """
        if not self.is_own:
            return self.store.root
        put_in_place(paths, Path(self.store.root), folder / OWN_MEDIA)
        return str(folder / OWN_MEDIA)

    def bytes_of(self, paths: Iterable[str]) -> int:
        """Size of the media at ``paths``; what several clips share counts once."""
        return sum(map(self.store.size_of, set(paths)))


@contextmanager
def open_media(media_root: str, output: Path) -> Iterator[SetMedia]:
    """The place for the media of the set ``output``, for as long as the set is being written.

    Args:
        media_root: Folder or ``s3://`` prefix; empty for the store of the project that ``output`` lies in, or, where
            it lies in none, for the set itself.
        output: Folder of the set. Where media cannot be made in their place, a work folder beside it has what was
            finished before an interruption, and is gone after the block.

    Raises:
        KineflowError: See :class:`kineflow.storage.stores.RemoteStore`.
    """
    project = find_project(output.parent)
    if is_remote(media_root):
        yield SetMedia(RemoteStore(media_root, work_folder(output, media_root)), is_own=False)
    elif media_root:
        yield SetMedia(LocalStore(Path(media_root).absolute()), is_own=False)
    elif project:
        with using(media_folder(project)) as store:
            yield SetMedia(LocalStore(store), is_own=False)
    else:
        yield SetMedia(LocalStore(work_folder(output)), is_own=True)
    work_done(output)


@contextmanager
def using(store: Path, *, alone: bool = False) -> Iterator[Path]:
    """Keep others from clearing up a project's store while it is written to; or, ``alone``, clear up.

    The system gives the lock back when the process ends, however it ends. File systems without locks go without.

    Raises:
        BlockingIOError: ``alone``, and somebody writes to it.
    """
    store.mkdir(parents=True, exist_ok=True)
    held = os.open(store / _LOCK, os.O_RDONLY | os.O_CREAT, 0o644)  # others' files can be locked too
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
        except BlockingIOError:
            raise
        except OSError:
            pass
        yield store
    finally:
        os.close(held)


def put_in_place(paths: Iterable[str], source: Path, target: Path) -> None:
    """Let the files at ``paths`` below ``source`` lie below ``target`` too, as links where that can be.

    Raises:
        KineflowError: A path leads outside.
    """
    for path in dict.fromkeys(paths):
        there, here = inside(source, path), inside(target, path)
        if there == here:
            continue
        here.parent.mkdir(parents=True, exist_ok=True)
        try:
            here.hardlink_to(there)
        except OSError:  # another file system, one without hard links, or a file that others may be reading now
            with atomic_file(here) as partial:
                shutil.copyfile(there, partial)


def recorded_root(media_root: str, folder: Path) -> str:
    """A media root as the set in ``folder`` keeps it: relative to the set where the set or the project holds it.

    Raises:
        KineflowError: It is none (:func:`kineflow.storage.media.check_root`).
    """
    if "://" in media_root:
        return check_root(media_root)
    root, here = _canonical(Path(media_root)), _canonical(folder)
    project = find_project(here)
    shared = here if project is None or not here.is_relative_to(_canonical(project)) else _canonical(project)
    return Path(os.path.relpath(root, here)).as_posix() if root.is_relative_to(shared) else str(root)


def loaded_root(recorded: str, folder: Path) -> str:
    """The media root of a set in ``folder`` that keeps it as ``recorded``.

    Raises:
        KineflowError: As :func:`recorded_root`.
    """
    if "://" in recorded:
        return check_root(recorded)
    return os.path.normpath(folder.resolve() / recorded)


def index_copy(folder: Path, media_root: str, sha256: str) -> Path | None:
    """Where a copy of the index of the set in ``folder`` is kept; None where its media are in no project's store."""
    project = find_project(folder)
    if project is None or is_remote(media_root) or _canonical(media_folder(project)) != _canonical(Path(media_root)):
        return None
    return media_folder(project) / SETS / f"{sha256}.parquet"


def _canonical(path: Path) -> Path:
    """One name of a folder; of a link to it, that of the link (a store may be one, to another disk)."""
    return path.parent.resolve() / path.name
