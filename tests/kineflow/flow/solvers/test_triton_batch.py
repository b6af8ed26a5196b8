"""The Triton solver, held to the portable one; without a GPU its kernels run in Triton's interpreter.

Triton chooses between interpreter and compiler when it is imported, so the choice is made here while tests are being
collected, before any test runs: nothing else in Kineflow imports Triton at the head of a module. The interpreter takes
some 20 ms a program, hence small frames, few iterations and large programs.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")

from kineflow.flow.solvers import fused, portable, triton_batch, triton_level  # noqa: E402
from kineflow.flow.solvers.cubic import CubicSampler  # noqa: E402
from kineflow.flow.solvers.imaging import central_gradient, median_filter  # noqa: E402
from kineflow.flow.solvers.triton_level import LevelSolver, Tiling  # noqa: E402
from kineflow.spec.tvl1 import Border, TVL1Params, tvl1_params  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.gpu]

ROUNDING_PX = 1e-3  # measured: up to 5e-5
SHIFTS = [(1.5, -0.75), (0.0, 0.0), (-2.0, 1.0)]
ONE_LEVEL = TVL1Params(scales=1, warps=1, epsilon=0.0, outer_iterations=1, inner_iterations=3)


@pytest.fixture(autouse=True)
def large_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole small frame in one program, where programs are slow; tests that are about strips cut it themselves."""
    if DEVICE == "cpu":
        cut(monkeypatch, threads=1024, rows=2)


def cut(monkeypatch: pytest.MonkeyPatch, *, threads: int, rows: int) -> None:
    triton_level.level.cache_clear()
    monkeypatch.setattr(triton_level, "_THREADS", threads)
    monkeypatch.setattr(triton_level, "_ROWS", rows)


def pairs(*shifts: tuple[float, float], size: tuple[int, int] = (18, 26), seed: int = 0) -> tuple[Tensor, Tensor]:
    """Frames [N, H, W] of one smooth texture, and the same displaced by each shift (dx, dy)."""
    generator = torch.Generator().manual_seed(seed)
    wave_x, wave_y, phase = torch.rand(3, 40, 1, 1, generator=generator)
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")

    def at(dx: float, dy: float) -> Tensor:
        waves = ((1.4 * wave_x - 0.7) * (x - dx) + (1.4 * wave_y - 0.7) * (y - dy) + 6.28 * phase).cos()
        return (128 + 8 * waves.sum(0)).clamp(0, 255).to(torch.uint8)

    return torch.stack([at(0, 0)] * len(shifts)).to(DEVICE), torch.stack([at(*shift) for shift in shifts]).to(DEVICE)


def assert_as_portable(first: Tensor, second: Tensor, params: TVL1Params) -> None:
    ours, reference = triton_batch.solve(first, second, params), portable.solve(first, second, params)
    torch.testing.assert_close(ours, reference, atol=ROUNDING_PX, rtol=0)


def test_twenty_iterations() -> None:
    params = TVL1Params(scales=1, warps=1, epsilon=0.0, outer_iterations=1, inner_iterations=20)
    assert_as_portable(*pairs(SHIFTS[0]), params)


def test_levels_and_warps() -> None:
    params = TVL1Params(scales=2, warps=2, epsilon=0.0, outer_iterations=1, inner_iterations=5)
    assert_as_portable(*pairs(*SHIFTS[:2], size=(23, 31)), params)


def test_odd_numbers_of_iterations_and_several_warps() -> None:
    params = TVL1Params(scales=1, warps=3, epsilon=0.0, outer_iterations=2, inner_iterations=1)
    assert_as_portable(*pairs(SHIFTS[0]), params)


def test_other_parameters() -> None:
    params = TVL1Params(
        tau=0.2, lambda_=0.1, theta=0.4, scales=1, warps=2, epsilon=0.0, outer_iterations=1, inner_iterations=3,
        median=3, cubic_sharpness=-0.5, border="clamp", presmoothing=0.8,
    )  # fmt: skip
    assert_as_portable(*pairs(SHIFTS[0]), params)


@pytest.mark.parametrize("size", [(17, 23), (1, 9), (9, 1), (1, 1), (2, 2), (5, 62), (4, 64)])
def test_any_size(size: tuple[int, int]) -> None:
    assert_as_portable(*pairs(SHIFTS[0], size=size), ONE_LEVEL)


def test_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    cut(monkeypatch, threads=64, rows=3)  # two lanes of three rows, 32 columns
    first, second = pairs(SHIFTS[0], size=(11, 70))
    assert Tiling.of(11, 70).grid == (3, 2)
    params = TVL1Params(scales=1, warps=1, epsilon=0.5, outer_iterations=1, inner_iterations=4)
    assert_as_portable(first, second, params)


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (
            1,
            10,
        ),  # settles after 6 iterations of the first warp and 4 of the second: others follow that it must not make
        (2, 6),  # settles with the last iteration of a block: no median and no iteration may follow
        (3, 2),  # settles in a later block
    ],
)
def test_the_stop_rule_in_blocks(outer: int, inner: int) -> None:
    params = TVL1Params(scales=1, warps=2, epsilon=0.15, outer_iterations=outer, inner_iterations=inner)
    first, second = pairs(SHIFTS[0], SHIFTS[1])
    assert_as_portable(first, second, params)
    _, work = triton_batch.solve_counted(first, second, params)
    moving, still = (work // first[0].numel()).tolist()
    assert still == params.warps
    if outer < 3:
        assert moving == 6 + 4
    if not fused.why_not(params, torch.device("cpu")):
        assert work.tolist() == fused.count_updates(first.cpu(), second.cpu(), params).tolist()


def test_a_settled_warp_is_launched_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[tuple[int, int]] = []
    monkeypatch.setattr(LevelSolver, "_launch", lambda self, first, last: launched.append((first, last)))
    level = LevelSolver(Tiling.of(18, 26), 2, tvl1_params("cuda"), torch.device("cpu"))
    level._made[0], level._started[:] = 12, torch.tensor([0, -1])
    level._warp()
    assert launched == [(1, 30)]
    launched.clear()
    level._made[0] = 30
    level._warp()
    assert launched == [(1, 30), (31, 60)]


@pytest.mark.long
@pytest.mark.parametrize("name", ["opencv", "cuda", "capped"])
def test_presets(name: str) -> None:
    short = {"outer_iterations": 2, "inner_iterations": 15} if name == "opencv" else {}
    params = tvl1_params(name, warps=2, epsilon=0.03, **short)
    assert_as_portable(*pairs(*SHIFTS), params)


@pytest.mark.parametrize("looked_every", [1, 2])
def test_the_stop_rule_stops_at_its_first_look(looked_every: int) -> None:
    stopping = TVL1Params(scales=1, warps=2, epsilon=1e30, outer_iterations=2, inner_iterations=3)
    stopping = stopping.model_copy(update={"check_every": looked_every})
    first, second = pairs(SHIFTS[0])
    _, work = triton_batch.solve_counted(first, second, stopping)
    assert work.tolist() == [looked_every * stopping.warps * first[0].numel()]
    assert_as_portable(first, second, stopping)


def test_looks_fall_between_the_iterations_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = pairs(*SHIFTS[:2])
    params = TVL1Params(scales=1, warps=2, epsilon=0.1, outer_iterations=2, inner_iterations=4)
    whole = triton_batch.solve(first, second, params)
    monkeypatch.setattr(triton_level, "_ITERATIONS_A_LOOK", 3)
    triton_level.level.cache_clear()
    assert torch.equal(triton_batch.solve(first, second, params), whole)


def test_a_pair_depends_on_nothing_but_itself() -> None:
    """One that settles at once beside one that never does, in any order, alone, in a full or a second sub-batch."""
    params = TVL1Params(scales=1, warps=2, epsilon=0.01, outer_iterations=1, inner_iterations=3)
    first, second = pairs(*SHIFTS, (0.7, 0.2))
    together, work = triton_batch.solve_counted(first, second, params)
    assert (work // first[0].numel()).tolist() == [6, 2, 6, 6]
    order = torch.tensor([1, 3, 0, 2])
    assert torch.equal(triton_batch.solve(first[order], second[order], params), together[order])
    assert torch.equal(triton_batch.solve(first[3:], second[3:], params)[0], together[3])


def test_a_second_run_gives_the_same_bits() -> None:
    first, second = pairs(SHIFTS[0])
    params = ONE_LEVEL.model_copy(update={"epsilon": 0.01})
    assert torch.equal(triton_batch.solve(first, second, params), triton_batch.solve(first, second, params))


@pytest.mark.parametrize("preset", ["capped", "cuda", "fast"])
def test_flat_and_equal_frames_do_not_move(preset: str) -> None:
    params = tvl1_params(preset, warps=2)
    flat, texture = torch.full((1, 18, 26), 90, dtype=torch.uint8, device=DEVICE), pairs((0, 0))[0]
    first = torch.cat((flat, flat, texture))
    second = torch.cat((flat, flat + 100, texture))
    assert not triton_batch.solve(first, second, params).any()


def test_noise_gives_finite_flow_and_nothing_is_written_to_the_frames() -> None:
    frames = torch.randint(0, 256, (2, 18, 26), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    first, second = frames[:1].float().to(DEVICE), frames[1:].float().to(DEVICE)
    kept = first.clone(), second.clone()
    assert triton_batch.solve(first, second, ONE_LEVEL).isfinite().all()
    assert torch.equal(first, kept[0])
    assert torch.equal(second, kept[1])


def test_a_frame_that_is_not_a_number_does_not_spread() -> None:
    first, second = pairs(SHIFTS[0], SHIFTS[2])
    alone = triton_batch.solve(first[1:], second[1:], ONE_LEVEL)
    broken = second.float()
    broken[0] = float("nan")
    triton_batch.solve(first, broken, ONE_LEVEL)
    assert torch.equal(triton_batch.solve(first, broken, ONE_LEVEL)[1:], alone)
    assert torch.equal(triton_batch.solve(first[1:], second[1:], ONE_LEVEL), alone)


def test_no_pairs_give_no_flow() -> None:
    nothing = torch.empty(0, 20, 30, dtype=torch.uint8, device=DEVICE)
    assert triton_batch.solve(nothing, nothing, ONE_LEVEL).shape == (0, 2, 20, 30)


def level_with(flow: Tensor, second: Tensor, params: TVL1Params) -> LevelSolver:
    level = LevelSolver(Tiling.of(*flow.shape[2:]), len(flow), params, torch.device(DEVICE))
    level._load(torch.zeros_like(second), second, flow)
    return level


@pytest.mark.parametrize("window", [3, 5])
@pytest.mark.parametrize("size", [(9, 13), (1, 4), (3, 1)])
def test_the_median_is_that_of_imaging(window: int, size: tuple[int, int]) -> None:
    flow = torch.randn(2, 2, *size, generator=torch.Generator().manual_seed(window)).to(DEVICE)
    level = level_with(flow, flow[:, 0], TVL1Params(median=window))
    level._started.zero_()
    level._launch_median(1, look=False)
    assert torch.equal(level._pixels(level._filtered).transpose(1, 2), median_filter(flow, window))


@pytest.mark.parametrize("border", ["zeros", "clamp"])
@pytest.mark.parametrize("sharpness", [-0.75, -0.5])
def test_the_warp_is_that_of_the_sampler(border: Border, sharpness: float) -> None:
    generator = torch.Generator().manual_seed(0)
    second = (torch.rand(1, 9, 13, generator=generator) * 255).to(DEVICE)
    flow = ((torch.rand(1, 2, 9, 13, generator=generator) - 0.5) * 30).to(DEVICE)  # many leave the frame
    flow[0, :, 0, 0], flow[0, :, 1, 1] = 1e12, -1e12
    level = level_with(flow, second, TVL1Params(border=border, cubic_sharpness=sharpness))
    level._launch_linearise()
    images = torch.stack((second, *central_gradient(second)), dim=1)
    image, x, y = CubicSampler(images, sharpness=sharpness, border=border).at(flow).unbind(1)
    expected = torch.stack((image - x * flow[:, 0] - y * flow[:, 1], x, y), dim=1)
    ordinary = flow.abs().amax(1) < 1e6
    ours = level._pixels(level._problem).transpose(1, 2)
    torch.testing.assert_close(ours[:, 1:], expected[:, 1:], atol=0.01, rtol=0)
    torch.testing.assert_close(ours[:, 0][ordinary], expected[:, 0][ordinary], atol=0.05, rtol=0)


@given(
    st.builds(
        TVL1Params, outer_iterations=st.integers(1, 12), inner_iterations=st.integers(1, 400), check_every=st.just(1)
    )
)
def test_segments_cover_a_warp_and_keep_to_blocks(params: TVL1Params) -> None:
    segments = triton_level._segments(params)
    covered = [iteration for first, last in segments for iteration in range(first, last + 1)]
    assert covered == list(range(1, params.outer_iterations * params.inner_iterations + 1))
    blocks = [[(iteration - 1) // params.inner_iterations for iteration in segment] for segment in segments]
    assert all(first == last for first, last in blocks)


@given(st.integers(1, 5000), st.integers(1, 8000))
def test_strips_cover_a_frame(height: int, width: int) -> None:
    tiling = Tiling.of(height, width)
    across, down = tiling.grid
    assert (across - 1) * tiling.columns < width <= across * tiling.columns
    assert (down - 1) * tiling.lanes * tiling.rows < height <= tiling.lines - 2
    assert tiling.strips <= triton_level._MOST_STRIPS
    assert tiling.pitch >= width + 2
    assert tiling.pitch % 32 == 0


def test_what_it_cannot() -> None:
    gpu, here = torch.device("cuda"), torch.device(DEVICE)
    assert triton_batch.why_not(TVL1Params(), gpu) == ""
    assert triton_batch.why_not(TVL1Params(), here) == "", "triton was imported before this file could choose"
    assert "gamma" in triton_batch.why_not(TVL1Params(gamma=1.0), gpu)
    assert "1, 3, 5, not 7" in triton_batch.why_not(TVL1Params(median=7), gpu)
    assert "meta" in triton_batch.why_not(TVL1Params(), torch.device("meta"))


def _in_fresh_python(program: str) -> str:
    """Run where Triton compiles rather than interprets."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_an_interpreter_the_cpu_is_refused() -> None:
    program = """
import torch
from kineflow.spec.tvl1 import TVL1Params
from kineflow.flow.tvl1 import why_not
print(why_not("triton", TVL1Params(), torch.device("cpu")))
"""
    assert "needs a CUDA device" in _in_fresh_python(program)


def test_kernels_compile_for_a_gpu_that_is_not_here() -> None:
    program = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from kineflow.flow.solvers import triton_kernels as kernels

FLOATS = {"limit", "tau", "steepness", "settled", "sharpness"}
POINTERS = {name: "*fp32" for name in ("state", "filtered", "problem", "frames", "partials")}
POINTERS |= {"started": "*i32", "made": "*i32"}

def compiled(kernel, **constants):
    kind = lambda name: POINTERS.get(name, "fp32" if name in FLOATS else "i32")
    names = kernel.arg_names
    source = ASTSource(
        fn=kernel,
        signature={name: "constexpr" if name in constants else kind(name) for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in names if name in POINTERS},
    )
    ptx = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4}).asm["ptx"]
    assert "atom" not in ptx
    return ptx

cut = {"PITCH": 352, "PARTIALS": 128, "COLUMNS": 128}
ptx = compiled(kernels.iterate, **cut, LANES=1, ROWS=8, AFTER_MEDIAN=False, LOOK=True, MEASURE=True)
assert ptx.count("ld.global") < 60 and ".local" not in ptx
compiled(kernels.iterate, **cut, LANES=1, ROWS=8, AFTER_MEDIAN=True, LOOK=False, MEASURE=False)
compiled(kernels.filter_flow, **cut, ROWS=1, SIZE=5, LOOK=True)
compiled(kernels.filter_flow, **cut, ROWS=1, SIZE=3, LOOK=False)
compiled(kernels.linearise, PITCH=352, COLUMNS=128, ROWS=1)
"""
    _in_fresh_python(program)


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


@needs_gpu
def test_on_a_gpu_as_the_other_solvers() -> None:
    params = TVL1Params(epsilon=0.0, outer_iterations=1, inner_iterations=20)
    first, second = pairs(*SHIFTS, size=(90, 132))
    ours = triton_batch.solve(first, second, params)
    assert torch.equal(triton_batch.solve(first, second, params), ours)
    assert (ours - portable.solve(first, second, params)).abs().mean() < 0.02
    if not fused.why_not(params, torch.device("cpu")):
        assert (ours.cpu() - fused.solve(first.cpu(), second.cpu(), params)).abs().mean() < 0.02


@needs_gpu
@pytest.mark.parametrize("preset", ["opencv", "capped"])
def test_on_a_gpu_sub_batches_and_graphs_change_nothing(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    params = tvl1_params(preset)
    first, second = pairs(*SHIFTS, *SHIFTS, size=(90, 132))
    whole, work = triton_batch.solve_counted(first, second, params)
    parts, work_of_parts = triton_batch.solve_counted(first, second, params, working_set_bytes=0)
    assert torch.equal(whole, parts)
    assert torch.equal(work, work_of_parts)
    monkeypatch.setattr(LevelSolver, "_recorded", LevelSolver._unrecorded)
    triton_level.level.cache_clear()
    assert torch.equal(triton_batch.solve(first, second, params), whole)
