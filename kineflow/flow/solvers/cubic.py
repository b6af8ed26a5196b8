"""Bicubic sampling of images at displaced pixels, the warp of TV-L1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from kineflow.spec.tvl1 import OPENCV_SHARPNESS, Border

_REACH = 2  # pixels beyond the image that the cubic kernel can still see something of


class CubicSampler:
    """Samples a fixed stack of images at x + u(x), for many u.

    Args:
        images: float [N, C, H, W].
        sharpness: The kernel's free parameter: -0.75 is OpenCV's ``INTER_CUBIC``, -0.5 is Catmull-Rom.
        border: What lies outside of the image: 0 (``zeros``) or the nearest pixel (``clamp``).
    """

    def __init__(self, images: Tensor, *, sharpness: float, border: Border) -> None:
        self._sharpness, self._border = sharpness, border
        height, width = images.shape[-2:]
        if border == "clamp":
            images = functional.pad(images, (_REACH + 1,) * 4, mode="replicate")
        if sharpness == OPENCV_SHARPNESS:
            images = _on_power_of_two_canvas(images)
        self._images = images
        self._x = torch.arange(width, device=images.device, dtype=images.dtype)
        self._y = torch.arange(height, device=images.device, dtype=images.dtype)[:, None]

    def at(self, flow: Tensor) -> Tensor:
        """Sample at x + u(x), y + v(x): flow float [N, 2, H, W] in pixels gives float [N, C, H, W]."""
        x, y = self._x + flow[:, 0], self._y + flow[:, 1]
        if self._border == "clamp":
            # Beyond _REACH pixels outside every tap sees the same edge pixel; the padding holds all taps of the rest.
            height, width = flow.shape[-2:]
            x = x.clamp_(-_REACH, width - 1 + _REACH).add_(_REACH + 1)
            y = y.clamp_(-_REACH, height - 1 + _REACH).add_(_REACH + 1)
        if self._sharpness == OPENCV_SHARPNESS:
            return _grid_sample(self._images, x, y)
        return _gather_taps(self._images, x, y, self._sharpness)


def _on_power_of_two_canvas(images: Tensor) -> Tensor:
    """Put images on a zero canvas whose sides are powers of two.

    ``grid_sample`` takes coordinates in [-1, 1]; dividing by a power of two is exact, so whole pixels stay whole and
    the sample at zero flow is the image itself, to the last bit.
    """
    height, width = images.shape[-2:]
    canvas = images.new_zeros(*images.shape[:2], _power_of_two(height), _power_of_two(width))
    canvas[..., :height, :width] = images
    return canvas


def _power_of_two(at_least: int) -> int:
    return 1 << (at_least - 1).bit_length()


def _grid_sample(canvas: Tensor, x: Tensor, y: Tensor) -> Tensor:
    height, width = canvas.shape[-2:]
    grid = torch.stack((x, y), dim=-1).mul_(2).add_(1)
    grid[..., 0].div_(width).sub_(1)
    grid[..., 1].div_(height).sub_(1)
    return functional.grid_sample(canvas, grid, mode="bicubic", padding_mode="zeros", align_corners=False)


def _gather_taps(images: Tensor, x: Tensor, y: Tensor, sharpness: float) -> Tensor:
    """Bicubic sampling for any kernel sharpness, zero outside, as a weighted sum of 4 × 4 neighbours."""
    count, channels, height, width = images.shape
    left, top = x.floor(), y.floor()
    weights_x, weights_y = _cubic_weights(x - left, sharpness), _cubic_weights(y - top, sharpness)
    left, top = left.clamp_(-4, width + 4).to(torch.int64), top.clamp_(-4, height + 4).to(torch.int64)
    flat = images.flatten(2)
    sampled = images.new_zeros(count, channels, *x.shape[1:])
    for j, weight_y in enumerate(weights_y):
        row = top + (j - 1)
        for i, weight_x in enumerate(weights_x):
            column = left + (i - 1)
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            taps = flat.gather(2, index.flatten(1)[:, None].expand(-1, channels, -1)).view_as(sampled)
            sampled.addcmul_(taps, (weight_x * weight_y * inside)[:, None])
    return sampled


def _cubic_weights(offset: Tensor, sharpness: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Keys' kernel at the four pixels -1, 0, 1, 2 for an offset in [0, 1)."""

    def near(t: Tensor) -> Tensor:
        return ((sharpness + 2) * t - (sharpness + 3)) * t * t + 1

    def far(t: Tensor) -> Tensor:
        return ((t - 5) * t + 8) * t * sharpness - 4 * sharpness

    return far(offset + 1), near(offset), near(1 - offset), far(2 - offset)
