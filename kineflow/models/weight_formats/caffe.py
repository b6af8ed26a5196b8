"""Caffe's ``.caffemodel``: a message ``NetParameter`` of its ``caffe.proto``; layers' names and blobs are read.

Layers have had three forms: ``LayerParameter`` of today, ``V1LayerParameter`` of 2014 (VGG-16, GoogLeNet), and within
that ``V0LayerParameter`` of 2013. Only the numbers of their fields differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kineflow.models.weight_formats.wire import WireReader, as_bytes, varints

Blob = npt.NDArray[np.float32] | npt.NDArray[np.float64]


class _Form(NamedTuple):
    """Numbers of a layer's fields; 0 for none."""

    name: int
    blobs: int
    older: int = 0


_V0 = _Form(name=1, blobs=50)
_FORMS = {100: _Form(name=1, blobs=7), 2: _Form(name=4, blobs=6, older=1)}  # by number of the net's field
_SHAPE, _FLOATS, _DOUBLES = 7, 5, 8
_OLD_SIDES = (1, 2, 3, 4)  # num, channels, height, width
_MOST_FIELDS, _MOST_SIDES, _MOST_NAME_BYTES = 200_000, 8, 500


def read_caffe(path: Path) -> Mapping[str, Blob]:
    """Blobs by layer and place, such as ``conv1_1.0`` (the kernel, float [out,in,h,w]) and ``conv1_1.1`` (the bias).

    Memory is what the file has in bytes.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no Caffe model, or damaged.
    """
    reader = WireReader(_MOST_FIELDS)
    blobs: dict[str, Blob] = {}
    for number, layer in reader.fields(memoryview(path.read_bytes())):
        if number in _FORMS:
            for key, blob in _layer(reader, as_bytes(layer), _FORMS[number]).items():
                if key in blobs:
                    raise ValueError(f"two layers are called {key.rpartition('.')[0]!r}")
                blobs[key] = blob
    if not blobs:
        raise ValueError("no layer has weights")
    return blobs


def _layer(reader: WireReader, message: memoryview, form: _Form) -> dict[str, Blob]:
    name, blobs = "", []
    for number, value in reader.fields(message):
        if number == form.name:
            if len(text := as_bytes(value)) > _MOST_NAME_BYTES:
                raise ValueError(f"a layer's name of {len(text)} bytes")
            name = bytes(text).decode("utf-8")
        elif number == form.blobs:
            blobs.append(_blob(reader, as_bytes(value)))
        elif form.older and number == form.older:
            return _layer(reader, as_bytes(value), _V0)
    return {f"{name}.{place}": blob for place, blob in enumerate(blobs)}


def _blob(reader: WireReader, message: memoryview) -> Blob:
    shape: list[int] = []
    old = dict.fromkeys(_OLD_SIDES, 0)
    parts: dict[int, list[memoryview]] = {_FLOATS: [], _DOUBLES: []}
    for number, value in reader.fields(message):
        if number in parts:
            parts[number].append(as_bytes(value))
        elif number == _SHAPE:
            for _, given in reader.fields(as_bytes(value)):
                shape += [given] if isinstance(given, int) else varints(given[: 10 * _MOST_SIDES])
        elif number in old and isinstance(value, int):
            old[number] = value
    sides = shape or [side or 1 for side in old.values()]
    kind = _DOUBLES if parts[_DOUBLES] else _FLOATS
    content = parts[kind][0] if len(parts[kind]) == 1 else b"".join(parts[kind])
    item = np.dtype("<f8" if kind == _DOUBLES else "<f4")
    if len(sides) > _MOST_SIDES or math.prod(sides) * item.itemsize != len(content):
        raise ValueError(f"a blob of shape {sides[:_MOST_SIDES]} with {len(content)} bytes of numbers")
    return np.frombuffer(content, item).reshape(sides)
