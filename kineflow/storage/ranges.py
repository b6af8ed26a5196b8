"""An S3 object as a file to read from anywhere: the blocks that are touched are fetched by range, and kept on disk.

The first request of a file asks for its first two blocks, which is all of most clips, and learns the object's size and
ETag with them. All later ones ask for bytes of that very ETag, so that an object which changes is an error and never a
mixture. Where reading goes straight on, requests grow to eight blocks. What an object was like is asked again after an
hour.
"""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kineflow.storage.cache import BlockCache, default_cache
from kineflow.storage.client import s3_client, split_uri, translate_s3_failures
from kineflow.storage.errors import KineflowError

BLOCK_BYTES = 2**20
"""A request to S3 takes about as long as the transfer of a block or two; smaller ones cost more than they save."""

_FIRST_BLOCKS = 2
_MOST_BLOCKS = 8  # of one request
_TRUSTED_SEC = 3600.0
_CHUNK_BYTES = 2**18
_ATTEMPTS = 5  # that bring nothing, one after the other
_WAIT_SEC = 0.2  # before the second attempt; doubled each time
_ABSENT = ("404", "NoSuchKey")
_CHANGED = ("412", "PreconditionFailed", "416", "InvalidRange")
_LOG = logging.getLogger(__name__)


class StorageError(KineflowError):
    """S3 does not answer, refuses, or gives something else than before: no fault of the one file that was asked for."""


@contextmanager
def naming_storage_failures(where: str) -> Iterator[None]:
    """As :func:`kineflow.storage.client.translate_s3_failures`, told apart from an object that is not there.

    Raises:
        StorageError: The block failed.
        KineflowError: It failed because there is no such object; or with an error of its own.
    """
    from botocore.exceptions import ClientError

    absent = False

    def note(error: ClientError) -> None:
        nonlocal absent
        absent = error.response.get("Error", {}).get("Code") in _ABSENT

    try:
        with translate_s3_failures(where):
            try:
                yield
            except ClientError as error:
                note(error)
                raise
    except StorageError:
        raise
    except KineflowError as error:
        if absent:
            raise KineflowError("no such object on S3", where=where, remedy="check the address") from None
        raise StorageError(error.problem, where=error.where, remedy=error.remedy, exit_code=error.exit_code) from None


@dataclass(frozen=True)
class Traffic:
    """What has been asked of S3 in order to read; the difference of two tells what happened between.

    Attributes:
        requests: For parts of objects, or for what they are like.
        received_bytes: Content received.
        cached_blocks: Blocks that the cache had.
    """

    requests: int = 0
    received_bytes: int = 0
    cached_blocks: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.requests + other.requests,
            self.received_bytes + other.received_bytes,
            self.cached_blocks + other.cached_blocks,
        )

    def __sub__(self, other: Traffic) -> Traffic:
        return self + Traffic(-other.requests, -other.received_bytes, -other.cached_blocks)


_total = Traffic()
_counting = threading.Lock()


def traffic() -> Traffic:
    """All that this process has asked so far."""
    return _total


def count(asked: Traffic) -> None:
    """Add to :func:`traffic`."""
    global _total
    with _counting:
        _total = _total + asked


@dataclass(frozen=True)
class _Version:
    """What an object is like; ``name`` tells the object from all others."""

    name: str
    size: int
    etag: str

    def block(self, number: int, block_bytes: int) -> str:
        """Name of a block in the cache."""
        return f"{self.name} {self.etag} {self.size} {block_bytes} {number}"


class RangeReader(io.RawIOBase):
    """A readable, seekable file over one object; for one thread at a time.

    Args:
        uri: ``s3://bucket/key``.
        cache: Where blocks are kept; None for that of the environment.
        block_bytes: Size of a block.

    Raises:
        KineflowError: Also from every read and seek: the server refuses or does not answer, or the object has changed.
            It stays in ``failure``, for libraries that read through this may swallow it.
    """

    failure: KineflowError | None
    """What made a read fail; None when none has."""

    def __init__(self, uri: str, *, cache: BlockCache | None = None, block_bytes: int = BLOCK_BYTES) -> None:
        super().__init__()
        self.uri, self.failure = uri, None
        self._bucket, self._key = split_uri(uri)
        if not self._key:
            raise KineflowError("no name of an object", where=uri, remedy="write s3://bucket/key")
        self._name = f"{s3_client().meta.endpoint_url} {uri}"
        self._cache = default_cache() if cache is None else cache
        self._block_bytes = block_bytes
        self._place = 0
        self._version: _Version | None = None
        self._held: OrderedDict[int, bytes] = OrderedDict()
        self._last, self._ahead = -1, 1

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set where the next read begins."""
        if whence == io.SEEK_CUR:
            offset += self._place
        elif whence == io.SEEK_END:
            offset += self.size
        if offset < 0:
            raise ValueError("a place before the start of the file")
        self._place = offset
        return offset

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` as far as one block goes; gives how many bytes that are, 0 at the end."""
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self.size - self._place)
        if wanted <= 0:
            return 0
        number, offset = divmod(self._place, self._block_bytes)
        part = memoryview(self._block(number))[offset : offset + wanted]
        view[: len(part)] = part
        self._place += len(part)
        return len(part)

    @property
    def size(self) -> int:
        """Of the object, bytes."""
        return self._known().size

    def close(self) -> None:
        """Free the blocks that are held."""
        self._held.clear()
        super().close()

    def _known(self) -> _Version:
        if self._version is None:
            self._guarded(self._learn)
        assert self._version is not None  # or an error was raised
        return self._version

    def _block(self, number: int) -> bytes:
        version = self._known()
        if number not in self._held:
            self._ahead = min(2 * self._ahead, _MOST_BLOCKS) if number == self._last + 1 else 1
            kept = self._cache.get(version.block(number, self._block_bytes))
            if kept is None:
                self._guarded(lambda: self._fetch(number, self._missing_from(number, version)))
            else:
                count(Traffic(cached_blocks=1))
                self._hold(number, kept)
        self._last = number
        self._held.move_to_end(number)
        return self._held[number]

    def _missing_from(self, number: int, version: _Version) -> int:
        """How many blocks to fetch: as many as reading is ahead, up to the first that is there."""
        most = min(self._ahead, -(-version.size // self._block_bytes) - number)
        for more in range(1, most):
            if self._cache.has(version.block(number + more, self._block_bytes)):
                return more
        return most

    def _hold(self, number: int, block: bytes) -> None:
        self._held[number] = block
        while len(self._held) > _MOST_BLOCKS:
            self._held.popitem(last=False)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Name the failures of ``work``, and note them."""
        from botocore.exceptions import ClientError

        try:
            with naming_storage_failures(self.uri):
                try:
                    work()
                except ClientError as error:
                    if error.response.get("Error", {}).get("Code") in _CHANGED and self._version is not None:
                        raise self._has_changed() from None
                    raise
        except KineflowError as error:
            self.failure = error
            self._cache.drop(self._name)  # whoever opens the object next learns anew what it is like
            raise

    def _has_changed(self) -> StorageError:
        return StorageError(
            "the object has changed while it was in use",
            where=self.uri,
            remedy="run again with what is there now; make sure that nothing writes to a set that is being read",
        )

    def _learn(self) -> None:
        """Find out what the object is like: from a reader of the last hour, or from the server."""
        kept = self._cache.get(self._name)
        if kept is None:
            self._fetch(0, _FIRST_BLOCKS)
            return
        size, etag, asked = json.loads(kept)
        if asked <= time.time() < asked + _TRUSTED_SEC:
            self._version = _Version(self._name, size, etag)
            return
        count(Traffic(requests=1))
        head = s3_client().head_object(Bucket=self._bucket, Key=self._key)
        self._remember(head["ContentLength"], head["ETag"])

    def _remember(self, size: int, etag: str) -> None:
        self._version = _Version(self._name, size, etag)
        self._cache.put(self._name, json.dumps([size, etag, time.time()]).encode())

    def _fetch(self, first: int, blocks: int) -> None:
        """Fetch successive blocks in one request; where the connection breaks, another one goes on from there."""
        start, stop = first * self._block_bytes, (first + blocks) * self._block_bytes
        content, idle = bytearray(), 0
        while self._version is None or start + len(content) < min(stop, self._version.size):
            before = len(content)
            if broken := self._receive(start + before, stop, content):
                idle = 0 if len(content) > before else idle + 1
                if idle == _ATTEMPTS:
                    raise broken
                _LOG.warning("%s: broken off at byte %d (%s)", self.uri, start + len(content), type(broken).__name__)
                time.sleep(_WAIT_SEC * 2**idle)
        for number in range(first, first + blocks):
            offset = number * self._block_bytes - start
            if block := bytes(content[offset : offset + self._block_bytes]):
                self._hold(number, block)
                self._cache.put(self._version.block(number, self._block_bytes), block)

    def _receive(self, start: int, stop: int, content: bytearray) -> Exception | None:
        """Append the bytes ``start`` to ``stop`` of the object, or up to its end, to ``content``.

        Gives the error that broke the transfer off. (Requests that get no answer at all are repeated by the client.)
        """
        from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

        same = {} if self._version is None else {"IfMatch": self._version.etag}
        count(Traffic(requests=1))
        try:
            response = s3_client().get_object(
                Bucket=self._bucket, Key=self._key, Range=f"bytes={start}-{stop - 1}", **same
            )
        except ClientError as error:
            if self._version is None and start == 0 and error.response["Error"]["Code"] in ("416", "InvalidRange"):
                self._version = _Version(self._name, 0, "")  # an object of no bytes has no range
                return None
            raise
        part, _, whole_size = response.get("ContentRange", "").partition("/")
        size = int(whole_size) if part else response["ContentLength"]
        if self._version is None:
            self._remember(size, response["ETag"])
        elif (size, response["ETag"]) != (self._version.size, self._version.etag):
            raise self._has_changed()
        if not part.startswith(f"bytes {start}-") and (part or start):
            raise StorageError(
                "the S3 server sends something else than the part that was asked for",
                where=self.uri,
                remedy="use a server that answers requests for ranges, or copy the set to a local folder",
            )
        wanted = min(stop, size) - start
        try:
            for chunk in response["Body"].iter_chunks(_CHUNK_BYTES):
                count(Traffic(received_bytes=len(chunk)))
                content += chunk[:wanted]
                wanted -= len(chunk)
                if wanted <= 0:
                    break
        except (HTTPClientError, IncompleteReadError) as error:
            broken: Exception = error
            return broken
        finally:
            response["Body"].close()
        return IncompleteReadError(actual_bytes=len(content), expected_bytes=stop - start) if wanted > 0 else None
