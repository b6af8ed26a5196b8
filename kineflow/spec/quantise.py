"""Flow in 8 bit: clipped to ±bound and mapped linearly to 0..255, as TSN and its successors store it.

255 is odd, so that no value means 0: zero motion becomes 128 and comes back as half a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    from torch import Tensor

FlowValues = TypeVar("FlowValues", NDArray[Any], "Tensor")

DEFAULT_BOUND_PX = 20.0
LARGEST_VALUE = 255


def px_to_scale(flow_px: FlowValues, bound_px: float) -> FlowValues:
    """Map [-bound, bound] px of an array or a tensor to [0, 255]; neither rounded nor clipped, so a gradient passes."""
    return (flow_px + bound_px) * (LARGEST_VALUE / (2 * bound_px))


def scale_to_px(values: FlowValues, bound_px: float) -> FlowValues:
    """Map [0, 255] back to [-bound, bound] px: float values of an array or a tensor."""
    return values * (2 * bound_px / LARGEST_VALUE) - bound_px


def quantise(flow_px: NDArray[Any], bound_px: float) -> NDArray[np.uint8]:
    """Map [-bound, bound] px to 0..255, clipping what lies outside.

    Args:
        flow_px: float, any shape.
        bound_px: Above 0. The largest error is half a step, ``bound_px / 255``.

    Returns:
        uint8, same shape.

    Raises:
        KineflowError: The bound is not above 0.
    """
    _check(bound_px)
    values = np.rint(px_to_scale(flow_px, bound_px))
    quantised: NDArray[np.uint8] = np.clip(values, 0, LARGEST_VALUE, out=values).astype(np.uint8)
    return quantised


def quantise_tensor(flow_px: Tensor, bound_px: float) -> Tensor:
    """What :func:`quantise` gives, computed where the flow is: uint8 of the same shape."""
    import torch

    _check(bound_px)
    return px_to_scale(flow_px, bound_px).round_().clamp_(0, LARGEST_VALUE).to(torch.uint8)


def dequantise(flow: NDArray[np.uint8], bound_px: float) -> NDArray[np.float32]:
    """Map 0..255 back to pixels: float32, same shape. Zero motion comes back as half a step, not as 0.

    Raises:
        KineflowError: The bound is not above 0.
    """
    _check(bound_px)
    return scale_to_px(flow.astype(np.float32), bound_px)


def _check(bound_px: float) -> None:
    if not bound_px > 0:
        raise KineflowError(f"flow cannot be bounded by {bound_px} px", remedy="give a bound_px above 0")
