"""A search for planted secrets in everything that a program has left behind, in whatever form it is stored."""

from __future__ import annotations

import base64
import gzip
import io
import sqlite3
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote


def forms(secret: str) -> set[bytes]:
    """The secret as it may be written: plain, in a URL, and inside of a base64 text, wherever it begins there."""
    written = {secret.encode(), quote(secret, safe="").encode()}
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + secret.encode())
        # The first and last characters also depend on what stands before and after.
        written.add(whole[4 if shift else 0 : len(whole) // 4 * 4 - 4])
    return written


def found_in(content: bytes, secrets: Iterable[str]) -> list[str]:
    """Which of the secrets occur in some bytes, or in what is packed in them."""
    looked_at = list(_unpacked(content))
    return [secret for secret in secrets if any(form in part for form in forms(secret) for part in looked_at)]


def found_below(folder: Path, secrets: Iterable[str]) -> dict[str, list[str]]:
    """Which secrets occur in which file below a folder, in its content or in its name."""
    hits = {}
    for path in sorted(folder.rglob("*")):
        named = str(path.relative_to(folder)).encode()
        content = path.read_bytes() if path.is_file() else b""
        if hit := found_in(named, secrets) + found_in(content, secrets):
            hits[str(path)] = hit
    return hits


def _unpacked(content: bytes, depth: int = 0) -> Iterator[bytes]:
    yield content
    if depth == 3:
        return
    if content.startswith(b"\x1f\x8b"):
        yield from _unpacked(gzip.decompress(content), depth + 1)
    elif content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            for name in packed.namelist():
                yield from _unpacked(packed.read(name), depth + 1)
    elif content.startswith(b"SQLite format 3\0"):
        yield _rows_of_database(content)
    elif content.startswith(b"PAR1"):
        yield _rows_of_parquet(content)


def _rows_of_database(content: bytes) -> bytes:
    # Long texts lie in pieces in the file.
    with sqlite3.connect(":memory:") as database:
        database.deserialize(content)
        return "\n".join(database.iterdump()).encode()


def _rows_of_parquet(content: bytes) -> bytes:
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content))
    return repr((table.schema.metadata, table.to_pydict())).encode()
