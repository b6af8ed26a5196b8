"""Where raw videos come from: a local folder, or everything below an ``s3://bucket/prefix``.

Both forms answer three questions: what is there (names below the root, with ``/`` between folders), what is wrong with
one file, and give me one file, whole, at a local path: ingest decodes all of every video, so nothing is gained by
reading parts of it.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from kineflow.data.folder_walk import folders_for_links, usable_file, walk_folder
from kineflow.storage.client import S3_SCHEME as S3_SCHEME
from kineflow.storage.client import s3_client, split_uri, translate_s3_failures
from kineflow.storage.disk import translate_full_disk
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import check_root, is_remote
from kineflow.storage.names import shown

_LOG = logging.getLogger(__name__)
_KEYS_A_PAGE = 1000
_MOST_LIST_BYTES = 2**28  # of a list file: the lists of the largest data sets have a tenth
_SHORT_SUFFIX = re.compile(r"\.\w{1,8}", re.ASCII)


class Source(Protocol):
    """A root with files below it."""

    @property
    def root(self) -> str:
        """The root as a user writes it."""

    def names(self) -> list[str]:
        """Sorted names of all files below the root; names that start with a dot are left out."""

    def sizes(self) -> Mapping[str, int]:
        """Bytes of each of these files, as far as they can be told without opening it."""

    def trouble(self, name: str) -> str:
        """Why a file cannot be taken, in a phrase; empty where it can be."""

    def fetch(self, name: str) -> Any:
        """Context manager that gives a local path to the whole file; valid inside the block only."""


def open_source(root: str, *, endpoint_url: str = "", linked: Sequence[str] = ()) -> Source:
    """The source at ``root``: a local folder, or an S3 prefix.

    Args:
        root: Path of a folder, or ``s3://bucket/prefix``.
        endpoint_url: See :func:`kineflow.storage.client.s3_client`.
        linked: Folders elsewhere that links in a local folder may lead into.

    Raises:
        KineflowError: The folder does not exist, or the address names no bucket, or carries credentials.
    """
    if not is_remote(root):
        if not Path(root).is_dir():
            problem = "a file, where a folder is expected" if Path(root).is_file() else "no such folder"
            raise KineflowError(problem, where=root, remedy="give a folder that exists or s3://bucket/prefix")
        return LocalSource(Path(root), tuple(map(Path, linked)))
    bucket, prefix = split_uri(check_root(root))
    return S3Source(bucket, prefix, endpoint_url)


def read_text(source: Source, name: str) -> str:
    """Text of a small file of the source, line ends as they are.

    Raises:
        KineflowError: It is missing, is too large, or not UTF-8.
    """
    where = f"{source.root}/{name}"
    with source.fetch(name) as path, Path(path).open("rb") as stream:
        content = stream.read(_MOST_LIST_BYTES + 1)
    if len(content) > _MOST_LIST_BYTES:
        raise KineflowError(
            f"larger than {_MOST_LIST_BYTES // 2**20} MiB, which no list is",
            where=where,
            remedy="name the list file, or the folder that holds only lists, in ingestion.annotations",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise KineflowError(
            f"not UTF-8 text ({error.reason} at byte {error.start})",
            where=where,
            remedy="save the file as UTF-8 (in a spreadsheet: CSV UTF-8)",
        ) from None


@dataclass(frozen=True)
class LocalSource:
    """Files below a local folder.

    Attributes:
        folder: The root.
        linked: Folders elsewhere that links below it may lead into.
    """

    folder: Path
    linked: tuple[Path, ...] = ()

    @property
    def root(self) -> str:
        """The folder."""
        return str(self.folder)

    def names(self) -> list[str]:
        """Sorted names of all files below the folder; names that start with a dot are left out.

        What is left out beside those is told once, as a warning: folders that may not be read, links to folders
        elsewhere, names that no list can hold because they are not UTF-8.

        Raises:
            KineflowError: The folder itself may not be read.
        """
        return list(self._names)

    @cached_property
    def _names(self) -> list[str]:
        walked = walk_folder(self.folder, self._may_hold)
        for remark in walked.remarks:
            _LOG.warning("%s: %s", self.root, remark)
        return walked.names

    @cached_property
    def _may_hold(self) -> tuple[Path, ...]:
        return folders_for_links(self.folder, self.linked)

    @cached_property
    def _by_plain_name(self) -> dict[str, str]:
        return by_plain_name(self._names)

    def sizes(self) -> Mapping[str, int]:
        """Bytes of each of these files; a link that leads nowhere has none."""
        sizes: dict[str, int] = {}
        for name in self._names:
            with suppress(OSError):
                sizes[name] = (self.folder / name).stat().st_size
        return sizes

    def trouble(self, name: str) -> str:
        """Why a file cannot be taken, in a phrase; empty where it can be."""
        if is_hidden(name):
            return HIDDEN_REASON
        try:
            usable_file(self.folder, name, self._may_hold)
        except FileNotFoundError:
            return absent(name, self._by_plain_name)
        except KineflowError as error:
            return error.problem
        return ""

    @contextmanager
    def fetch(self, name: str) -> Iterator[Path]:
        """Give the file itself.

        Raises:
            KineflowError: It is missing, is no plain file, may not be read, or leads outside the folder.
        """
        try:
            path = usable_file(self.folder, name, self._may_hold)
        except FileNotFoundError:
            raise KineflowError(
                "no such file", where=self.folder / name, remedy="put it there, or correct what names it"
            ) from None
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
        return sorted(self._sizes)

    def sizes(self) -> Mapping[str, int]:
        """Bytes of each of these objects, as the listing says."""
        return self._sizes

    @cached_property
    def _sizes(self) -> Mapping[str, int]:
        below = f"{self.prefix}/" if self.prefix else ""
        with translate_s3_failures(self.root):
            listing = s3_client(self.endpoint_url).get_paginator("list_objects_v2")
            page_size = {"PageSize": _KEYS_A_PAGE}
            pages = listing.paginate(Bucket=self.bucket, Prefix=below, PaginationConfig=page_size)
            items = [(item["Key"], int(item["Size"])) for page in pages for item in page.get("Contents", [])]
        named = ((key.removeprefix(below), size) for key, size in items if not key.endswith("/"))
        return {name: size for name, size in named if not is_hidden(name)}

    def trouble(self, name: str) -> str:
        """Why an object cannot be taken, in a phrase; empty where it is listed."""
        if name in self._sizes:
            return ""
        return HIDDEN_REASON if is_hidden(name) else absent(name, self._by_plain_name)

    @cached_property
    def _by_plain_name(self) -> dict[str, str]:
        return by_plain_name(self._sizes)

    @contextmanager
    def fetch(self, name: str) -> Iterator[Path]:
        """Download one object to a temporary file, which is removed after the block.

        Raises:
            KineflowError: The name leads out of the prefix, the object is missing, or the download failed repeatedly.
        """
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise KineflowError(
                f"path {shown(name)} leads outside its root", where=self.root, remedy="name an object below the prefix"
            )
        suffix = PurePosixPath(name).suffix
        with tempfile.TemporaryDirectory(prefix="kineflow-") as folder:
            path = Path(folder) / f"object{suffix if _SHORT_SUFFIX.fullmatch(suffix) else ''}"
            with translate_full_disk(Path(folder)), translate_s3_failures(f"{self.root}/{name}"):
                s3_client(self.endpoint_url).download_file(self.bucket, f"{self.prefix}/{name}".lstrip("/"), str(path))
            yield path


HIDDEN_REASON = "left out: a part of its path begins with a dot"


def is_hidden(name: str) -> bool:
    """Whether a part of the path begins with a dot."""
    return any(part.startswith(".") for part in name.split("/"))


def absent(name: str, by_plain: Mapping[str, str]) -> str:
    """That there is no such file, and which name the list may have meant."""
    meant = by_plain.get(_plain(name))
    return "no such file in the source" + (f"; there is {shown(meant)}" if meant else "")


def by_plain_name(names: Iterable[str]) -> dict[str, str]:
    """Names by what is left of them without case, and without blanks round their parts."""
    return {_plain(name): name for name in names}


def _plain(name: str) -> str:
    return "/".join(part.strip() for part in name.casefold().split("/"))
