"""Writes checkpoints as TensorFlow's BundleWriter does (V2): an index, and the bytes of the variables in shards."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

ENUMS = {
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "int64": 9, "bool": 10, "float16": 19,
}  # fmt: skip
TEXT, BFLOAT16 = 7, 14
_RESTARTS = 16  # entries from one whole key to the next


def write_checkpoint(
    prefix: Path,
    variables: Mapping[str, NDArray[np.generic]],
    *,
    shards: int = 1,
    kinds: Mapping[str, int] | None = None,
    block_bytes: int = 4096,
    header: bytes | None = None,
    more: bytes = b"",
) -> Path:
    """Write ``prefix.index`` and its shards, variables in turn to each; the path of the index.

    Args:
        prefix: ``model.ckpt``, say.
        variables: By name.
        shards: Files with bytes.
        kinds: TensorFlow's types, where they are not those of the arrays.
        block_bytes: Of the table, about.
        header: In place of the first entry.
        more: Added to the message of every variable.
    """
    content = [b""] * shards
    usual = _varint_field(1, shards) + _varint_field(2, 0) + _bytes_field(3, _varint_field(1, 1))
    entries = [(b"", usual if header is None else header)]
    for number, name in enumerate(sorted(variables)):
        array, shard = variables[name], number % shards
        data = array.tobytes()
        kind = (kinds or {}).get(name, ENUMS.get(array.dtype.name, 0))
        shape = b"".join(_bytes_field(2, _varint_field(1, side)) for side in array.shape)
        message = _varint_field(1, kind) + _bytes_field(2, shape) + _varint_field(3, shard)
        message += _varint_field(4, len(content[shard])) + _varint_field(5, len(data))
        message += b"\x35" + struct.pack("<I", masked(data)) + more
        entries.append((name.encode(), message))
        content[shard] += data
    for number, data in enumerate(content):
        prefix.with_name(f"{prefix.name}.data-{number:05d}-of-{shards:05d}").write_bytes(data)
    index = prefix.with_name(f"{prefix.name}.index")
    index.write_bytes(table(entries, block_bytes))
    return index


def masked(data: bytes) -> int:
    """The checksum of ``data`` as these files hold it."""
    crc = google_crc32c.value(data)
    return int(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def table(entries: Sequence[tuple[bytes, bytes]], block_bytes: int = 4096, kind: int = 0) -> bytes:
    """A sorted table of ``entries``, whose blocks say that they are compressed as ``kind`` does."""
    content, block, index = b"", [], []
    for place, entry in enumerate(entries):
        block.append(entry)
        if sum(len(key) + len(value) for key, value in block) >= block_bytes or place == len(entries) - 1:
            index.append((entry[0], _handle(len(content), encoded := _block(block))))
            content += _sealed(encoded, kind)
            block = []
    facts = _block([])
    meta = _handle(len(content), facts)
    content += _sealed(facts, kind)
    directory = _block(index)
    footer = meta + _handle(len(content), directory)
    content += _sealed(directory, kind)
    return content + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def _block(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    content, restarts, before = b"", [], b""
    for place, (key, value) in enumerate(entries):
        shared = 0
        if place % _RESTARTS == 0:
            restarts.append(len(content))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        content += _varint(shared) + _varint(len(key) - shared) + _varint(len(value)) + key[shared:] + value
        before = key
    return content + struct.pack(f"<{len(restarts) or 1}I", *(restarts or [0])) + struct.pack("<I", len(restarts) or 1)


def _sealed(block: bytes, kind: int) -> bytes:
    typed = block + bytes([kind])
    return typed + struct.pack("<I", masked(typed))


def _handle(first: int, block: bytes) -> bytes:
    return _varint(first) + _varint(len(block))


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes_field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    content = b""
    while value > 0x7F:
        content += bytes([value & 0x7F | 0x80])
        value >>= 7
    return content + bytes([value])
