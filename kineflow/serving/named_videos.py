"""Videos as people name them on a command line: files, folders, patterns, objects and prefixes on S3."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kineflow.data.layouts.videos import VIDEO_SUFFIXES
from kineflow.data.source import Source, open_source
from kineflow.storage.credentials import mask_uri
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import is_remote


@dataclass(frozen=True)
class NamedVideo:
    """A video, or what was named and is none.

    Attributes:
        name: As it is told: a path, or ``s3://bucket/key``; without credentials.
        below: Where it lies; None of a file that was named itself.
        key: Its name there.
        error: Why there is none; empty where there may be.
    """

    name: str
    below: Source | None = None
    key: str = ""
    error: str = ""

    @contextmanager
    def fetch(self) -> Iterator[Path]:
        """Give its file; an object on S3 is downloaded, and removed after the block.

        Raises:
            KineflowError: There is none, or it cannot be read.
        """
        if self.error:
            raise KineflowError(self.error, where=self.name)
        if self.below is None:
            yield Path(self.name)
        else:
            with self.below.fetch(self.key) as path:
                yield path


def find_videos(named: Sequence[str]) -> list[NamedVideo]:
    """Every video that is named, once, in the order of the names; what a folder holds is sorted.

    A folder and a prefix stand for all below them whose name ends as a video's does; names that begin with a dot are
    left out. A file that is named itself is taken whatever its name is.

    Args:
        named: Paths of files and folders, patterns (``*``, ``?``, ``[…]``, ``**`` for any number of folders),
            ``s3://bucket/key`` and ``s3://bucket/prefix``.
    """
    found: dict[str, NamedVideo] = {}
    for name in named:
        for video in _find(name):
            found.setdefault(video.name, video)
    return list(found.values())


def _find(name: str) -> Iterator[NamedVideo]:
    try:
        if is_remote(name):
            yield from _on_s3(name)
        elif "://" in name:
            yield NamedVideo(mask_uri(name), error="an address: --follow reads streams; download a file first")
        elif Path(name).is_dir():
            yield from _below(name)
        elif not Path(name).exists() and glob.has_magic(name):
            matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207, a pattern may be absolute
            for match in matches:
                if not Path(match).is_dir():
                    yield NamedVideo(match)
            if not matches:
                yield NamedVideo(name, error="no file matches this pattern")
        else:
            yield NamedVideo(name)
    except KineflowError as error:
        yield NamedVideo(mask_uri(name), error=error.problem)


def _on_s3(name: str) -> Iterator[NamedVideo]:
    if not name.lower().endswith(VIDEO_SUFFIXES):
        yield from _below(name)
        return
    parent, _, key = name.rpartition("/")
    yield NamedVideo(name, open_source(parent), key)


def _below(root: str) -> Iterator[NamedVideo]:
    source = open_source(root)
    keys = [key for key in source.names() if key.lower().endswith(VIDEO_SUFFIXES)]
    for key in keys:
        yield NamedVideo(f"{source.root.rstrip('/')}/{key}", source, key)
    if not keys:
        yield NamedVideo(root, error=f"holds no video ({', '.join(VIDEO_SUFFIXES)})")
