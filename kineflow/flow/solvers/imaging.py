"""The image operations TV-L1 stands on: resize, gradient, smoothing and median, batched and the same on every device.

They follow OpenCV's conventions (pixel centres, replicated borders), because flow is compared with OpenCV's, and
avoid convolutions and matrix products, which a GPU may round to ten bits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def resize_bilinear(images: Tensor, size: tuple[int, int], *, step_px: tuple[float, float] | None = None) -> Tensor:
    """Resize without antialiasing, as OpenCV's ``INTER_LINEAR``.

    Args:
        images: float [..., H, W].
        size: (height, width) of the result.
        step_px: Source pixels per result pixel, (y, x); by default the ratio of the sizes.

    Returns:
        float [..., height, width].
    """
    height, width = images.shape[-2:]
    step_y, step_x = step_px or (height / size[0], width / size[1])
    above, below, weight_y = _neighbours(height, size[0], step_y, images)
    rows = torch.lerp(images.index_select(-2, above), images.index_select(-2, below), weight_y[:, None])
    left, right, weight_x = _neighbours(width, size[1], step_x, images)
    return torch.lerp(rows.index_select(-1, left), rows.index_select(-1, right), weight_x)


def _neighbours(source: int, target: int, step_px: float, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both source pixels each target pixel lies between, and the weight of the second."""
    centres = (torch.arange(target, dtype=torch.float64) + 0.5) * step_px - 0.5
    centres = centres.clamp_(0, source - 1)
    first = centres.floor()
    weight = (centres - first).to(like.device, like.dtype)
    first = first.to(torch.int64)
    return first.to(like.device), (first + 1).clamp_(max=source - 1).to(like.device), weight


def central_gradient(images: Tensor) -> tuple[Tensor, Tensor]:
    """Half differences over x and over y of float [..., H, W], with replicated borders."""
    along_x, along_y = torch.zeros_like(images), torch.zeros_like(images)
    torch.sub(images[..., 2:], images[..., :-2], out=along_x[..., 1:-1])
    torch.sub(images[..., 2:, :], images[..., :-2, :], out=along_y[..., 1:-1, :])
    if images.shape[-1] > 1:
        along_x[..., 0] = images[..., 1] - images[..., 0]
        along_x[..., -1] = images[..., -1] - images[..., -2]
    if images.shape[-2] > 1:
        along_y[..., 0, :] = images[..., 1, :] - images[..., 0, :]
        along_y[..., -1, :] = images[..., -1, :] - images[..., -2, :]
    return along_x.mul_(0.5), along_y.mul_(0.5)


def gaussian_blur(images: Tensor, sigma_px: float) -> Tensor:
    """Separable Gaussian of float [N, C, H, W], cut at 4 sigma, with replicated borders."""
    radius = math.ceil(4 * sigma_px)
    weights = [math.exp(-(tap**2) / (2 * sigma_px**2)) for tap in range(-radius, radius + 1)]
    total = sum(weights)
    for dim, padding in ((-1, (radius, radius, 0, 0)), (-2, (0, 0, radius, radius))):
        length = images.shape[dim]
        padded = functional.pad(images, padding, mode="replicate")
        images = torch.zeros_like(images)
        for tap, weight in enumerate(weights):
            images += padded.narrow(dim, tap, length) * (weight / total)  # fused, it would differ from CPU to CPU
    return images


def median_filter(images: Tensor, size: int) -> Tensor:
    """Median of float [N, C, H, W] over size × size windows (odd), with replicated borders.

    Forgetful selection: of the first half of a window's values and two more, the least and the greatest cannot be the
    median; drop both, take one more value, and go on. Every comparison runs on whole images, so nothing is sorted.
    """
    radius, (height, width) = size // 2, images.shape[-2:]
    padded = functional.pad(images, (radius,) * 4, mode="replicate")
    window = [padded[..., y : y + height, x : x + width] for y in range(size) for x in range(size)]
    held = window[: size * size // 2 + 2]
    for value in window[len(held) :]:
        _extremes_to_ends(held)
        held = [*held[1:-1], value]
    _extremes_to_ends(held)
    return held[1]


def _extremes_to_ends(held: list[Tensor]) -> None:
    """Reorder elementwise so that the least comes first and the greatest last, in about 3n/2 comparisons."""
    last = len(held) - 1
    for low in range((last + 1) // 2):
        _order(held, low, last - low)
    for low in range(1, last // 2 + 1):
        _order(held, 0, low)
    for high in range((last + 1) // 2, last):
        _order(held, high, last)


def _order(held: list[Tensor], low: int, high: int) -> None:
    held[low], held[high] = torch.minimum(held[low], held[high]), torch.maximum(held[low], held[high])
