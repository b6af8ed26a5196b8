"""A sorted string table: keys and values in order, in blocks with checksums, as LevelDB and TensorFlow write them.

https://github.com/google/leveldb/blob/main/doc/table_format.md. The last 48 bytes tell where the index block is, whose
values tell where the blocks of entries are. Of a key, a block stores what differs from the key before.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from kineflow.models.weight_formats.crc32c import crc32c
from kineflow.models.weight_formats.wire import read_varint

_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57
_TRAILER_BYTES = 5  # of a block: how it is compressed, and a checksum
_NOT_COMPRESSED = 0
_MAX_ENTRIES = 200_000
_MAX_KEY_BYTES = 4096

Block = tuple[int, int]


def read_table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values, in the order of the table.

    Raises:
        ValueError: It is no such table, is damaged or compressed, or has more than 200,000 entries.
    """
    if len(content) < _FOOTER_BYTES or struct.unpack("<Q", content[-8:])[0] != _MAGIC:
        raise ValueError("no table of TensorFlow's: the last bytes are not those that every one ends with")
    footer = content[-_FOOTER_BYTES:-8]
    _, at = _read_handle(footer, 0)  # of facts that nobody writes
    index, _ = _read_handle(footer, at)
    entries, end = 0, 0
    for _, value in _entries(_block(content, index)):
        handle, _ = _read_handle(value, 0)
        if handle[0] < end:
            raise ValueError("blocks of the table overlap")
        end = sum(handle)
        for entry in _entries(_block(content, handle)):
            entries += 1
            if entries > _MAX_ENTRIES:
                raise ValueError(f"a table of more than {_MAX_ENTRIES} entries")
            yield entry


def unmasked(stored: int) -> int:
    """The CRC-32C of which ``stored`` is what these files hold: turned and moved, since they guard CRCs too."""
    turned = (stored - 0xA282EAD8) & 0xFFFFFFFF
    return ((turned >> 17) | (turned << 15)) & 0xFFFFFFFF


def _read_handle(content: bytes, at: int) -> tuple[Block, int]:
    first, at = read_varint(content, at)
    length, at = read_varint(content, at)
    return (first, length), at


def _block(content: bytes, handle: Block) -> bytes:
    first, end = handle[0], sum(handle)
    if end + _TRAILER_BYTES > len(content) - _FOOTER_BYTES:
        raise ValueError(f"a block of {handle[1]} bytes at {first} in a table of {len(content)}")
    kind, checksum = struct.unpack("<BI", content[end : end + _TRAILER_BYTES])
    if crc32c(content[first : end + 1]) != unmasked(checksum):
        raise ValueError(f"the block at {first} of the table has another checksum than it should: it is damaged")
    if kind != _NOT_COMPRESSED:
        raise ValueError("the table is compressed, which TensorFlow does not do for checkpoints")
    return content[first:end]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    restarts = struct.unpack("<I", block[-4:])[0] if len(block) >= 4 else 0
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise ValueError("a block of the table that is shorter than it says")
    at, key = 0, b""
    while at < end:
        shared, at = read_varint(block, at)
        own, at = read_varint(block, at)
        length, at = read_varint(block, at)
        if shared > len(key) or shared + own > _MAX_KEY_BYTES or at + own + length > end:
            raise ValueError("an entry of the table that reaches beyond it")
        key = key[:shared] + block[at : at + own]
        at += own
        yield key, block[at : at + length]
        at += length
