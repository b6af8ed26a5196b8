"""MatConvNet's networks in MAT-files: ``DagNN``, of named parameters, and ``SimpleNN``, of layers with weights.

https://www.vlfeat.org/matconvnet/. Parameters of both get DagNN's names: ``conv1_filter``, ``conv1_bias``, and of batch
normalisation ``bn_conv1_mult``, ``bn_conv1_bias`` and ``bn_conv1_moments``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kineflow.models.weight_formats.bounds import memory_for
from kineflow.storage.mat_file import read_mat
from kineflow.storage.names import shown

AVERAGE_IMAGE = "meta.normalization.averageImage"
"""Beside the parameters: what is subtracted from an image, float [h,w,channels]."""

_OF_LAYER = {"bnorm": ("mult", "bias", "moments")}
_OF_CONVOLUTION = ("filter", "bias")
_MOST_NAME_LETTERS = 500


def read_matconvnet(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    """Parameters by name, in MATLAB's shape: a kernel is [h,w,in,out]; and :data:`AVERAGE_IMAGE`, where there is one.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no MAT-file of version 5 to 7, damaged, or holds no network.
    """
    variables = read_mat(path, max_bytes=memory_for(path.stat().st_size))
    net = _struct(variables.get("net")) or variables
    tensors: dict[str, npt.NDArray[Any]] = {}
    for name, value in _parameters(net):
        if len(name) > _MOST_NAME_LETTERS:
            raise ValueError(f"a parameter's name of {len(name)} letters")
        if not isinstance(value, np.ndarray):
            raise ValueError(f"parameter {shown(name)} is no array of numbers")
        if name in tensors:
            raise ValueError(f"two parameters are called {shown(name)}")
        tensors[name] = value
    if not tensors:
        raise ValueError("holds no network of MatConvNet: neither params nor layers with weights")
    normalization = _struct((_struct(net.get("meta")) or net).get("normalization"))
    average = normalization.get("averageImage")
    if isinstance(average, np.ndarray) and average.size:
        tensors[AVERAGE_IMAGE] = average
    return tensors


def _parameters(net: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for parameter in _structs(net.get("params")):
        yield str(parameter.get("name")), parameter.get("value")
    for layer in _structs(net.get("layers")):
        weights = layer.get("weights")
        if not isinstance(weights, list):
            weights = [layer[key] for key in ("filters", "biases") if key in layer]
        kinds = _OF_LAYER.get(str(layer.get("type")), _OF_CONVOLUTION)
        for kind, value in zip(kinds, weights, strict=False):
            if isinstance(value, np.ndarray) and value.size:
                yield f"{layer.get('name')}_{kind}", value


def _structs(value: Any) -> list[dict[str, Any]]:
    """Of a struct array, or of a cell array of structs."""
    values = value if isinstance(value, list) else []
    entries = (_struct(entry) if isinstance(entry, list) else entry for entry in values)
    return [entry for entry in entries if entry and isinstance(entry, dict)]


def _struct(value: Any) -> dict[str, Any]:
    """A single struct; empty of anything else."""
    return value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) else {}
