"""Where a video is: a local file, or an object on S3. What reads videos takes both."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from kineflow.storage.client import S3_SCHEME, s3_client, split_uri
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import inside, sha256_of
from kineflow.storage.ranges import RangeReader, Traffic, count, naming_storage_failures
from kineflow.storage.upload import SHA256_KEY


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """An object on S3; ``str`` gives its address, as that of a path does.

    Attributes:
        uri: ``s3://bucket/key``.
    """

    uri: str

    def __str__(self) -> str:
        return self.uri

    @property
    def name(self) -> str:
        """The last part of its address."""
        return PurePosixPath(self.uri).name

    def is_dir(self) -> bool:
        """False: an object is a file."""
        return False

    def open(self, mode: str = "rb") -> RangeReader:
        """The object as a seekable file, fetched as it is read.

        Raises:
            KineflowError: The cache cannot be used as the environment asks; what :class:`RangeReader` raises.
        """
        assert mode == "rb"
        return RangeReader(self.uri)


Media: TypeAlias = Path | RemoteFile


def is_remote(root: str) -> bool:
    """Whether a root is an address on S3."""
    return root.startswith(S3_SCHEME)


def check_root(root: str) -> str:
    """A root of media, as it is stored: of S3 without a slash at its end.

    Raises:
        KineflowError: It is an address other than of S3, carries credentials, or no key can begin with it.
    """
    scheme, mark, _ = root.partition("://")
    if not mark:
        return root
    if not is_remote(root):
        raise KineflowError(
            f"media cannot be kept at an address of {scheme!r}",
            remedy="give a local folder, a mounted volume or s3://bucket/prefix",
        )
    bucket, prefix = split_uri(root)
    if prefix:
        _check_key(prefix, f"{S3_SCHEME}{bucket}")
    return f"{S3_SCHEME}{bucket}/{prefix}".rstrip("/")


def locate(root: str, relative: str) -> Media:
    """The file at ``relative`` below a root.

    Raises:
        KineflowError: It leads outside the root, or the root is none (:func:`check_root`).
    """
    if "://" not in root:
        return inside(Path(root), relative)
    checked = check_root(root)
    _check_key(relative, checked)
    return RemoteFile(f"{checked}/{relative}")


def digest_of(media: Media) -> str:
    """Hex SHA-256 of a file's bytes; of an object that was uploaded with its digest, without reading it.

    Raises:
        KineflowError: The object is missing, or the server does not answer.
        OSError: The local file cannot be read.
    """
    if isinstance(media, Path):
        return sha256_of(media)
    bucket, key = split_uri(media.uri)
    count(Traffic(requests=1))
    with naming_storage_failures(media.uri):
        stored_digest = s3_client().head_object(Bucket=bucket, Key=key)["Metadata"].get(SHA256_KEY, "")
    if len(stored_digest) == hashlib.sha256().digest_size * 2:
        return str(stored_digest)
    with media.open() as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_key(key: str, root: str) -> None:
    if any(part in ("", ".", "..") for part in key.split("/")) or not key.isprintable():
        raise KineflowError(
            f"path {key!r} leads outside its root",
            where=root,
            remedy="list only files below the root, with relative paths and no '..'",
        )
