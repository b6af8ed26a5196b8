"""Where the media of a set are written: a local folder, or a prefix on S3. A file in a store is whole.

Files are named by all that their content depends on, so that one which is there need not be made again. On S3 nothing
is ever written in the place of something else: sets of earlier versions keep what they refer to.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kineflow.storage.client import s3_client, split_uri
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import inside, sha256_of
from kineflow.storage.media import RemoteFile, check_root, digest_of, locate
from kineflow.storage.ranges import naming_storage_failures
from kineflow.storage.upload import upload_file


class MediaStore(Protocol):
    """Files below a root, which several threads and processes may add to."""

    @property
    def root(self) -> str:
        """The root of the media, as a set keeps it."""

    def has(self, path: str) -> bool:
        """Whether there is a file at ``path`` below the root."""

    def work_path(self, path: str) -> Path:
        """Where to write the file that belongs at ``path``, whole or not at all, before :meth:`publish`."""

    def publish(self, path: str) -> None:
        """Let the file that lies at its work path be seen at ``path``."""

    def size_of(self, path: str) -> int:
        """Size of a file that is there, bytes."""


@dataclass(frozen=True)
class LocalStore:
    """A folder on a disk or a volume; files are written where they belong."""

    folder: Path

    @property
    def root(self) -> str:
        """The folder."""
        return str(self.folder)

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return self.work_path(path).is_file()

    def work_path(self, path: str) -> Path:
        """The place itself.

        Raises:
            KineflowError: It lies outside the folder.
        """
        return inside(self.folder, path)

    def publish(self, path: str) -> None:
        """Nothing is left to do."""

    def size_of(self, path: str) -> int:
        """Size of a file, bytes."""
        return self.work_path(path).stat().st_size


class RemoteStore:
    """A prefix on S3: files are made in a local folder, uploaded one by one, and removed from there.

    What is there is listed once; what others upload meanwhile is not seen, and at worst uploaded twice.

    Args:
        root: ``s3://bucket/prefix``.
        work: Local folder for files that are being made. Whole ones that an earlier run has left there are uploaded
            when they are asked for.

    Raises:
        KineflowError: The root is none, or the server does not answer, here and in all methods.
    """

    def __init__(self, root: str, work: Path) -> None:
        self._root, self._work = check_root(root), work
        self._lock = threading.Lock()
        self._sizes = _list_sizes(self._root)

    @property
    def root(self) -> str:
        """The prefix as ``s3://bucket/prefix``."""
        return self._root

    def has(self, path: str) -> bool:
        """Whether there is such an object; a finished file that still waits in the work folder is uploaded first."""
        if path in self._sizes:
            return True
        if self.work_path(path).is_file():
            self.publish(path)
            return True
        return False

    def work_path(self, path: str) -> Path:
        """A path in the work folder.

        Raises:
            KineflowError: It lies outside the folder, or no object can be called so.
        """
        locate(self._root, path)
        return inside(self._work, path)

    def publish(self, path: str) -> None:
        """Upload the file and remove it from the work folder; an object of the same bytes is left as it is.

        Raises:
            KineflowError: The upload failed; or something else is there already.
        """
        local, uri = self.work_path(path), f"{self._root}/{path}"
        size = local.stat().st_size
        if path in self._sizes:
            if (self._sizes[path], digest_of(RemoteFile(uri))) != (size, sha256_of(local)):
                raise KineflowError(
                    "another object of this name is there already",
                    where=uri,
                    remedy="give a media_root of its own to every kind of set, or remove what is there",
                )
        else:
            with naming_storage_failures(uri):
                upload_file(local, uri)
        with self._lock:
            self._sizes[path] = size
        local.unlink()

    def size_of(self, path: str) -> int:
        """Size of an object, bytes."""
        return self._sizes[path]


def _list_sizes(root: str) -> dict[str, int]:
    bucket, prefix = split_uri(root)
    below = f"{prefix}/" if prefix else ""
    with naming_storage_failures(root):
        pages = s3_client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=below)
        return {item["Key"].removeprefix(below): item["Size"] for page in pages for item in page.get("Contents", [])}
