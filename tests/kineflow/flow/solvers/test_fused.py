"""The fused solver, held to the portable one and to its own layout."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kineflow.flow.solvers import fused, portable
from kineflow.flow.solvers import fused_kernels as kernels
from kineflow.flow.solvers.cubic import CubicSampler
from kineflow.flow.solvers.fused_iterations import iterate
from kineflow.flow.solvers.fused_median import median_5x5
from kineflow.flow.solvers.imaging import central_gradient
from kineflow.flow.solvers.vectors import LANES
from kineflow.spec.tvl1 import OPENCV_SHARPNESS, PRESETS, TVL1Params, tvl1_params

FIXED = TVL1Params(epsilon=0.0, outer_iterations=1, inner_iterations=20)
CPU = torch.device("cpu")


def frames(count: int, height: int, width: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Smooth textures that move by up to two pixels, uint8 [N, H, W]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    kx, ky = rng.uniform(-0.7, 0.7, (2, count, 40, 1, 1))
    phase, shift = rng.uniform(0, 2 * np.pi, (count, 40, 1, 1)), rng.uniform(-2, 2, (2, count, 1, 1, 1))

    def image(dx: object, dy: object) -> Tensor:
        waves = np.cos(kx * (x - dx) + ky * (y - dy) + phase).sum(1)
        return torch.from_numpy(np.clip(128 + 8 * waves, 0, 255).round().astype(np.uint8))

    return image(0, 0), image(*shift)


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 40), (40, 1), (2, 2), (16, 16), (17, 23), (24, 32), (25, 33), (49, 15), (72, 80)]
)
def test_as_the_portable_solver(size: tuple[int, int]) -> None:
    first, second = frames(2, *size)
    difference = (fused.solve(first, second, FIXED) - portable.solve(first, second, FIXED)).abs()
    # Rounding grows where nothing holds the flow: up to 0.0013 here, as far as the portable solver is from float64.
    assert difference.mean() < 5e-3


@pytest.mark.parametrize("name", PRESETS)
def test_presets_as_the_portable_solver(name: str) -> None:
    params = tvl1_params(name, outer_iterations=min(3, PRESETS[name].outer_iterations))
    first, second = frames(3, 50, 61)
    difference = (fused.solve(first, second, params) - portable.solve(first, second, params)).abs()
    assert difference.mean() < 0.02  # measured: up to 0.007; a pair may stop one iteration later


def test_other_parameters_as_the_portable_solver() -> None:
    params = TVL1Params(
        tau=0.2, lambda_=0.1, theta=0.4, scales=3, scale_step=0.7, warps=3, median=3, presmoothing=0.8,
        check_every=4, outer_iterations=2, cubic_sharpness=-0.6, border="clamp",
    )  # fmt: skip
    first, second = frames(2, 41, 37)
    difference = (fused.solve(first, second, params) - portable.solve(first, second, params)).abs()
    assert difference.mean() < 2e-3


def test_pairs_threads_and_runs_do_not_matter() -> None:
    first, second = frames(5, 40, 52)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = torch.cat([fused.solve(first[n : n + 1], second[n : n + 1], PRESETS["capped"]) for n in range(5)])
        torch.set_num_threads(4)
        assert torch.equal(fused.solve(first, second, PRESETS["capped"]), alone)
        assert torch.equal(fused.solve(first, second, PRESETS["capped"]), alone)
    finally:
        torch.set_num_threads(before)


PROGRAM = """
import hashlib, torch
from kineflow.flow.solvers import fused
from kineflow.spec.tvl1 import tvl1_params
y, x = torch.meshgrid(torch.arange(90), torch.arange(71), indexing="ij")
first = ((x * x // 9 + y * y // 5 + x * y // 7) % 256)[None].to(torch.uint8)
flow = fused.solve(first, first.roll(1, 2), tvl1_params("opencv", presmoothing=0.6, outer_iterations=3))
print(hashlib.sha256(flow.numpy().tobytes()).hexdigest())
"""
# What else decides digits by the CPU: torch's and OpenCV's own loops, and Intel's library inside OpenCV.
OLDER_CPU = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma,+bmi,+bmi2,+f16c,+lzcnt,+movbe,+popcnt,-avx512f",
    "ATEN_CPU_CAPABILITY": "default",
    "OPENCV_CPU_DISABLE": "AVX512_SKX,AVX2",
    "OPENCV_IPP": "disabled",
}


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="other CPUs than x86-64 are not compiled for")
def test_the_same_bits_on_another_cpu(tmp_path: Path) -> None:
    """Held also by ``tests/kineflow/sets/known_results.json``, on whatever CPU the tests run."""
    found = []
    for cpu in ({}, OLDER_CPU):
        environment = {**os.environ, **cpu, "NUMBA_CACHE_DIR": str(tmp_path / ("older" if cpu else "this"))}
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    assert found[0] == found[1]


class Block:
    """A block of iterations on fields of noise."""

    limit, tau, slope = np.float32(0.045), np.float32(0.25), np.float32(0.25 / 0.3)

    def __init__(self, height: int, width: int) -> None:
        stride, rng = -(-width // LANES) * LANES, np.random.default_rng(0)
        self.fields = np.zeros((6, height + 2, stride), np.float32)
        self.term = np.zeros((4, height + 2, stride), np.float32)
        self.fields[:2, 1:-1, :width] = rng.normal(size=(2, height, width), scale=5)
        self.term[:, 1:-1, :width] = rng.normal(size=(4, height, width))
        self.inside = (np.arange(stride) < width - 1).astype(np.float32)

    def iterate(self, iterations: int, settled: float = -1.0, check_every: int = 1) -> tuple[int, int]:
        state, term = self.fields.reshape(6, -1), self.term.reshape(4, -1)
        arguments = (self.limit, self.tau, self.slope, settled, iterations, check_every, 0)
        done: tuple[int, int] = iterate(state, np.full_like(state, np.nan), term, self.inside, *arguments)
        return done


def test_padding_stays_zero() -> None:
    height, width = 30, 35
    block = Block(height, width)
    block.iterate(7)
    outside = block.fields.copy()
    outside[:, 1:-1, :width] = 0
    assert not outside.any()
    along_x, along_y = block.fields[[2, 4], 1:-1], block.fields[[3, 5], 1:-1]
    assert not along_x[:, :, width - 1].any()
    assert not along_y[:, -1].any()
    assert along_x[:, :, : width - 1].all()


@pytest.mark.parametrize("size", [(1, 1), (1, 20), (5, 1), (24, 16), (30, 35), (49, 33)])
def test_a_wavefront_does_the_iterations_one_by_one(size: tuple[int, int]) -> None:
    together, alone = Block(*size), Block(*size)
    together.iterate(21)
    for _ in range(21):
        alone.iterate(1)
    assert together.fields.tobytes() == alone.fields.tobytes()


@pytest.mark.parametrize("check_every", [1, 3])
def test_a_wavefront_stops_where_the_rule_fires(check_every: int) -> None:
    """Also within a wavefront: noise makes updates that fall faster than expected, from the thirteenth iteration on."""
    start, states, sums = 2, [], []
    alone = Block(30, 35)
    alone.iterate(start)
    for _ in range(24):
        before = alone.fields[:2].astype(np.float64)
        alone.iterate(1)
        states.append(alone.fields.copy())
        sums.append(float(((alone.fields[:2] - before) ** 2).sum()))
    for last in range(check_every, 25, check_every):
        together = Block(30, 35)
        together.iterate(start)
        assert together.iterate(24, settled=1.001 * sums[last - 1], check_every=check_every) == (last, -1)
        assert together.fields.tobytes() == states[last - 1].tobytes()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 40), (3, 16), (6, 3), (17, 33)])
@pytest.mark.parametrize("levels", [3, 1000])
def test_median_as_opencv(size: tuple[int, int], levels: int) -> None:
    height, width = size
    field = np.zeros((height + 2, -(-width // LANES) * LANES), np.float32)
    field[1:-1, :width] = np.random.default_rng(0).integers(-levels, levels, size)
    expected = np.zeros_like(field)
    expected[1:-1, :width] = cv2.medianBlur(np.ascontiguousarray(field[1:-1, :width]), 5)
    median_5x5(field.reshape(-1), height, width)
    np.testing.assert_array_equal(field, expected)


def test_counts_its_work() -> None:
    first, second = frames(2, 24, 30)
    second[1] = first[1]
    counted = fused.count_updates(first, second, FIXED)
    one_warp = 24 * 30 + 19 * 24  # two levels; the third would be 15 px high
    assert counted.tolist() == [5 * 20 * one_warp] * 2
    stopped = fused.count_updates(first, second, TVL1Params(outer_iterations=1))
    assert stopped[1] == 5 * one_warp  # equal frames: one iteration a warp
    assert stopped[1] < stopped[0] <= 5 * 30 * one_warp


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    reach=st.sampled_from([0.0, 1.0, 40.0]),
    sharpness=st.sampled_from([OPENCV_SHARPNESS, -0.5]),
    clamped=st.booleans(),
)
def test_the_warp_samples_as_the_portable_sampler(
    seed: int, size: tuple[int, int], reach: float, sharpness: float, clamped: bool
) -> None:
    height, width = size
    rng = np.random.default_rng(seed)
    first, second = rng.uniform(0, 255, (2, height, width)).astype(np.float32)
    level = fused._Level(height, width, fused._Memory(height, width))
    level.flow[:] = rng.uniform(-reach, reach, (2, height, width))
    kernels.interleave(second, level.image, clamped)
    kernels.linearise(first, level.image, level.state, level.term, np.float32(sharpness))
    constant, by_u, by_v, inverse = level.term.reshape(4, height + 2, -1)[:, 1:-1, :width]

    images = torch.from_numpy(second)[None, None]
    images = torch.cat((images, *central_gradient(images)), dim=1)
    sampler = CubicSampler(images, sharpness=sharpness, border="clamp" if clamped else "zeros")
    flow = torch.from_numpy(level.flow.copy())
    warped, along_x, along_y = sampler.at(flow[None])[0].numpy()
    np.testing.assert_allclose(by_u, along_x, atol=0.02)
    np.testing.assert_allclose(by_v, along_y, atol=0.02)
    np.testing.assert_allclose(constant + by_u * level.flow[0] + by_v * level.flow[1] + first, warped, atol=0.05)
    np.testing.assert_allclose(inverse, 1 / np.maximum(by_u**2 + by_v**2, np.finfo(np.float32).eps), rtol=1e-5)


@pytest.mark.parametrize(
    ("params", "device", "reason"),
    [
        (TVL1Params(gamma=0.1), CPU, "gamma"),
        (TVL1Params(median=7), CPU, "median of 7"),
        (TVL1Params(), torch.device("cuda"), "not on cuda"),
    ],
)
def test_says_what_it_cannot_do(params: TVL1Params, device: torch.device, reason: str) -> None:
    assert reason in fused.why_not(params, device)
    assert not fused.why_not(TVL1Params(), CPU)
