"""Parameters of programs in Theano, as ``numpy.savez`` writes them: an archive of arrays, read without unpickling."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from kineflow.models.weight_formats.bounds import memory_for

_MOST_ARRAYS = 10_000
_SUFFIX = ".npy"
_WIDEST_BYTES = 8


def read_theano(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    """The arrays of numbers in an ``.npz`` by name. Others are pickles, and left out.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no such archive, damaged, holds no numbers, or expands to more than weights of its size can.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = [record for record in archive.infolist() if record.filename.endswith(_SUFFIX)]
            if len(records) > _MOST_ARRAYS or sum(record.file_size for record in records) > memory_for(
                path.stat().st_size
            ):
                raise ValueError("expands to more than weights of this file's size can be")
            arrays = {}
            for record in records:
                with archive.open(record) as stream:
                    array = _array(stream, record.file_size)
                if array is not None:
                    arrays[record.filename.removesuffix(_SUFFIX)] = array
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"no readable archive: {error}") from None
    if not arrays:
        raise ValueError("holds no arrays of numbers")
    return arrays


def _array(stream: IO[bytes], size: int) -> npt.NDArray[Any] | None:
    """An array of numbers; None of anything else."""
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of form {version[0]}.{version[1]}")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        shape, is_fortran, dtype = read_header(stream)
    except (tokenize.TokenError, SyntaxError, RecursionError, MemoryError):
        raise ValueError("an array whose header is no dictionary") from None
    if dtype.kind not in "fiub":
        return None
    if dtype.itemsize > _WIDEST_BYTES:
        raise ValueError(f"an array of {dtype.name}, whose form differs from machine to machine: save it as float64")
    content = stream.read(size)
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"an array of shape {list(shape)} with {len(content)} bytes")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
