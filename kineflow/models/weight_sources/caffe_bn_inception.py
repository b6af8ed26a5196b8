"""TSN's own BN-Inception, of its Caffe: ``conv1/7x7_s2.0`` and so on.

https://github.com/yjxiong/temporal-segment-networks. Layers ``…_bn`` of type ``BN``, of that Caffe alone, have four
blobs: scale, shift, mean and variance. From 17 December 2015 to 27 April 2016 that Caffe wrote 1/√(variance + ε) as the
last (:func:`from_inverse_std`). The classifier is ``fc-action``; where there is none of this name, what the user has
called it. The auxiliary ones, ``loss1`` and ``loss2``, are left out.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from kineflow.models.normalisation import CAFFE, Normalisation
from kineflow.models.weight_sources.normalisation_layers import EPSILON, from_statistics
from kineflow.models.weight_sources.source import Source, Tensors, sees_rgb

if TYPE_CHECKING:
    from torch import Tensor

_STEM = "conv1/7x7_s2"
_BODY = ("conv1/", "conv2/", "inception_")
_HEAD = "fc-action"
_AUXILIARY = ("loss1/", "loss2/")


def _holds(names: Collection[str]) -> bool:
    return f"{_STEM}_bn.3" in names and "inception_3a/double_3x3_reduce.0" in names


def from_inverse_std(tensors: Tensors) -> dict[str, Tensor]:
    """The tensors of a file whose fourth blobs are inverse deviations, as a file of variances would have them."""
    return {
        name: (tensor.double() ** -2 - EPSILON).clamp(min=0).float() if _is_spread(name) else tensor
        for name, tensor in tensors.items()
    }


def _is_spread(name: str) -> bool:
    return name.startswith(_BODY) and name.endswith("_bn.3")


def _renamed(tensors: Tensors) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    heads = {name.rpartition(".")[0] for name in tensors if not name.startswith((*_BODY, *_AUXILIARY))}
    head = _HEAD if _HEAD in heads else heads.pop() if len(heads) == 1 else ""
    for name in tensors:
        layer, _, place = name.rpartition(".")
        own = layer.replace("/", "_")
        if layer.startswith(_BODY) and layer.endswith("_bn"):
            if place == "0":
                scale, shift, mean, variance = (tensors[f"{layer}.{blob}"] for blob in range(4))
                renamed |= from_statistics(own, mean, variance, scale, shift)
            continue
        if not layer.startswith(_BODY):
            if layer.startswith(_AUXILIARY) or (head and layer != head):
                continue
            own = "last_linear" if head else ""
        if not own or place not in ("0", "1"):
            renamed[name] = tensors[name]
        elif place == "1":
            renamed[f"{own}.bias"] = tensors[name].flatten()
        else:
            renamed[f"{own}.weight"] = tensors[name] if own != "last_linear" else tensors[name].flatten(0, -2)
    return renamed


def _takes(tensors: Tensors) -> Normalisation | None:
    return CAFFE if sees_rgb(tensors[f"{_STEM}.0"]) else None


CAFFE_BN_INCEPTION = Source("BN-Inception of TSN's Caffe", "bn_inception", _holds, _renamed, _takes)
