"""What a safetensors file says of itself, within bounds, and its bytes part by part; torch is not imported.

The file is a length, a header in JSON that says of every tensor its type, its shape and its place, and then the
tensors' bytes: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kineflow.storage.safe_json import parse_json

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 8 * 2**20  # a thousand tensors take 0.1 MB
_PART_BYTES = 2**20
_METADATA = "__metadata__"


@dataclass(frozen=True)
class StoredTensor:
    """A tensor's place in a file.

    Attributes:
        dtype: As the format calls it: ``F32``, ``I64``, …
        shape: Of the tensor.
        first, end: Of its bytes, from the start of the file.
    """

    dtype: str
    shape: tuple[int, ...]
    first: int
    end: int


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file by name.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no safetensors file, or its header is larger than 8 MiB.
    """
    header, start = _header(path)
    size = path.stat().st_size
    try:
        tensors = {
            str(name): StoredTensor(
                str(entry["dtype"]),
                tuple(int(side) for side in entry["shape"]),
                *(start + int(offset) for offset in entry["data_offsets"]),
            )
            for name, entry in header.items()
            if name != _METADATA
        }
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        raise ValueError("a header that says no type, shape and place of a tensor") from None
    if any(not start <= tensor.first <= tensor.end <= size for tensor in tensors.values()):
        raise ValueError("a tensor lies outside of the file")
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """What whoever wrote a file has said beside its tensors.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no safetensors file, or its header is larger than 8 MiB.
    """
    header, _ = _header(path)
    said = header.get(_METADATA, {}) if isinstance(header, dict) else {}
    return {str(key): value for key, value in said.items() if isinstance(value, str)} if isinstance(said, dict) else {}


def _header(path: Path) -> tuple[Any, int]:
    """The header, and where the tensors' bytes begin."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        if not 2 <= length <= min(_MAX_HEADER_BYTES, size - _LENGTH_BYTES):
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        return parse_json(stream.read(length)), _LENGTH_BYTES + length


def parts_of(path: Path, tensor: StoredTensor) -> Iterator[bytes]:
    """The bytes of a tensor, a MiB at a time."""
    with path.open("rb") as stream:
        stream.seek(tensor.first)
        left = tensor.end - tensor.first
        while left and (part := stream.read(min(left, _PART_BYTES))):
            left -= len(part)
            yield part
