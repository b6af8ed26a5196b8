"""GoogLeNet of Caffe's model zoo, ``bvlc_googlenet.caffemodel``; ALSTM attends over its ``inception_5b/output``.

https://github.com/BVLC/caffe/tree/master/models/bvlc_googlenet. The auxiliary classifiers, ``loss1`` and ``loss2``,
are left out.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from kineflow.models.normalisation import CAFFE, Normalisation
from kineflow.models.weight_sources.source import Source, Tensors, sees_rgb

if TYPE_CHECKING:
    from torch import Tensor

_STEM = "conv1/7x7_s2"
_BODY = ("conv1/", "conv2/", "inception_")
_CLASSIFIER = "loss3/classifier"
_AUXILIARY = ("loss1/", "loss2/")


def _holds(names: Collection[str]) -> bool:
    return f"{_STEM}.0" in names and "inception_3a/5x5.0" in names and f"{_STEM}_bn.0" not in names


def _renamed(tensors: Tensors) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in tensors.items():
        layer, _, place = name.rpartition(".")
        own = layer.replace("/", "_")
        if layer.startswith(_AUXILIARY):
            continue
        if not (layer.startswith(_BODY) or layer == _CLASSIFIER):
            renamed[name] = tensor
        elif place == "1":
            renamed[f"{own}.bias"] = tensor.flatten()
        else:
            renamed[f"{own}.weight"] = tensor.flatten(0, -2) if layer == _CLASSIFIER else tensor
    return renamed


def _takes(tensors: Tensors) -> Normalisation | None:
    return CAFFE if sees_rgb(tensors[f"{_STEM}.0"]) else None


CAFFE_GOOGLENET = Source("Caffe's GoogLeNet", "googlenet_caffe", _holds, _renamed, _takes)
