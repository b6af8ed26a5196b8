"""Hyper-parameters that the backbones share: how wide, how deep in strides, how much dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    from torch import Tensor

_CHANNEL_MULTIPLE = 8
_WIDEST = 16.0


def channels_at(width: float) -> Callable[[int], int]:
    """From the paper's channels of a layer to those at ``width``: multiples of 8, at least 8; 1 changes nothing.

    Raises:
        KineflowError: ``width`` is not above 0, or above 16.
    """
    _require("width", width, 0 < width <= _WIDEST, f"a number above 0, up to {_WIDEST:g}")

    def scaled(channels: int) -> int:
        return max(_CHANNEL_MULTIPLE, _CHANNEL_MULTIPLE * int(channels * width / _CHANNEL_MULTIPLE + 0.5))

    return scaled


def late_strides(output_stride: int) -> tuple[int, int]:
    """Strides of a backbone's last two halvings, so that its map is ``output_stride`` times smaller than its image.

    32 is every paper's. Small frames need 16 or 8: one of 64 px is left with 2×2 cells by 32 and has 8×8 by 8, enough
    for attention to choose from. Weights are the same for all three.

    Raises:
        KineflowError: ``output_stride`` is another number.
    """
    strides = {32: (2, 2), 16: (2, 1), 8: (1, 1)}
    _require("output_stride", output_stride, output_stride in strides, "8, 16 or 32")
    return strides[output_stride]


def require_probability(name: str, value: float) -> None:
    """Check a dropout.

    Raises:
        KineflowError: ``value`` is below 0, or not below 1.
    """
    _require(name, value, 0 <= value < 1, "a probability below 1")


def require_side(images: Tensor, least_px: int) -> None:
    """Check that images [N,C,H,W] are large enough to leave something of the map.

    Raises:
        KineflowError: A side is shorter than ``least_px``.
    """
    height, width = images.shape[-2:]
    if min(height, width) < least_px:
        raise KineflowError(
            f"frames of {width}x{height} px are too small for this network",
            remedy=f"give it at least {least_px} px each way: a larger crop",
        )


def _require(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise KineflowError(f"{name} of a network must be {allowed}, not {value!r}", remedy=f"correct {name}")
