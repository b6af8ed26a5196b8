"""Batch normalisation as frameworks of before PyTorch keep it, in PyTorch's four tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-5
"""Of torch's layers, and of Caffe's."""


def from_statistics(name: str, mean: Tensor, variance: Tensor, scale: Tensor, shift: Tensor) -> dict[str, Tensor]:
    """Of plain statistics, each [C] in any shape of C numbers.

    Args:
        name: Of the layer to be.
        mean, variance: That the layer subtracts and divides by.
        scale, shift: Applied after it.
    """
    return {
        f"{name}.weight": scale.flatten(),
        f"{name}.bias": shift.flatten(),
        f"{name}.running_mean": mean.flatten(),
        f"{name}.running_var": variance.flatten(),
    }


def from_moments(name: str, moments: Tensor, scale: Tensor, shift: Tensor) -> dict[str, Tensor]:
    """Of MatConvNet's moments [C,2]: means, and deviations that have its ε within.

    Torch adds its own ε to the variance; where that is larger than the whole, the scale makes up for it.
    """
    mean, deviation = moments[:, 0], moments[:, 1].double()
    variance = (deviation**2 - EPSILON).clamp(min=0)
    corrected = scale.flatten().double() * (variance + EPSILON).sqrt() / deviation
    return from_statistics(name, mean, variance.float(), corrected.float(), shift)


def without_bias(tensors: dict[str, Tensor], convolution: str, layer: str) -> None:
    """Take the bias of a convolution out, into the mean of the normalisation after it."""
    bias = tensors.pop(f"{convolution}.bias", None)
    if bias is not None:
        tensors[f"{layer}.running_mean"] = tensors[f"{layer}.running_mean"] - bias
