"""Trained TSNs of the two libraries in PyTorch: tsn-pytorch, and mmaction2 (ResNet-50).

https://github.com/yjxiong/tsn-pytorch, https://github.com/open-mmlab/mmaction2. The first has the backbone below
``base_model`` and the classifier in ``new_fc``; the second below ``backbone``, each convolution in a module with its
normalisation, and the classifier in ``cls_head.fc_cls``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from kineflow.models.normalisation import TORCHVISION, TSN_PYTORCH, Normalisation
from kineflow.models.weight_sources.source import Source, Tensors, sees_rgb

if TYPE_CHECKING:
    from torch import Tensor

_BASE, _NEW_HEAD = "base_model.", "new_fc."
_BN_INCEPTION = "base_model.conv1_7x7_s2.weight"
_RESNET = "base_model.conv1.weight"

_OF_MODULE = re.compile(r"backbone\.(.*?)(conv|downsample)(\d?)\.(conv|bn)\.(\w+)")
_MMACTION_HEAD = "cls_head.fc_cls."
_MMACTION_STEM = "backbone.conv1.conv.weight"


def _is_bn_inception(names: Collection[str]) -> bool:
    return _BN_INCEPTION in names


def _is_resnet(names: Collection[str]) -> bool:
    return _RESNET in names and "base_model.bn1.weight" in names


def _tsn_pytorch(tensors: Tensors) -> dict[str, Tensor]:
    return {
        f"fc.{name.removeprefix(_NEW_HEAD)}" if name.startswith(_NEW_HEAD) else name.removeprefix(_BASE): tensor
        for name, tensor in tensors.items()
    }


def _bn_inception_takes(tensors: Tensors) -> Normalisation | None:
    return TSN_PYTORCH if sees_rgb(tensors[_BN_INCEPTION]) else None


def _resnet_takes(tensors: Tensors) -> Normalisation | None:
    return TORCHVISION if sees_rgb(tensors[_RESNET]) else None


def _is_mmaction(names: Collection[str]) -> bool:
    return {_MMACTION_STEM, f"{_MMACTION_HEAD}weight", "backbone.layer1.0.conv1.conv.weight"} <= set(names)


def _mmaction(tensors: Tensors) -> dict[str, Tensor]:
    return {_mmaction_name(name): tensor for name, tensor in tensors.items()}


def _mmaction_name(name: str) -> str:
    if name.startswith(_MMACTION_HEAD):
        return f"fc.{name.removeprefix(_MMACTION_HEAD)}"
    match = _OF_MODULE.fullmatch(name)
    if match is None:
        return name
    before, kind, number, part, tensor = match.groups()
    if kind == "downsample":
        return f"{before}downsample.{0 if part == 'conv' else 1}.{tensor}"
    return f"{before}{part}{number}.{tensor}"


def _mmaction_takes(tensors: Tensors) -> Normalisation | None:
    return TORCHVISION if sees_rgb(tensors[_MMACTION_STEM]) else None


TSN_PYTORCH_BN_INCEPTION = Source(
    "a TSN of tsn-pytorch", "bn_inception", _is_bn_inception, _tsn_pytorch, _bn_inception_takes
)
TSN_PYTORCH_RESNET = Source("a TSN of tsn-pytorch on ResNet-50", "resnet50", _is_resnet, _tsn_pytorch, _resnet_takes)
MMACTION_TSN = Source("a TSN of mmaction2", "resnet50", _is_mmaction, _mmaction, _mmaction_takes)
