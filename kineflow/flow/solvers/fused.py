"""TV-L1 compiled for a CPU: one pair a thread, and every pass over memory does all it can.

An iteration is one sweep down the image: once a few rows of u are new, the dual above them is renewed while they are
in cache. Per pixel it reads ten values and writes six, where OpenCV's seven passes move two and a half times as much.
The warp reads I1 and its gradient interleaved, so that one gather of sixteen taps serves all three, and writes the data
term that the iterations need.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from kineflow.flow.solvers import fused_kernels as kernels
from kineflow.flow.solvers.imaging import gaussian_blur
from kineflow.flow.solvers.instructions import CHANNELS, VECTOR
from kineflow.flow.solvers.pyramid import level_sizes
from kineflow.spec.tvl1 import TVL1Params

_MEDIANS = (1, 3, 5)  # what OpenCV filters in float


def why_not(params: TVL1Params, device: torch.device) -> str:
    """Why this solver cannot do ``params`` on ``device``; empty when it can."""
    if device.type != "cpu":
        return f"it runs on a CPU, not on {device}"
    if params.gamma:
        return "it estimates no change of brightness (gamma)"
    if params.median not in _MEDIANS:
        return f"a median of {params.median} px is none of {_MEDIANS}"
    return ""


def solve(first: Tensor, second: Tensor, params: TVL1Params) -> Tensor:
    """Flow between frames [N, H, W] on the CPU, as many pairs at once as torch has threads: float32 [N, 2, H, W]."""
    return torch.from_numpy(_solve(first, second, params)[0])


def count_updates(first: Tensor, second: Tensor, params: TVL1Params) -> Any:
    """Pixel updates that each pair takes, the measure of its work: int64 [N]."""
    return _solve(first, second, params)[1]


def _solve(first: Tensor, second: Tensor, params: TVL1Params) -> tuple[Any, Any]:
    count, height, width = first.shape
    before, after = (_presmoothed(frames, params).numpy() for frames in (first, second))
    flow = np.empty((count, 2, height, width), dtype=np.float32)
    updates = np.zeros(count, dtype=np.int64)

    def solve_one(n: int) -> None:
        updates[n] = _coarse_to_fine(before[n], after[n], flow[n], params)

    threads = min(torch.get_num_threads(), count)
    if threads > 1:
        with ThreadPoolExecutor(threads) as executor:
            list(executor.map(solve_one, range(count)))
    else:
        for n in range(count):
            solve_one(n)
    return flow, updates


def _presmoothed(frames: Tensor, params: TVL1Params) -> Tensor:
    frames = frames.detach().float()
    if params.presmoothing:
        frames = gaussian_blur(frames[:, None], params.presmoothing)[:, 0]
    return frames.contiguous()


def _coarse_to_fine(first: Any, second: Any, flow: Any, params: TVL1Params) -> int:
    """Flow from ``first`` to ``second``, float32 [H, W], into ``flow`` [2, H, W]; returns the pixel updates."""
    levels, step = [(first, second)], 1 / params.scale_step
    for height, width in level_sizes(first.shape[0], first.shape[1], params)[1:]:
        first, second = (kernels.resize(frame, height, width, step, step) for frame in levels[-1])
        levels.append((first, second))
    coarser, updates = None, 0
    for first, second in reversed(levels):
        height, width = first.shape
        level = _Level(height, width)
        if coarser is not None:
            steps = coarser.shape[1] / height, coarser.shape[2] / width
            for finer, coarse in zip(level.flow, np.ascontiguousarray(coarser), strict=True):
                np.multiply(kernels.resize(coarse, height, width, *steps), np.float32(step), out=finer)
        updates += height * width * _solve_level(first, second, level, params)
        coarser = level.flow
    flow[:] = coarser
    return updates


class _Level:
    """The fields of one level, in the layout of :mod:`kineflow.flow.solvers.fused_kernels`."""

    def __init__(self, height: int, width: int) -> None:
        stride = -(-width // VECTOR) * VECTOR
        state = np.zeros((6, height + 2, stride), dtype=np.float32)
        self.flow = state[:2, 1:-1, :width]  # the part of it that is the flow, [2, H, W]
        self.state = state.reshape(6, -1)
        self.term = np.zeros((4, (height + 2) * stride), dtype=np.float32)
        self.inside = np.tile((np.arange(stride) < width - 1).astype(np.float32), kernels.ROWS + 1)
        self.squares = np.empty(kernels.ROWS * stride, dtype=np.float32)
        sides = (side + kernels.MARGIN_BEFORE + kernels.MARGIN_AFTER for side in (height, width))
        self.image = np.empty((*sides, CHANNELS), dtype=np.float32)


def _solve_level(first: Any, second: Any, level: _Level, params: TVL1Params) -> int:
    """Improve the flow of one level in place; returns the iterations."""
    kernels.interleave(second, level.image, params.border == "clamp")
    iterations = 0
    for _ in range(params.warps):
        kernels.linearise(first, level.image, level.state, level.term, np.float32(params.cubic_sharpness))
        iterations += _minimise(level, params)
    return iterations


def _minimise(level: _Level, params: TVL1Params) -> int:
    """Iterate until the stop rule is met or the iterations are spent, in place; returns their number."""
    limit, slope = params.lambda_ * params.theta, params.tau / params.theta
    settled = params.epsilon**2 * level.flow[0].size if params.epsilon else -1.0
    iterations = unchecked = 0
    for _ in range(params.outer_iterations):
        if params.median > 1:
            for component in level.flow:
                component[:] = cv2.medianBlur(component, params.median)
        done, unchecked = kernels.iterate(
            level.state,
            level.term,
            level.inside,
            level.squares,
            np.float32(limit),
            np.float32(params.tau),
            np.float32(slope),
            settled,
            params.inner_iterations,
            params.check_every,
            unchecked,
        )
        iterations += done
        if unchecked < 0:
            break
    return iterations
