"""ResNet-50 of its authors, ``ResNet-50-model.caffemodel``.

https://github.com/KaimingHe/deep-residual-networks. ``BatchNorm`` has three blobs: sums of means and of variances, and
the factor that they were summed by; ``Scale`` after it has scale and shift. The first convolution has a bias. Its
average image is a file of its own; Caffe's mean pixel stands for it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from kineflow.models.normalisation import CAFFE, Normalisation
from kineflow.models.weight_sources.normalisation_layers import from_statistics, without_bias
from kineflow.models.weight_sources.resnet_names import torch_name
from kineflow.models.weight_sources.source import Source, Tensors, sees_rgb

if TYPE_CHECKING:
    from torch import Tensor


def _holds(names: Collection[str]) -> bool:
    return {"conv1.0", "res2a_branch2a.0", "bn2a_branch2a.2", "scale2a_branch2a.0"} <= set(names)


def _renamed(tensors: Tensors) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        layer, _, place = name.rpartition(".")
        own = torch_name(layer)
        if layer.startswith("fc"):
            renamed["fc.weight" if place == "0" else "fc.bias"] = (
                tensor.flatten(0, -2) if place == "0" else tensor.flatten()
            )
        elif own and layer.startswith("bn"):
            if place == "0":
                renamed |= _norm(tensors, layer, own)
        elif own and layer.startswith("scale"):
            continue
        elif own:
            renamed[f"{own}.weight" if place == "0" else f"{own}.bias"] = tensor if place == "0" else tensor.flatten()
        else:
            renamed[name] = tensor
    without_bias(renamed, "conv1", "bn1")
    return renamed


def _norm(tensors: Tensors, layer: str, own: str) -> dict[str, Tensor]:
    mean, variance, factor = (tensors[f"{layer}.{place}"] for place in range(3))
    scale, shift = (tensors[f"scale{layer.removeprefix('bn')}.{place}"] for place in range(2))
    return from_statistics(own, mean / factor, variance / factor, scale, shift)


def _takes(tensors: Tensors) -> Normalisation | None:
    return CAFFE if sees_rgb(tensors["conv1.0"]) else None


CAFFE_RESNET = Source("the authors' ResNet-50 in Caffe", "resnet50_caffe", _holds, _renamed, _takes)
