"""A bounded folder of small pieces of bytes, shared by all processes of a machine.

A piece is a file of its own, whole or absent, with a checksum at its end: a machine that lost its power leaves no
wrong bytes behind. Past the bound, the pieces not used for longest make room. The folder belongs on a local disk.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import logging
import os
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from filelock import FileLock

from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file

FOLDER = "KINEFLOW_CACHE_DIR"
"""Environment variable: the folder; by default ``kineflow`` in the user's cache folder."""
LIMIT_MB = "KINEFLOW_CACHE_MB"
"""Environment variable: the bound in millions of bytes; 0 keeps nothing."""
DEFAULT_LIMIT_MB = 10_000

_LOG = logging.getLogger(__name__)
_CHECKSUM_BYTES = 4
_ON_DISK_BYTES = 4096  # what the smallest file takes
_KEPT_SHARE = 0.9  # of the bound, when room is made: not for every piece anew
_ABANDONED_SEC = 3600.0


class BlockCache:
    """Pieces of bytes by name, in a folder.

    Args:
        folder: Made when it is absent, for this user alone.
        limit_bytes: What all pieces together take on the disk at most; 0 keeps nothing.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        self._warned = False

    def get(self, name: str) -> bytes | None:
        """The piece called ``name``; None when it is not there."""
        path = self._path(name)
        try:
            stored = path.read_bytes()
            if path.stat().st_uid != os.getuid():  # in a folder that others may write to
                return None
            os.utime(path)
        except OSError:
            return None
        content = stored[:-_CHECKSUM_BYTES]
        return content if stored[-_CHECKSUM_BYTES:] == _checksum(content) else None

    def has(self, name: str) -> bool:
        """Whether there is a piece called ``name``."""
        return self._path(name).is_file()

    def put(self, name: str, content: bytes) -> None:
        """Keep a piece, in the place of an earlier one of that name. A disk that takes nothing is warned of once."""
        path, size = self._path(name), _on_disk(len(content) + _CHECKSUM_BYTES)
        if size > self.limit_bytes:
            return
        try:
            self._make_folder()
            with FileLock(self.folder / "lock"):
                self._make_room(size, path)
                with atomic_file(path) as partial:
                    partial.write_bytes(content + _checksum(content))
        except OSError as error:
            if not self._warned:
                _LOG.warning("%s: S3 objects are not cached: %s", self.folder, error.strerror or error)
            self._warned = True

    def drop(self, name: str) -> None:
        """Forget a piece."""
        with suppress(OSError):
            self._path(name).unlink()

    def used_bytes(self) -> int:
        """What all pieces take on the disk, counted."""
        return sum(_on_disk(entry.stat().st_size) for entry in self._files())

    def _make_folder(self) -> None:
        """Make the folder, or make sure that nobody else may have put anything there.

        Raises:
            OSError: It cannot be made, or is somebody else's.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.folder.stat().st_uid != os.getuid():
            raise PermissionError(errno.EPERM, "the folder belongs to another user")

    def _path(self, name: str) -> Path:
        digest = hashlib.sha256(name.encode()).hexdigest()
        return self.folder / digest[:2] / digest

    def _make_room(self, size: int, path: Path) -> None:
        """Count ``size`` in for ``path``, after removing others if need be. The caller holds the lock."""
        book = self.folder / "used"
        with suppress(OSError):
            size -= _on_disk(path.stat().st_size)
        try:
            used = int(book.read_text())
        except (OSError, ValueError):  # the first piece, or somebody was killed while writing
            used = self.used_bytes()
        if used + size > self.limit_bytes:
            used = self._evict(int(self.limit_bytes * _KEPT_SHARE) - size)
        book.write_text(str(used + size))

    def _evict(self, target: int) -> int:
        """Remove what has not been used for longest until ``target`` bytes are left, or none; gives what is left."""
        entries = []
        for entry in self._files():
            with suppress(FileNotFoundError):
                facts = entry.stat()
                if entry.name.startswith(".") and facts.st_mtime < time.time() - _ABANDONED_SEC:
                    Path(entry.path).unlink()  # half written by somebody who was killed
                else:
                    entries.append((facts.st_mtime_ns, _on_disk(facts.st_size), entry.path))
        used = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if used <= target:
                break
            Path(path).unlink(missing_ok=True)
            used -= size
        return used

    def _files(self) -> Iterator[os.DirEntry[str]]:
        for below in self.folder.iterdir() if self.folder.is_dir() else ():
            if below.is_dir():
                with os.scandir(below) as entries:
                    yield from entries


def default_cache() -> BlockCache:
    """The cache that the environment asks for.

    Raises:
        KineflowError: ``KINEFLOW_CACHE_MB`` is no number.
    """
    named = os.environ.get(FOLDER, "")
    return _cache(named, os.environ.get(LIMIT_MB, ""), "" if named else str(_users_folder()))


def unnamed_file() -> IO[bytes]:
    """A file without a name on the disk of the cache, for what is too much for memory: with its process it is gone.

    Raises:
        KineflowError: ``KINEFLOW_CACHE_MB`` is no number.
        OSError: No file can be made.
    """
    folder = default_cache().folder
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=folder)
    except OSError:
        return tempfile.TemporaryFile()


@functools.lru_cache(maxsize=8)
def _cache(folder: str, limit_mb: str, user_folder: str) -> BlockCache:
    limit = limit_mb or str(DEFAULT_LIMIT_MB)
    if not limit.isascii() or not limit.isdigit():
        raise KineflowError(
            f"{LIMIT_MB} is {limit_mb!r}",
            where="environment",
            remedy="set it to millions of bytes, such as 10000, or to 0 for no cache",
        )
    return BlockCache(Path(folder or user_folder).absolute(), int(limit) * 10**6)


def _users_folder() -> Path:
    if base := os.environ.get("XDG_CACHE_HOME", ""):
        return Path(base) / "kineflow"
    with suppress(RuntimeError):  # a user without a home, as in containers
        home = Path.home()
        if os.access(home, os.W_OK):
            return home / ".cache" / "kineflow"
    return Path(tempfile.gettempdir(), f"kineflow-cache-{os.getuid()}")


def _on_disk(size: int) -> int:
    return -(-size // _ON_DISK_BYTES) * _ON_DISK_BYTES


def _checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(_CHECKSUM_BYTES, "big")
