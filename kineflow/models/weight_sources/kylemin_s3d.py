"""Kyle Min's S3D of Kinetics-400 in PyTorch: ``base.0.conv_s.weight`` and so on.

https://github.com/kylemin/S3D. The network is torchvision's S3D, each convolution in a module with its normalisation,
and the two of a split one (over space ``_s``, over time ``_t``) in one. Frames are RGB in −1..1.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from kineflow.models.normalisation import HALF_RANGE, Normalisation
from kineflow.models.weight_sources.source import Source, Tensors, sees_rgb

if TYPE_CHECKING:
    from torch import Tensor

_LAYER = re.compile(r"base\.(\d+)\.(?:(branch\d)\.(\d)\.)?(conv|bn)(_[st])?\.(\w+)")
_HALVES = {"_s": "0.", "_t": "1."}
_STEM = "base.0.conv_s.weight"


def _holds(names: Collection[str]) -> bool:
    return {_STEM, "base.5.branch1.1.conv_t.weight"} <= set(names)


def _renamed(tensors: Tensors) -> dict[str, Tensor]:
    return {_name(name): tensor for name, tensor in tensors.items()}


def _name(name: str) -> str:
    if name.startswith("fc.0."):
        return f"classifier.1.{name.removeprefix('fc.0.')}"
    match = _LAYER.fullmatch(name)
    if match is None:
        return name
    stage, branch, place, part, half, tensor = match.groups()
    within = ""
    if branch:
        within = f"{branch}." if branch == "branch0" else f"{branch}.{place}."
    return f"features.{stage}.{within}{_HALVES.get(half, '')}{0 if part == 'conv' else 1}.{tensor}"


def _takes(tensors: Tensors) -> Normalisation | None:
    return HALF_RANGE if sees_rgb(tensors[_STEM]) else None


KYLEMIN_S3D = Source("Kyle Min's S3D", "s3d", _holds, _renamed, _takes)
