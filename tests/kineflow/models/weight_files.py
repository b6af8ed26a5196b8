"""Writes files as the frameworks do: Caffe's by its schema, MATLAB's by scipy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch
from torch import Tensor, nn

Arrays = Mapping[str, Sequence[np.ndarray]]


def varint(number: int) -> bytes:
    head, rest = number & 0x7F, number >> 7
    return bytes([head | 0x80]) + varint(rest) if rest else bytes([head])


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def blob(array: np.ndarray, *, old: bool = False, double: bool = False) -> bytes:
    if old:  # num, channels, height, width
        sides = (1,) * (4 - array.ndim) + array.shape
        shape = b"".join(varint(number << 3) + varint(side) for number, side in enumerate(sides, 1))
    else:
        shape = field(7, field(1, b"".join(map(varint, array.shape))))
    data = field(8, array.astype("<f8").tobytes()) if double else field(5, array.astype("<f4").tobytes())
    return shape + data


def caffemodel(layers: Arrays, *, form: int = 2) -> bytes:
    """A net whose layers are of the form of today (2), of 2014 (1) or of 2013 (0)."""
    written = field(1, b"a net")
    for name, arrays in layers.items():
        blobs = [blob(np.asarray(array), old=form < 2) for array in arrays]
        if form == 2:
            written += field(100, field(1, name.encode()) + field(2, b"Kind") + b"".join(field(7, b) for b in blobs))
        elif form == 1:
            written += field(2, field(4, name.encode()) + b"\x28\x04" + b"".join(field(6, b) for b in blobs))
        else:
            written += field(2, field(1, field(1, name.encode()) + b"".join(field(50, b) for b in blobs)))
    return written


def matlab(path: Path, variables: Mapping[str, Any], *, compressed: bool = True) -> None:
    scipy.io.savemat(path, variables, do_compression=compressed)


def structs(entries: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """A struct array [1,n]."""
    array = np.empty((1, len(entries)), dtype=[(key, object) for key in entries[0]])
    for place, entry in enumerate(entries):
        for key, value in entry.items():
            array[0, place][key] = value
    return array


def cells(entries: Sequence[Any]) -> np.ndarray:
    """A cell array [1,n]."""
    array = np.empty((1, len(entries)), dtype=object)
    for place, entry in enumerate(entries):
        array[0, place] = entry
    return array


def dag(parameters: Mapping[str, np.ndarray], average: np.ndarray) -> dict[str, Any]:
    """A DagNN with these parameters."""
    return {
        "params": structs([{"name": name, "value": value} for name, value in parameters.items()]),
        "meta": {"normalization": {"averageImage": average, "imageSize": np.array([[224.0, 224.0, 3.0]])}},
    }


def drawn(network: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """The weights of a network, with statistics of normalisation that are not those of the start."""
    generator = torch.Generator().manual_seed(seed)
    state = network.state_dict()
    for name, tensor in state.items():
        if name.endswith(("running_mean", "bias")):
            tensor.normal_(std=0.3, generator=generator)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0, generator=generator)
        elif tensor.ndim == 1:
            tensor.uniform_(0.5, 1.5, generator=generator)
    return state
