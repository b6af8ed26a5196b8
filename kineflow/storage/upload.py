"""Writing to S3: files and folders, whole or absent, with nothing left behind when the work is cut short.

Large files travel in parts (boto3's transfer manager). A server keeps, and bills, the parts of an upload that nobody
completed or aborted; so what ends an upload early (an error, Ctrl-C, SIGTERM) aborts it first. A kill leaves no time
for that: let a rule of the bucket (``AbortIncompleteMultipartUpload``) clean up after it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from kineflow.storage.client import S3_SCHEME, s3_client, split_uri, translate_s3_failures
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of

SHA256_KEY = "sha256"
"""Key of the object metadata that holds the file's digest, for those who read it back."""

INDEX_FILES = frozenset(
    {"manifest.parquet", "clipset.json", "flow.parquet", "flowset.json", "features.parquet", "features.json"}
    | {"model.json", "index.json", "_COMPLETE"}
)
"""Files without which readers take a folder for absent; they are uploaded after all others."""

_PART_BYTES = 8 * 2**20
_MOST_PARTS = 10_000  # S3's limit; boto3 then makes the parts larger
_EXIT_SIGTERM = 128 + signal.SIGTERM
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Item:
    path: Path
    bucket: str
    key: str

    @property
    def uri(self) -> str:
        return f"{S3_SCHEME}{self.bucket}/{self.key}"


def upload_file(path: Path, uri: str, *, metadata: Mapping[str, str] | None = None, endpoint_url: str = "") -> None:
    """Upload one file; the object appears whole or not at all.

    The server checks each part as it comes in; size and, where it tells one, digest of the whole are compared after.
    The object's metadata carries the file's SHA-256.

    Args:
        path: File to read.
        uri: ``s3://bucket/key`` of the object; one that is there is replaced.
        metadata: Of the object, in ASCII.
        endpoint_url: See :func:`kineflow.storage.client.s3_client`.

    Raises:
        KineflowError: The file is missing or changed meanwhile, or the server refused, failed or kept something else.
    """
    bucket, key = split_uri(uri)
    if not key or uri.endswith("/"):
        raise KineflowError("no name for the object", where=uri, remedy="write s3://bucket/key")
    if not path.is_file():
        raise KineflowError("no such file", where=path)
    _upload_all([_Item(path, bucket, key)], metadata or {}, endpoint_url)


def upload_folder(folder: Path, uri: str, *, endpoint_url: str = "") -> list[str]:
    """Upload all files below a folder, :data:`INDEX_FILES` last, so that readers never see half a folder.

    Index files that are already at ``uri`` are removed first: what is there is absent until it is whole again.
    Names that start with a dot are left out. Links to files are followed (DVC links to its cache), those to folders
    are not.

    Args:
        folder: What to upload.
        uri: ``s3://bucket/prefix`` that it becomes.
        endpoint_url: See :func:`kineflow.storage.client.s3_client`.

    Returns:
        Addresses of the objects, in the order in which they were uploaded.

    Raises:
        KineflowError: The folder is missing or empty, or see :func:`upload_file`.
    """
    bucket, prefix = split_uri(uri)
    names = _files_below(folder)
    if not names:
        raise KineflowError("no files to upload", where=folder, remedy="give a folder with files in it")
    items = {name: _Item(folder / name, bucket, f"{prefix}/{name}".lstrip("/")) for name in names}
    ordinary = [items[name] for name in names if not _is_index(name)]
    # An index above others speaks for them: it comes after them, and goes before them.
    indexes = [items[name] for name in sorted(names, key=lambda name: (-name.count("/"), name)) if _is_index(name)]
    _delete(bucket, [item.key for item in reversed(indexes)], uri, endpoint_url)
    _upload_all(ordinary, {}, endpoint_url)
    for index in indexes:
        _upload_all([index], {}, endpoint_url)
    return [item.uri for item in (*ordinary, *indexes)]


def _upload_all(items: Sequence[_Item], metadata: Mapping[str, str], endpoint_url: str) -> None:
    """Upload files side by side, then verify each."""
    from boto3.s3.transfer import TransferConfig, create_transfer_manager

    if not items:
        return
    config = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES)
    client = s3_client(endpoint_url)
    digests = {item: sha256_of(item.path) for item in items}
    with _exiting_on_sigterm(), _aborting_on_failure(client, items), create_transfer_manager(client, config) as manager:
        transfers = []
        for item in items:
            extra = {"Metadata": {**metadata, SHA256_KEY: digests[item]}}
            transfers.append((item, manager.upload(str(item.path), item.bucket, item.key, extra)))
        for item, transfer in transfers:
            with translate_s3_failures(item.uri):
                transfer.result()
    for item in items:
        _verify(client, item)


def _verify(client: Any, item: _Item) -> None:
    """Compare what the server keeps with the file; remove an object that differs."""
    with translate_s3_failures(item.uri):
        kept = client.head_object(Bucket=item.bucket, Key=item.key)
        size, digest = item.path.stat().st_size, kept["ETag"].strip('"')
        # An encrypted object's ETag says nothing of its content; some servers' never do.
        is_md5 = len(digest.partition("-")[0]) == 32 and "aws:kms" not in kept.get("ServerSideEncryption", "")
        if kept["ContentLength"] == size and not (is_md5 and _differs(digest, item.path, size)):
            return
        client.delete_object(Bucket=item.bucket, Key=item.key)
    raise KineflowError(
        f"the server kept something else ({kept['ContentLength']} bytes of {size}); the object is removed again",
        where=item.uri,
        remedy=f"make sure that nothing writes to {item.path}, and upload it again",
    )


def _differs(etag: str, path: Path, size: int) -> bool:
    """Whether an ETag of S3's usual form contradicts the file; False for those of another form."""
    digest, _, parts = etag.partition("-")
    if not parts:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() != digest
    if size > _PART_BYTES * _MOST_PARTS or parts != str(-(-size // _PART_BYTES)):
        return False
    whole = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while part := stream.read(_PART_BYTES):
            whole.update(hashlib.md5(part, usedforsecurity=False).digest())
    return whole.hexdigest() != digest


@contextmanager
def _aborting_on_failure(client: Any, items: Sequence[_Item]) -> Iterator[None]:
    """Abort the multipart uploads that the block began for ``items``, whatever ends it early.

    boto3 tries to, once, and does not say when it failed.
    """
    ours = {(item.bucket, item.key) for item in items}
    begun: set[tuple[str, str, str]] = set()

    def remember(parsed: Mapping[str, Any], **_: object) -> None:
        if (parsed.get("Bucket"), parsed.get("Key")) in ours:
            begun.add((parsed["Bucket"], parsed["Key"], parsed["UploadId"]))

    event = "after-call.s3.CreateMultipartUpload"
    client.meta.events.register(event, remember)
    try:
        yield
    except BaseException:
        for bucket, key, upload in begun:
            try:
                with translate_s3_failures(f"{S3_SCHEME}{bucket}/{key}"):
                    _abort(client, bucket, key, upload)
            except KineflowError as error:
                _LOG.warning("parts of an upload are left on the server; abort it later: %s", error)
        raise
    finally:
        client.meta.events.unregister(event, remember)


def _abort(client: Any, bucket: str, key: str, upload: str) -> None:
    from botocore.exceptions import ClientError

    try:
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in ("NoSuchUpload", "404"):  # aborted or completed already
            raise


@contextmanager
def _exiting_on_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the block like Ctrl-C does, unless the program has a use of its own for it."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(_EXIT_SIGTERM)


def _delete(bucket: str, keys: Sequence[str], where: str, endpoint_url: str) -> None:
    with translate_s3_failures(where):
        for key in keys:  # one by one: their order matters
            s3_client(endpoint_url).delete_object(Bucket=bucket, Key=key)


def _is_index(name: str) -> bool:
    return name.rpartition("/")[2] in INDEX_FILES


def _files_below(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise KineflowError("no such folder", where=folder)
    paths: list[str] = []
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(where).relative_to(folder)
        paths += [(below / name).as_posix() for name in files if not name.startswith(".")]
    return sorted(paths)
