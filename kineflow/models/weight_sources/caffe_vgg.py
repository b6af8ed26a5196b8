"""VGG-16 of its authors in Caffe, ``VGG_ILSVRC_16_layers.caffemodel``, and as jcjohnson has put it into PyTorch.

https://gist.github.com/ksimonyan/211839e770f7b538e2d8, https://github.com/jcjohnson/pytorch-vgg. Both take BGR less
the mean pixel; the second has torchvision's names but for ``fc6`` and ``fc7``, which its dropout shifts by one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from kineflow.models.normalisation import CAFFE_VGG, Normalisation
from kineflow.models.weight_sources.source import Source, Tensors, sees_rgb
from kineflow.models.weight_sources.vgg_names import torch_name

if TYPE_CHECKING:
    from torch import Tensor

_SHIFTED = {"classifier.1.": "classifier.0.", "classifier.4.": "classifier.3."}


def _holds(names: Collection[str]) -> bool:
    return {"conv1_1.0", "conv5_3.0", "fc6.0"} <= set(names) and "conv5_4.0" not in names


def _renamed(tensors: Tensors) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in tensors.items():
        layer, _, place = name.rpartition(".")
        own = torch_name(layer)
        if not own:
            renamed[name] = tensor
        elif place == "1":
            renamed[f"{own}.bias"] = tensor.flatten()
        else:
            renamed[f"{own}.weight"] = tensor if own.startswith("features") else tensor.flatten(0, -2)
    return renamed


def _takes(tensors: Tensors) -> Normalisation | None:
    return CAFFE_VGG if sees_rgb(tensors["conv1_1.0"]) else None


def _is_shifted(names: Collection[str]) -> bool:
    return {"features.28.weight", "classifier.1.weight", "classifier.4.weight"} <= set(names)


def _unshifted(tensors: Tensors) -> dict[str, Tensor]:
    return {_SHIFTED.get(name[:13], name[:13]) + name[13:]: tensor for name, tensor in tensors.items()}


def _takes_shifted(tensors: Tensors) -> Normalisation | None:
    return CAFFE_VGG if sees_rgb(tensors["features.0.weight"]) else None


CAFFE_VGG16 = Source("the authors' VGG-16 in Caffe", "vgg16", _holds, _renamed, _takes)
JCJOHNSON_VGG16 = Source("jcjohnson's VGG-16 from Caffe", "vgg16", _is_shifted, _unshifted, _takes_shifted)
