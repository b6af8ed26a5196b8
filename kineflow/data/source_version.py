"""Which state a source is in, told from its listing alone: what came, went or changed since gives another version."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from kineflow.data.ingest_settings import IngestSettings
from kineflow.data.source import is_hidden, open_source
from kineflow.storage.client import s3_client, split_uri, translate_s3_failures
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import check_root, is_remote


def source_version(settings: IngestSettings) -> tuple[str, int]:
    """The version of what a section names, its lists included, and how many files it has.

    An object on S3 counts by its ETag, a local file by its size and time of change; names that start with a dot do not
    count, as ingest leaves them out.

    Returns:
        SHA-256 in hex, and a count of files.

    Raises:
        KineflowError: The source is not there or empty, or cannot be read.
    """
    linked = [folder.path for folder in settings.linked_folders]
    listed = sorted(_listed(settings.source, settings.endpoint_url, linked))
    if not listed:
        raise KineflowError("the source is empty", where=settings.source, remedy="put videos and their lists there")
    beside = sorted(_listed(settings.annotations, settings.endpoint_url, linked)) if settings.annotations else []
    digest = hashlib.sha256()
    for place in (listed, beside):
        for name, state in place:
            digest.update(f"{name}\0{state}\n".encode("utf-8", "surrogateescape"))
        digest.update(b"\n")
    return digest.hexdigest(), len(listed)


def _listed(place: str, endpoint_url: str, linked: list[str]) -> Iterator[tuple[str, str]]:
    """Names below a folder or prefix, or of one list, and what their state is told by."""
    if is_remote(place):
        yield from _on_s3(place, endpoint_url)
    elif Path(place).is_file():
        yield Path(place).name, _state_of(Path(place))
    else:
        for name in open_source(place, linked=linked).names():
            with suppress(OSError):  # a link that leads nowhere
                yield name, _state_of(Path(place, name))


def _on_s3(uri: str, endpoint_url: str) -> Iterator[tuple[str, str]]:
    bucket, prefix = split_uri(check_root(uri))
    with translate_s3_failures(uri):
        for page in s3_client(endpoint_url).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                below = item["Key"].removeprefix(prefix)
                is_below = not prefix or not below or below.startswith("/")  # else of a longer name
                if is_below and not item["Key"].endswith("/") and not is_hidden(below.strip("/")):
                    yield below, f"{item['Size']} {item['ETag']}"


def _state_of(path: Path) -> str:
    state = path.stat()
    return f"{state.st_size} {state.st_mtime_ns}"
