"""The frames of a batch of pairs at each level, coarse ones made from finer ones."""

from __future__ import annotations

from torch import Tensor

from kineflow.flow.solvers.imaging import gaussian_blur, resize_bilinear
from kineflow.spec.tvl1 import LEAST_SIDE_PX, TVL1Params


def level_sizes(height: int, width: int, params: TVL1Params) -> list[tuple[int, int]]:
    """(height, width) of each level, finest first; a level with a side below 16 px is left out, the first never."""
    sizes = [(height, width)]
    while len(sizes) < params.scales:
        height, width = round(height * params.scale_step), round(width * params.scale_step)
        if min(height, width) < LEAST_SIDE_PX:
            break
        sizes.append((height, width))
    return sizes


def pyramid(first: Tensor, second: Tensor, params: TVL1Params) -> list[tuple[Tensor, Tensor]]:
    """Both frames, float [N, 1, H, W], presmoothed where the parameters ask for it, at each level, finest first."""
    if params.presmoothing:
        first, second = gaussian_blur(first, params.presmoothing), gaussian_blur(second, params.presmoothing)
    step = 1 / params.scale_step
    levels = [(first, second)]
    for size in level_sizes(first.shape[-2], first.shape[-1], params)[1:]:
        first, second = (resize_bilinear(frame, size, step_px=(step, step)) for frame in levels[-1])
        levels.append((first, second))
    return levels
