"""Where raw videos come from: a local folder, or everything below an ``s3://bucket/prefix``.

Both forms answer two questions: what is there (names below the root, with ``/`` between folders), and give me one
file, whole, at a local path. Credentials for S3 come from boto3's own chain (environment, profile, role) and never
appear in a message.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from kineflow.disk import naming_full_disk
from kineflow.errors import KineflowError
from kineflow.files import inside

S3_SCHEME = "s3://"
_ATTEMPTS = 5
_TIMEOUT_SEC = 60
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
        endpoint_url: Of an S3 server other than Amazon's; empty for Amazon's.

    Raises:
        KineflowError: The folder does not exist, or the S3 address names no bucket.
    """
    if not root.startswith(S3_SCHEME):
        if not Path(root).is_dir():
            raise KineflowError("no such folder", where=root, remedy="give a folder that exists or s3://bucket/prefix")
        return LocalSource(Path(root))
    bucket, _, prefix = root.removeprefix(S3_SCHEME).partition("/")
    if not bucket:
        raise KineflowError("an S3 address names a bucket", where=root, remedy="write s3://bucket/prefix")
    return S3Source(bucket, prefix.strip("/"), endpoint_url)


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
        with self._naming_failures():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=below, PaginationConfig={"PageSize": _KEYS_A_PAGE}
            )
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
            with naming_full_disk(Path(folder)), self._naming_failures(name):
                self._client.download_file(self.bucket, f"{self.prefix}/{name}".lstrip("/"), str(path))
            yield path

    @functools.cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(
            retries={"mode": "standard", "max_attempts": _ATTEMPTS},
            connect_timeout=_TIMEOUT_SEC,
            read_timeout=_TIMEOUT_SEC,
        )
        # Clients may be shared between threads, boto3's default session may not.
        return boto3.session.Session().client("s3", endpoint_url=self.endpoint_url or None, config=config)

    @contextmanager
    def _naming_failures(self, name: str = "") -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"{self.root}/{name}" if name else self.root
        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown")
            raise KineflowError(
                f"the S3 server refused: {code}", where=where, remedy="check the bucket, the key and your access to it"
            ) from None
        except (BotoCoreError, Boto3Error) as error:
            raise KineflowError(
                f"S3 failed: {type(error).__name__}",
                where=where,
                remedy="check endpoint_url, the network and the credentials (environment or ~/.aws), and run again",
            ) from None
