"""ResNet-50 of Hugging Face's ``transformers``, such as ``microsoft/resnet-50``, which is torchvision's.

Its files are ``model.safetensors`` and ``pytorch_model.bin``; units that halve the map do so in the 3×3 convolution.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from kineflow.models.normalisation import TORCHVISION, Normalisation
from kineflow.models.weight_sources.source import Source, Tensors, sees_rgb

if TYPE_CHECKING:
    from torch import Tensor

_STEM = "resnet.embedder.embedder.convolution.weight"
_UNIT = re.compile(
    r"resnet\.encoder\.stages\.(\d)\.layers\.(\d+)\.(?:layer\.(\d)|shortcut)\.(convolution|normalization)\.(\w+)"
)
_OTHERS = {
    "resnet.embedder.embedder.convolution.": "conv1.",
    "resnet.embedder.embedder.normalization.": "bn1.",
    "classifier.1.": "fc.",
}


def _holds(names: Collection[str]) -> bool:
    return {_STEM, "resnet.encoder.stages.0.layers.0.layer.2.convolution.weight"} <= set(names)


def _renamed(tensors: Tensors) -> dict[str, Tensor]:
    return {_name(name): tensor for name, tensor in tensors.items()}


def _name(name: str) -> str:
    for beginning, own in _OTHERS.items():
        if name.startswith(beginning):
            return own + name.removeprefix(beginning)
    match = _UNIT.fullmatch(name)
    if match is None:
        return name
    stage, unit, place, part, tensor = match.groups()
    is_convolution = part == "convolution"
    if place is None:
        inner = f"downsample.{0 if is_convolution else 1}"
    else:
        inner = f"{'conv' if is_convolution else 'bn'}{int(place) + 1}"
    return f"layer{int(stage) + 1}.{unit}.{inner}.{tensor}"


def _takes(tensors: Tensors) -> Normalisation | None:
    return TORCHVISION if sees_rgb(tensors[_STEM]) else None


HUGGINGFACE_RESNET = Source("ResNet-50 of Hugging Face's transformers", "resnet50", _holds, _renamed, _takes)
