"""Checkpoints of TensorFlow, in the format that it has written since 0.12 (``V2``), read without TensorFlow.

``NAME.index`` is a sorted table of all variables: type, shape, place and checksum of each. Their bytes lie one behind
the other in ``NAME.data-00000-of-00001``, or in several such files. The messages of the table are ``BundleHeaderProto``
and ``BundleEntryProto`` of tensorflow/core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kineflow.models.weight_formats.crc32c import crc32c
from kineflow.models.weight_formats.sorted_table import read_table, unmasked
from kineflow.models.weight_formats.wire import WireReader, as_bytes

SUFFIX = ".index"

_MAX_INDEX_BYTES = 16 * 2**20  # a thousand variables take 0.1 MB
_MAX_SHARDS = 1000
_MAX_SIDES = 8
_MOST_FIELDS = 2_000_000
_PART_BYTES = 2**20
_TEXT = 7  # of what describes the program, and is no weight
_BFLOAT16 = 14
_TYPES = {
    1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", _BFLOAT16: "<u2", 17: "<u2", 19: "<f2",
    22: "<u4", 23: "<u8",
}  # fmt: skip


@dataclass(frozen=True)
class _Variable:
    kind: int
    shape: tuple[int, ...]
    shard: int
    first: int
    length: int
    checksum: int


def read_tensorflow(index: Path) -> Mapping[str, NDArray[np.generic]]:
    """Read all variables of a checkpoint by name; those of 16-bit brain floats as float32, texts not at all.

    Args:
        index: The file ``NAME.index``; those with the bytes lie beside it.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is missing or damaged, or holds what is no plain tensor.
    """
    variables, shards = _read_index(index)
    paths = _shards(index, shards)
    if sum(variable.length for variable in variables.values()) > sum(path.stat().st_size for path in paths):
        raise ValueError("an index that says there are more bytes of variables than the files have")
    return {name: _read(paths, variable, name) for name, variable in variables.items() if variable.kind != _TEXT}


def shapes_of(index: Path) -> dict[str, tuple[int, ...]]:
    """Shape of each variable of a checkpoint that is no text; of ``index`` alone.

    Raises:
        OSError, ValueError: As :func:`files_of`.
    """
    return {name: variable.shape for name, variable in _read_index(index)[0].items() if variable.kind != _TEXT}


def files_of(index: Path) -> list[Path]:
    """The files of a checkpoint: ``index``, and those with the bytes in their order.

    Raises:
        OSError: ``index`` cannot be read.
        ValueError: It is damaged, or a file is missing.
    """
    return [index, *_shards(index, _read_index(index)[1])]


def sha256_of_all(index: Path) -> str:
    """Hex SHA-256 of all files of a checkpoint, one behind the other: ``cat NAME.index NAME.data-* | sha256sum``.

    Raises:
        OSError, ValueError: As :func:`files_of`.
    """
    digest = hashlib.sha256()
    for path in files_of(index):
        with path.open("rb") as stream:
            while part := stream.read(_PART_BYTES):
                digest.update(part)
    return digest.hexdigest()


def _read_index(index: Path) -> tuple[dict[str, _Variable], int]:
    """All variables, and the count of files with their bytes."""
    size = index.stat().st_size
    if size > _MAX_INDEX_BYTES:
        raise ValueError(f"an index of {size} bytes")
    reader, shards = WireReader(_MOST_FIELDS), 0
    variables: dict[str, _Variable] = {}
    for key, value in read_table(index.read_bytes()):
        if not key:
            shards = _count_of_shards(reader, value)
        else:
            name = key.decode("utf-8", "backslashreplace")
            variables[name] = _variable(reader, value, name)
    if not 1 <= shards <= _MAX_SHARDS:
        raise ValueError(f"an index that says its variables are in {shards} files")
    for name, variable in variables.items():
        if variable.shard >= shards:
            raise ValueError(f"variable {name!r} is said to be in file {variable.shard} of {shards}")
    return variables, shards


def _count_of_shards(reader: WireReader, header: bytes) -> int:
    said = dict(reader.fields(memoryview(header)))
    if _number(said, 2):
        raise ValueError("written by a machine that has the highest byte first")
    return _number(said, 1)


def _variable(reader: WireReader, entry: bytes, name: str) -> _Variable:
    said = dict(reader.fields(memoryview(entry)))
    if 7 in said:
        raise ValueError(f"variable {name!r} is stored in slices; save the checkpoint with each variable whole")
    kind, shape = _number(said, 1), _shape(reader, as_bytes(said.get(2, memoryview(b""))))
    checksum = int.from_bytes(as_bytes(said.get(6, memoryview(b""))), "little")
    variable = _Variable(kind, shape, _number(said, 3), _number(said, 4), _number(said, 5), checksum)
    if kind == _TEXT:
        return variable
    if kind not in _TYPES:
        raise ValueError(f"variable {name!r} is of TensorFlow's type {kind}, which no weight is")
    if len(shape) > _MAX_SIDES or math.prod(shape) * np.dtype(_TYPES[kind]).itemsize != variable.length:
        raise ValueError(f"variable {name!r} of shape {list(shape[:_MAX_SIDES])} has {variable.length} bytes")
    return variable


def _number(said: Mapping[int, int | memoryview], field: int) -> int:
    value = said.get(field, 0)
    if not isinstance(value, int):
        raise ValueError(f"field {field} of an entry of the index is no number")
    return value


def _shape(reader: WireReader, message: memoryview) -> tuple[int, ...]:
    sides = (as_bytes(side) for number, side in reader.fields(message) if number == 2)
    return tuple(_number(dict(reader.fields(side)), 1) for side in sides)


def _shards(index: Path, count: int) -> list[Path]:
    stem = index.name.removesuffix(SUFFIX)
    paths = [index.with_name(f"{stem}.data-{number:05d}-of-{count:05d}") for number in range(count)]
    for path in paths:
        if not path.is_file():
            raise ValueError(f"a checkpoint of TensorFlow is several files, and {path.name} is not beside this one")
    return paths


def _read(paths: list[Path], variable: _Variable, name: str) -> NDArray[np.generic]:
    path = paths[variable.shard]
    if variable.first + variable.length > path.stat().st_size:
        raise ValueError(f"variable {name!r} lies beyond the end of {path.name}, which is cut short")
    with path.open("rb") as stream:
        stream.seek(variable.first)
        content = stream.read(variable.length)
    if crc32c(content) != unmasked(variable.checksum):
        raise ValueError(f"variable {name!r} in {path.name} has another checksum than it should: it is damaged")
    values = np.frombuffer(bytearray(content), _TYPES[variable.kind])
    if variable.kind == _BFLOAT16:
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(variable.shape)
