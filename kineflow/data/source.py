"""Where raw videos come from: a local folder, or everything below an ``s3://bucket/prefix``.

Both forms answer two questions: what is there (names below the root, with ``/`` between folders), and give me one
file, whole, at a local path: ingest decodes all of every video, so nothing is gained by reading parts of it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from kineflow.storage.client import S3_SCHEME as S3_SCHEME
from kineflow.storage.client import s3_client, split_uri, translate_s3_failures
from kineflow.storage.disk import translate_full_disk
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import inside
from kineflow.storage.media import check_root, is_remote

_KEYS_A_PAGE = 1000


class Source(Protocol):
    """A root with files below it."""

    @property
    def root(self) -> str:
        """The root as a user writes it."""

    def names(self) -> list[str]:
        """Sorted names of all files below the root; names that start with a dot are left out."""

    def fetch(self, name: str) -> Any:
        """Context manager that gives a local path to the whole file; valid inside the block only."""


def open_source(root: str, *, endpoint_url: str = "") -> Source:
    """The source at ``root``: a local folder, or an S3 prefix.

    Args:
        root: Path of a folder, or ``s3://bucket/prefix``.
        endpoint_url: See :func:`kineflow.storage.client.s3_client`.

    Raises:
        KineflowError: The folder does not exist, or the address names no bucket, or carries credentials.
    """
    if not is_remote(root):
        if not Path(root).is_dir():
            raise KineflowError("no such folder", where=root, remedy="give a folder that exists or s3://bucket/prefix")
        return LocalSource(Path(root))
    bucket, prefix = split_uri(check_root(root))
    return S3Source(bucket, prefix, endpoint_url)


def read_text(source: Source, name: str) -> str:
    """Text of a small file of the source.

    Raises:
        KineflowError: It is missing or not UTF-8.
    """
    with source.fetch(name) as path:
        try:
            return Path(path).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise KineflowError(
                f"not UTF-8 text ({error.reason} at byte {error.start})",
                where=f"{source.root}/{name}",
                remedy="save the file as UTF-8",
            ) from None


@dataclass(frozen=True)
class LocalSource:
    """Files below a local folder."""

    folder: Path

    @property
    def root(self) -> str:
        """The folder."""
        return str(self.folder)

    def names(self) -> list[str]:
        """Sorted names of all files below the folder; names that start with a dot are left out."""
        found: list[str] = []
        for where, folders, files in os.walk(self.folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            below = Path(where).relative_to(self.folder)
            found += [(below / name).as_posix() for name in files if not name.startswith(".")]
        return sorted(found)

    @contextmanager
    def fetch(self, name: str) -> Iterator[Path]:
        """Give the file itself.

        Raises:
            KineflowError: It is missing, or leads outside the folder.
        """
        path = inside(self.folder, name)
        if not path.is_file():
            raise KineflowError("no such file", where=self.folder / name)
        yield path


@dataclass(frozen=True)
class S3Source:
    """Objects below a prefix of a bucket."""

    bucket: str
    prefix: str
    endpoint_url: str = ""

    @property
    def root(self) -> str:
        """The prefix as ``s3://bucket/prefix``."""
        return f"{S3_SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    def names(self) -> list[str]:
        """Sorted names of all objects below the prefix; names that start with a dot are left out.

        Raises:
            KineflowError: The server does not answer, or refuses.
        """
        below = f"{self.prefix}/" if self.prefix else ""
        with translate_s3_failures(self.root):
            listing = s3_client(self.endpoint_url).get_paginator("list_objects_v2")
            page_size = {"PageSize": _KEYS_A_PAGE}
            pages = listing.paginate(Bucket=self.bucket, Prefix=below, PaginationConfig=page_size)
            keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        names = (key.removeprefix(below) for key in keys if not key.endswith("/"))
        return sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))

    @contextmanager
    def fetch(self, name: str) -> Iterator[Path]:
        """Download one object to a temporary file, which is removed after the block.

        Raises:
            KineflowError: The name leads out of the prefix, the object is missing, or the download failed repeatedly.
        """
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise KineflowError(f"path {name!r} leads outside its root", where=self.root)
        with tempfile.TemporaryDirectory(prefix="kineflow-") as folder:
            path = Path(folder) / f"object{PurePosixPath(name).suffix}"
            with translate_full_disk(Path(folder)), translate_s3_failures(f"{self.root}/{name}"):
                s3_client(self.endpoint_url).download_file(self.bucket, f"{self.prefix}/{name}".lstrip("/"), str(path))
            yield path
