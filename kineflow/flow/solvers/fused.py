"""TV-L1 compiled for a CPU: one pair a thread, and every pass over memory does all it can.

Up to eight iterations run down the image together, while its rows are in cache: they read ten values a pixel and write
six, where OpenCV's seven passes move two and a half times as much for each of them. The warp reads I1 and its gradient
interleaved, so that one gather of sixteen taps serves all three, and writes the data term that the iterations need.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from kineflow.flow.solvers import fused_kernels as kernels
from kineflow.flow.solvers.fused_iterations import iterate
from kineflow.flow.solvers.fused_median import SIDE, median_5x5
from kineflow.flow.solvers.imaging import gaussian_blur
from kineflow.flow.solvers.instructions import CHANNELS
from kineflow.flow.solvers.pyramid import level_sizes
from kineflow.flow.solvers.vectors import LANES
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

    threads = min(torch.get_num_threads(), count)
    memories: SimpleQueue[_Memory] = SimpleQueue()
    for _ in range(threads):
        memories.put(_Memory(height, width))

    def solve_one(n: int) -> None:
        memory = memories.get()
        try:
            updates[n] = _coarse_to_fine(before[n], after[n], flow[n], memory, params)
        finally:
            memories.put(memory)

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


def _coarse_to_fine(first: Any, second: Any, flow: Any, memory: _Memory, params: TVL1Params) -> int:
    """Flow from ``first`` to ``second``, float32 [H, W], into ``flow`` [2, H, W]; returns the pixel updates."""
    levels, step = [(first, second)], 1 / params.scale_step
    for height, width in level_sizes(first.shape[0], first.shape[1], params)[1:]:
        first, second = (kernels.resize(frame, height, width, step, step) for frame in levels[-1])
        levels.append((first, second))
    coarser, updates = None, 0
    for first, second in reversed(levels):
        height, width = first.shape
        level = _Level(height, width, memory)
        if coarser is not None:
            steps = coarser.shape[1] / height, coarser.shape[2] / width
            for finer, coarse in zip(level.flow, coarser, strict=True):
                np.multiply(kernels.resize(coarse, height, width, *steps), np.float32(step), out=finer)
        updates += height * width * _solve_level(first, second, level, params)
        coarser = level.flow.copy()
    flow[:] = coarser
    return updates


class _Memory:
    """Room for the fields of the finest level, and so for those of each: fresh memory costs as much as an iteration."""

    def __init__(self, height: int, width: int) -> None:
        stride = _stride(width)
        # By torch, which aligns it to cache lines: a load that crosses two costs double.
        self.state, self.kept, self.term, self.image = (
            torch.empty(size).numpy()
            for size in (
                6 * (height + 2) * stride,
                6 * (height + 2) * stride,
                4 * (height + 2) * stride,
                _with_margins(height) * _with_margins(width) * CHANNELS,
            )
        )


class _Level:
    """The fields of one level, in the layout of :mod:`kineflow.flow.solvers.fused_iterations`."""

    def __init__(self, height: int, width: int, memory: _Memory) -> None:
        stride = _stride(width)
        size = (height + 2) * stride
        self.state = memory.state[: 6 * size].reshape(6, size)
        self.flow = self.state.reshape(6, height + 2, stride)[:2, 1:-1, :width]  # the part of it that is the flow
        self.kept = memory.kept[: 6 * size].reshape(6, size)
        self.term = memory.term[: 4 * size].reshape(4, size)
        self.inside = (np.arange(stride) < width - 1).astype(np.float32)
        sides = _with_margins(height), _with_margins(width), CHANNELS
        self.image = memory.image[: math.prod(sides)].reshape(sides)
        self.state[:] = self.term[:] = 0


def _stride(width: int) -> int:
    return -(-width // LANES) * LANES


def _with_margins(side: int) -> int:
    return side + kernels.MARGIN_BEFORE + kernels.MARGIN_AFTER


def _solve_level(first: Any, second: Any, level: _Level, params: TVL1Params) -> int:
    """Improve the flow of one level in place; returns the iterations."""
    kernels.interleave(second, level.image, params.border == "clamp")
    iterations = 0
    for _ in range(params.warps):
        kernels.linearise(first, level.image, level.state, level.term, np.float32(params.cubic_sharpness))
        iterations += _minimise(level, params)
    return iterations


def _filter(level: _Level, median: int) -> None:
    """The median of the flow of one level, in place."""
    if median == SIDE:
        for field in level.state[:2]:
            median_5x5(field, *level.flow.shape[1:])
    elif median > 1:
        for component in level.flow:
            component[:] = cv2.medianBlur(component, median)


def _minimise(level: _Level, params: TVL1Params) -> int:
    """Iterate until the stop rule is met or the iterations are spent, in place; returns their number."""
    limit, slope = params.lambda_ * params.theta, params.tau / params.theta
    settled = params.epsilon**2 * level.flow[0].size if params.epsilon else -1.0
    iterations = unchecked = 0
    for _ in range(params.outer_iterations):
        _filter(level, params.median)
        done, unchecked = iterate(
            level.state,
            level.kept,
            level.term,
            level.inside,
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
