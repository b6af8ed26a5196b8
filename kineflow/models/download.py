"""Downloads of a file: by https alone, bounded, taken up where they broke off, and whole or absent under its name."""

from __future__ import annotations

import fcntl
import math
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.parse import SplitResult, urlsplit

from kineflow.storage.errors import OUT_OF_SIGHT, KineflowError
from kineflow.storage.files import sha256_of
from kineflow.storage.progress import track

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 30.0
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE, _TOO_MANY_REQUESTS, _SERVER_ERROR = 206, 416, 429, 500


def download(url: str, target: Path, *, sha256: str, max_bytes: int) -> None:
    """Have the bytes of ``url`` in ``target``; nothing is asked for where they are there already.

    What a download that broke off has brought stays beside ``target``, and is added to by the next. It is no file of
    that name before its hash is right. Two processes take turns.

    Args:
        url: ``https://`` (``http://`` only of this machine).
        target: File to write.
        sha256: Hex, of the whole file, or its first digits.
        max_bytes: Larger files are refused.

    Raises:
        KineflowError: The URL is not safe or cannot be reached, or the file is too large or has another hash.
    """
    require_safe_url(url)
    where = display_name(url)
    if target.is_file() and sha256_of(target).startswith(sha256):
        return
    with _alone(target.parent):
        if target.is_file() and sha256_of(target).startswith(sha256):
            return
        partial = target.with_name(f".{target.name}.part")
        goes_on = partial.is_file()
        try:
            _fetch(url, partial, max_bytes)
            if goes_on and not sha256_of(partial).startswith(sha256):  # of what was there, who knows
                partial.unlink()
                _fetch(url, partial, max_bytes)
            require_hash(partial, sha256, where=where)
        except _BrokenOffError as error:
            raise KineflowError(
                f"the download broke off: {error}",
                where=where,
                remedy="try again: it goes on from there; or download the file otherwise and give its path",
                exit_code=OUT_OF_SIGHT,
            ) from None
        except KineflowError:
            partial.unlink(missing_ok=True)  # not what is wanted: the next download begins anew
            raise
        partial.chmod(0o644)
        partial.replace(target)


def require_hash(path: Path, sha256: str, *, where: str) -> None:
    """Check a file.

    Raises:
        KineflowError: Its SHA-256 does not begin with ``sha256``.
    """
    require_digest(sha256_of(path), sha256, where=where)


def require_digest(actual: str, sha256: str, *, where: str) -> None:
    """Check the SHA-256 of a file.

    Raises:
        KineflowError: It does not begin with ``sha256``.
    """
    if not actual.startswith(sha256):
        raise KineflowError(
            f"sha256 is {actual}, not {sha256}{'' if len(sha256) == 64 else '…'}",
            where=where,
            remedy="download the file again; if it is the one you want, correct sha256",
        )


def require_size(size: int, max_bytes: int, *, where: str) -> None:
    """Check a count of bytes.

    Raises:
        KineflowError: There are more than ``max_bytes``.
    """
    if size > max_bytes:
        raise KineflowError(
            f"larger than the {max_bytes} bytes allowed", where=where, remedy="check that these are the right weights"
        )


def require_safe_url(url: str) -> None:
    """Check that a URL may be asked.

    Raises:
        KineflowError: It has a user or a password in it, or is neither https nor of this machine.
    """
    parts = _split(url)
    if parts.username or parts.password:  # a signature may be there: a server may have redirected to it
        raise KineflowError(
            "a URL with a user or password in it",
            where=display_name(url),
            remedy="download the file, give its path",
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise KineflowError(
            f"weights are not fetched by {parts.scheme}", where=display_name(url), remedy="give an https URL or a path"
        )


def display_name(source: str) -> str:
    """``source`` without what may be secret: a URL's user, query and fragment."""
    if "://" not in source:
        return source
    parts = _split(source)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def path_of(url: str) -> str:
    """The path of a URL."""
    return _split(url).path


class _BrokenOffError(Exception):
    """A download that broke off, or did not begin; another may do better."""


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never to a place that the first URL could not have named."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        require_safe_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(url: str, partial: Path, max_bytes: int) -> None:
    """Bring ``partial`` to its end; what is there already is not asked for, if the server can go on from there."""
    where = display_name(url)
    have = partial.stat().st_size if partial.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.build_opener(_SafeRedirects).open(request, timeout=_TIMEOUT_S) as response:
            if not _goes_on(response, have):
                have = 0
            length = int(response.headers.get("Content-Length") or 0)
            require_size(have + length, max_bytes, where=where)
            chunks = _chunks(response, max_bytes - have, where)
            if length:
                total = math.ceil(length / _CHUNK_BYTES)
                chunks = track(chunks, total=total, what=f"download {Path(_split(url).path).name}", unit="MiB chunk")
            with partial.open("ab" if have else "wb") as stream:
                for chunk in chunks:
                    stream.write(chunk)
                received = stream.tell() - have
            if received < length:
                raise _BrokenOffError(f"{received} of {length} bytes came")
    except urllib.error.HTTPError as error:
        if error.code == _RANGE_NOT_SATISFIABLE and have:  # all of it is there, or it is of another file
            return
        if error.code >= _SERVER_ERROR or error.code == _TOO_MANY_REQUESTS:  # what has come so far is good
            raise _BrokenOffError(f"the server answered {error.code} {error.reason}") from None
        raise KineflowError(
            f"the server answered {error.code} {error.reason}", where=where, remedy="check the URL"
        ) from None
    except (OSError, ValueError, HTTPException) as error:
        raise _BrokenOffError(str(getattr(error, "reason", error))) from None


def _goes_on(response: HTTPResponse, have: int) -> bool:
    """Whether the answer is what comes after the first ``have`` bytes."""
    begins = re.match(r"bytes (\d+)-", response.headers.get("Content-Range") or "")
    return response.status == _PARTIAL_CONTENT and begins is not None and int(begins[1]) == have


def _chunks(response: HTTPResponse, max_bytes: int, where: str) -> Iterator[bytes]:
    received = 0
    while chunk := response.read(_CHUNK_BYTES):
        received += len(chunk)
        require_size(received, max_bytes, where=where)
        yield chunk


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process downloads into ``folder``; where the file system has no locks, go ahead."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise KineflowError(f"not a URL: {error}", remedy="give an https URL or a path") from None
