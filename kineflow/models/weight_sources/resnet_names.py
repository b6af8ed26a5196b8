"""Names of ResNet-50's layers in its authors' Caffe model, and in what was made of that."""

from __future__ import annotations

import re

_UNIT = re.compile(r"(res|bn|scale)([2-5])([a-f])_branch(1|2[abc])")
_STEM = {"conv1": "conv1", "bn_conv1": "bn1", "scale_conv1": "bn1"}


def torch_name(layer: str) -> str:
    """Torchvision's name of ``res3b_branch2a``, ``bn3b_branch2a``, ``scale3b_branch2a`` and such; empty for others."""
    if layer in _STEM:
        return _STEM[layer]
    match = _UNIT.fullmatch(layer)
    if match is None:
        return ""
    kind, stage, unit, branch = match.groups()
    is_convolution = kind == "res"
    if branch == "1":
        inner = f"downsample.{0 if is_convolution else 1}"
    else:
        inner = f"{'conv' if is_convolution else 'bn'}{'abc'.index(branch[1]) + 1}"
    return f"layer{int(stage) - 1}.{'abcdef'.index(unit)}.{inner}"
