"""A ``.pth`` file that nobody vouches for: what reading it would take, told before torch reads it.

``torch.load`` with ``weights_only`` runs no code of the file, but takes any amount of memory that the file asks for: a
record may be compressed a thousandfold, and the pickle within may call for a ``bytearray`` of any size. So the list of
the archive's records is looked through, and the pickle's operations, which are read as a list and not carried out.
Files of before PyTorch 1.6 are no archives; they begin with the pickles.
"""

from __future__ import annotations

import io
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from kineflow.storage.names import shown

if TYPE_CHECKING:
    from torch import Tensor

_MAX_DIRECTORY_BYTES = 8 * 2**20
_MAX_PICKLE_BYTES = 16 * 2**20
_MAX_OPERATIONS = 500_000  # a state dict of a thousand tensors takes 40,000
_PICKLES_OF_OLD_FILES = 5  # a magic number, a version, facts of the machine, the content, names of the storages

_END, _END64, _END64_PLACE = (b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07")
_END_BYTES, _END64_BYTES, _END64_PLACE_BYTES = 22, 56, 20
_ALL_16, _ALL_32 = 0xFFFF, 0xFFFFFFFF

# Of what weights_only knows: what a checkpoint's tensors and plain values are made of. Others make things of any size.
# (It takes names by one operation alone, GLOBAL.)
_KNOWN = frozenset(
    {
        "collections.OrderedDict", "collections.Counter", "builtins.set", "builtins.complex", "_codecs.encode",
        "torch.Size", "torch.device", "torch.storage.UntypedStorage", "torch.nn.parameter.Parameter",
        "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state", "torch.serialization._get_layout",
        "torch._tensor._rebuild_from_type_v2",
    }
)  # fmt: skip
_DTYPES = frozenset(
    {
        "torch.float16", "torch.bfloat16", "torch.float32", "torch.float64", "torch.complex64", "torch.complex128",
        "torch.bool", "torch.uint8", "torch.int8", "torch.int16", "torch.int32", "torch.int64",
    }
)  # fmt: skip


def check_torch_file(path: Path) -> None:
    """Make sure that reading a file takes about as much memory as it has bytes.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged, a record is compressed or lies outside of the file, the pickle has too many
            operations, or it calls for something other than tensors and plain values.
    """
    with path.open("rb") as stream:
        is_archive = stream.read(4) == b"PK\x03\x04"
        stream.seek(0)
        if is_archive:
            _check_archive(stream, path.stat().st_size)
        else:
            _check_pickles(stream, _PICKLES_OF_OLD_FILES)


def require_plain(tensors: dict[str, Tensor], *, file_bytes: int) -> None:
    """Make sure that tensors which were read are no more than what the file holds.

    Raises:
        ValueError: A tensor is not dense on the CPU, or repeats a few numbers as if they were many.
    """
    import torch

    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise ValueError(f"tensor {shown(name)} is not a plain one")
        if tensor.numel() * tensor.element_size() > min(tensor.untyped_storage().nbytes(), file_bytes):
            raise ValueError(f"tensor {shown(name)} has {tensor.numel()} numbers, and the file has not so many")


def _check_archive(stream: IO[bytes], size: int) -> None:
    _require_one_directory(stream, size)
    try:
        with zipfile.ZipFile(stream) as archive:
            records = archive.infolist()
            for record in records:
                if record.compress_type != zipfile.ZIP_STORED or record.file_size != record.compress_size:
                    raise ValueError(f"record {record.filename[:80]!r} is compressed; torch.save compresses none")
            if sum(record.file_size for record in records) > size:
                raise ValueError("the records of the archive have more bytes than the file")
            pickles = [record for record in records if record.filename.endswith(".pkl")]
            if not pickles or sum(record.file_size for record in pickles) > _MAX_PICKLE_BYTES:
                raise ValueError("there is no pickle in the archive, or one of any size")
            for record in pickles:
                with archive.open(record) as pickle:
                    _check_pickles(pickle, 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"no readable archive: {error}") from None


def _require_one_directory(stream: IO[bytes], size: int) -> None:
    """Make sure that every reader of the archive finds the same list of records, and that it is short.

    Raises:
        ValueError: The list does not lie right before the end of the file, or is larger than 8 MiB.
    """
    stream.seek(max(0, size - _END_BYTES))
    end = stream.read(_END_BYTES)
    if len(end) < _END_BYTES or end[:4] != _END or end[-2:] != b"\0\0":
        raise ValueError("no list of records at the end of the archive")
    count, length, first = struct.unpack("<HII", end[10:20])
    behind = size - _END_BYTES
    locator = _at(stream, behind - _END64_PLACE_BYTES, _END64_PLACE_BYTES)
    if locator[:4] == _END64_PLACE:
        behind = int(struct.unpack("<Q", locator[8:16])[0])
        end64 = _at(stream, behind, _END64_BYTES)
        if end64[:4] != _END64 or behind != size - _END_BYTES - _END64_PLACE_BYTES - _END64_BYTES:
            raise ValueError("no list of records at the end of the archive")
        count, length, first = struct.unpack("<QQQ", end64[32:56])
    elif count == _ALL_16 or _ALL_32 in (length, first):
        raise ValueError("no list of records at the end of the archive")
    if length > _MAX_DIRECTORY_BYTES or first + length != behind:
        raise ValueError(f"a list of records of {length} bytes at {first} in a file of {size}")


def _at(stream: IO[bytes], position: int, length: int) -> bytes:
    stream.seek(max(0, position))
    return stream.read(length)


def _check_pickles(stream: IO[bytes], count: int) -> None:
    """Look through the operations of successive pickles, of which nothing is carried out."""
    content = io.BytesIO(stream.read(_MAX_PICKLE_BYTES))
    operations = 0
    try:
        for _ in range(count):
            for operation, argument, _ in pickletools.genops(content):
                operations += 1
                if operations > _MAX_OPERATIONS:
                    raise ValueError(f"a pickle of more than {_MAX_OPERATIONS} operations")
                if operation.name == "GLOBAL" and not _is_known(str(argument).replace(" ", ".", 1)):
                    raise ValueError(f"holds other things than tensors: {str(argument)[:80]!r}")
    except (KeyError, IndexError, UnicodeDecodeError, struct.error, OverflowError, MemoryError) as error:
        raise ValueError(f"a damaged pickle: {error}") from None


def _is_known(name: str) -> bool:
    is_storage = name.startswith("torch.") and name.count(".") == 1 and name.endswith("Storage")
    return name in _KNOWN or name in _DTYPES or is_storage
