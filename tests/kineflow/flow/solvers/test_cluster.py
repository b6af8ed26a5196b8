"""The cluster solver: its kernel runs here on the CPU, a thread for each thread, and is held to the portable solver.

``cuda_on_cpu.h`` gives the kernel threads, barriers and memory full of NaN; only what launches it needs a GPU.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from kineflow.flow.solvers import cluster, portable, runtime_compile
from kineflow.spec.tvl1 import PRESETS, TVL1Params
from kineflow.storage.errors import KineflowError

pytestmark = pytest.mark.slow

HARNESS = Path(__file__).with_name("cuda_on_cpu.h")
WARP_ON_CPU = 4  # as in HARNESS
H200_SHARED_BYTES = 232_448

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here: the kernel is NOT tested")


@pytest.fixture(scope="module", autouse=True)
def _forget_programs() -> Iterator[None]:
    yield
    if _program.cache_info().currsize:
        _folder().cleanup()
        _program.cache_clear()
        _folder.cache_clear()


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="cluster-kernel-")


@functools.cache
def _program(source: Path, definitions: runtime_compile.Definitions, sanitizer: str) -> Path:
    """The kernel compiled for the CPU."""
    program = Path(_folder().name) / "-".join(
        str(value) for _, value in (("", source.stem), *definitions, ("", sanitizer))
    )
    macros = [f"-D{name}={value}" for name, value in definitions] + [f'-DKERNEL="{source}"']
    extra = [f"-fsanitize={sanitizer}", "-g"] if sanitizer else []
    command = [
        "g++",
        "-std=c++20",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-unknown-pragmas",
        "-pthread",
        "-x",
        "c++",
    ]
    subprocess.run([*command, *extra, *macros, HARNESS, "-o", program], check=True)
    return program


def run_kernel(
    first: Tensor,
    second: Tensor,
    params: TVL1Params,
    *,
    blocks: int = 2,
    threads: int = 8,
    on_chip: int = 3,
    sanitizer: str = "",
) -> Tensor:
    """What ``cluster.solve`` does, with a CPU for the GPU."""
    count, height, width = first.shape
    layout = cluster.layout_of(height, width, cluster=blocks, on_chip=on_chip, threads=threads, warp=WARP_ON_CPU)
    levels, frames = cluster.pack(first, second, params)
    sizes = count, layout.shared_bytes, layout.workspace_floats, frames.shape[1], len(levels)
    settings = bytes(cluster.settings(params, levels=len(levels)))
    done = subprocess.run(
        [_program(cluster.SOURCE, cluster.definitions(layout, median=params.median, threads=threads), sanitizer)],
        input=struct.pack("5q", *sizes) + settings + levels.numpy().tobytes() + frames.numpy().tobytes(),
        capture_output=True,
        timeout=600,
        env=os.environ | {"TSAN_OPTIONS": "halt_on_error=1"},
    )
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr.decode()[:3000]}"
    flow = np.frombuffer(done.stdout, dtype=np.float32).reshape(count, 2, height, width)
    return torch.from_numpy(flow.copy())


def texture(shifts: list[tuple[float, float]], *, size: tuple[int, int], seed: int = 0) -> Tensor:
    """uint8 [N, H, W]: one sum of waves, displaced by each shift (dx, dy), px."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    (kx, ky), phase = rng.uniform(-0.7, 0.7, (2, 60, 1, 1)), rng.uniform(0, 2 * np.pi, (60, 1, 1))
    images = [np.cos(kx * (x - dx) + ky * (y - dy) + phase).sum(0) for dx, dy in shifts]
    return torch.from_numpy(np.clip(128 + 6 * np.stack(images), 0, 255).round().astype(np.uint8))


def pairs(size: tuple[int, int] = (29, 37), count: int = 1) -> tuple[Tensor, Tensor]:
    both = [texture([(0, 0), (1.7 - n, 0.8 * n - 0.6)], size=size, seed=n) for n in range(count)]
    return torch.stack([each[0] for each in both]), torch.stack([each[1] for each in both])


def assert_same_flow(ours: Tensor, expected: Tensor, *, mean_px: float = 1e-3) -> None:
    distance = (ours - expected).norm(dim=1)
    assert distance.mean() <= mean_px
    assert expected.norm(dim=1).mean() > 0.3, "the frames do not move"


def short(name: str, **changes: object) -> TVL1Params:
    """A preset that a few threads can finish: two blocks of iterations a warp at most, few iterations in each."""
    preset = PRESETS[name]
    fewer = {
        "outer_iterations": min(2, preset.outer_iterations),
        "inner_iterations": min(25, preset.inner_iterations),
    }
    return preset.model_copy(update=fewer | changes)


@needs_compiler
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_gives_the_portable_flow(name: str) -> None:
    first, second = pairs()
    assert_same_flow(run_kernel(first, second, short(name)), portable.solve(first, second, short(name)))


@needs_compiler
@pytest.mark.parametrize(  # each is compiled
    ("blocks", "threads"),
    [(2, 8), (4, 12), (1, 32), *(pytest.param(*other, marks=pytest.mark.long) for other in ((1, 8), (4, 8)))],
)
def test_any_number_of_blocks_and_threads_gives_the_portable_flow(blocks: int, threads: int) -> None:
    first, second = pairs()
    params = TVL1Params(outer_iterations=1, inner_iterations=20, epsilon=0, scales=3, warps=2)
    ours = run_kernel(first, second, params, blocks=blocks, threads=threads)
    assert_same_flow(ours, portable.solve(first, second, params))


@needs_compiler
@pytest.mark.parametrize("on_chip", [0, 1, 2])
def test_what_is_not_on_the_chip_changes_nothing(on_chip: int) -> None:
    first, second = pairs(count=2)
    params = short("capped", scales=3, warps=2)
    kept = run_kernel(first, second, params)
    assert torch.equal(run_kernel(first, second, params, on_chip=on_chip), kept)


@needs_compiler
@pytest.mark.parametrize(  # each is compiled
    ("size", "blocks"),
    [
        ((1, 1), 1), ((1, 9), 4), ((9, 1), 4), ((2, 3), 1), ((5, 4), 4), ((17, 16), 1), ((31, 7), 4),
        *(pytest.param(*other, marks=pytest.mark.long) for other in (
            ((1, 1), 4), ((1, 9), 1), ((9, 1), 1), ((2, 3), 4), ((5, 4), 1), ((17, 16), 4), ((31, 7), 1)
        )),
    ],
)  # fmt: skip
def test_any_size(size: tuple[int, int], blocks: int) -> None:
    first, second = pairs(size)
    params = short("capped", inner_iterations=10)
    ours, expected = run_kernel(first, second, params, blocks=blocks), portable.solve(first, second, params)
    torch.testing.assert_close(ours, expected, atol=0.02, rtol=0)


@needs_compiler
@pytest.mark.parametrize("levels", [(90, 90), (10, 200)])
@pytest.mark.parametrize("name", ["capped", "cuda"])
def test_no_texture_no_flow(name: str, levels: tuple[int, int]) -> None:
    first, second = (torch.full((1, 19, 22), level, dtype=torch.uint8) for level in levels)
    assert not run_kernel(first, second, short(name)).any()


@needs_compiler
@pytest.mark.parametrize("name", ["capped", "cuda"])
def test_equal_frames_do_not_move(name: str) -> None:
    first, _ = pairs()
    assert not run_kernel(first, first, short(name)).any()


@needs_compiler
def test_the_stop_rule_saves_iterations_and_is_the_portable_one() -> None:
    first, second = pairs()
    loose = short("capped", epsilon=0.05, scales=2, warps=2)
    ours = run_kernel(first, second, loose)
    assert_same_flow(ours, portable.solve(first, second, loose))
    never = run_kernel(first, second, loose.model_copy(update={"epsilon": 0}))
    assert (ours - never).norm(dim=1).mean() > 0.01


@needs_compiler
def test_the_stop_rule_looks_only_every_few_iterations() -> None:
    first, second = pairs()
    rarely = short("capped", epsilon=0.05, check_every=7, scales=2, warps=2)
    ours = run_kernel(first, second, rarely)
    assert_same_flow(ours, portable.solve(first, second, rarely))
    always = run_kernel(first, second, rarely.model_copy(update={"check_every": 1}))
    assert (ours - always).norm(dim=1).mean() > 0.01


@needs_compiler
@pytest.mark.parametrize("median", [1, 3, 5])
def test_median_windows(median: int) -> None:
    first, second = pairs()
    params = short("capped", median=median, inner_iterations=3, scales=2, warps=2)
    assert_same_flow(run_kernel(first, second, params), portable.solve(first, second, params))


@needs_compiler
@pytest.mark.parametrize("border", ["zeros", "clamp"])
@pytest.mark.parametrize("sharpness", [-0.75, -0.5])
def test_motion_out_of_the_frame_is_sampled_alike(sharpness: float, border: str) -> None:
    first, second = (frames[:, :18, :20] for frames in pairs((40, 40)))
    second = second.roll((5, -6), dims=(1, 2))
    params = short("capped", cubic_sharpness=sharpness, border=border, epsilon=0, inner_iterations=20, lambda_=0.6)
    ours, expected = run_kernel(first, second, params), portable.solve(first, second, params)
    assert expected.abs().max() > 4
    assert_same_flow(ours, expected, mean_px=0.02)


@needs_compiler
def test_a_rerun_is_equal_to_the_last_bit_and_a_pair_does_not_depend_on_its_batch() -> None:
    first, second = pairs(count=3)
    params = short("capped", scales=2, warps=2)
    together = run_kernel(first, second, params)
    assert torch.equal(run_kernel(first, second, params), together)
    for n in range(3):
        assert torch.equal(run_kernel(first[n : n + 1], second[n : n + 1], params), together[n : n + 1])


@needs_compiler
@pytest.mark.parametrize(
    ("blocks", "on_chip", "sanitizer"),
    [
        (2, 0, "thread"),
        *(
            pytest.param(*other, marks=pytest.mark.long)
            for other in ((2, 0, "address,undefined"), (3, 3, "thread"), (3, 3, "address,undefined"))
        ),
    ],
)
def test_no_races_and_nothing_out_of_bounds(blocks: int, on_chip: int, sanitizer: str) -> None:
    first, second = pairs((21, 23))
    params = short("opencv", scales=2, warps=2, inner_iterations=3)
    ours = run_kernel(first, second, params, blocks=blocks, on_chip=on_chip, sanitizer=sanitizer)
    torch.testing.assert_close(ours, portable.solve(first, second, params), atol=0.01, rtol=0)


@needs_compiler
@pytest.mark.long
@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ("    block_sync();\n\n    turn", "    turn"),
        ("cluster_sync();  // from here on", "// from here on"),
        ("cluster_sync();  // the next level", "// the next level"),
        ("mail + turn * 3 * width", "mail + 0 * turn"),
        ("turn * CLUSTER", "0 * CLUSTER"),
    ],
)
def test_a_missing_barrier_or_a_shared_mailbox_would_be_seen(
    there: str, instead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = cluster.SOURCE.read_text()
    assert there in source
    broken = tmp_path / f"broken-{abs(hash(there))}.cu"
    broken.write_text(source.replace(there, instead))
    monkeypatch.setattr(cluster, "SOURCE", broken)
    params = short("opencv", scales=2, warps=2, inner_iterations=3)
    with pytest.raises(AssertionError, match="ThreadSanitizer: data race"):
        run_kernel(*pairs((21, 23)), params, blocks=3, sanitizer="thread")


@pytest.mark.gpu
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed: the kernel is not compiled for a GPU")
@pytest.mark.parametrize("size", [(256, 340), (256, 454)])
def test_nvcc_compiles_it_and_registers_suffice(size: tuple[int, int], tmp_path: Path) -> None:
    layout = next(cluster.layouts(*size, shared_bytes=H200_SHARED_BYTES))
    macros = [f"-D{name}={value}" for name, value in cluster.definitions(layout, median=5)]
    command = ["nvcc", "-arch=sm_90", "-std=c++17", "-cubin", "-Xptxas", "-v", "-o", tmp_path / "kernel.cubin", *macros]
    done = subprocess.run(
        [*command, "--prec-sqrt=false", "--prec-div=false", "--ftz=true", cluster.SOURCE],
        capture_output=True,
        text=True,
        check=True,
    )
    spilled = re.findall(r"(\d+) bytes spill", done.stderr)
    assert sum(map(int, spilled)) <= 64, done.stderr


@pytest.mark.gpu
def test_runtime_compilation_gives_machine_code() -> None:
    if reason := runtime_compile.why_not():
        pytest.skip(reason)
    layout = next(cluster.layouts(256, 340, shared_bytes=H200_SHARED_BYTES))
    macros = cluster.definitions(layout, median=5)
    assert runtime_compile.compile_cuda(cluster.SOURCE, "sm_90", macros)[:4] == b"\x7fELF"
    with pytest.raises(KineflowError, match="does not compile"):
        runtime_compile.compile_cuda(cluster.SOURCE, "sm_90", macros[:1])


@pytest.mark.parametrize("size", [(256, 340), (240, 320), (256, 454), (112, 112), (16, 16), (360, 480), (1080, 1920)])
def test_layouts_fit_and_the_first_has_most_on_chip(size: tuple[int, int]) -> None:
    found = list(cluster.layouts(*size, shared_bytes=H200_SHARED_BYTES))
    assert found
    assert all(layout.shared_bytes <= H200_SHARED_BYTES for layout in found)
    assert found[0].on_chip == max(layout.on_chip for layout in found)


def test_kinetics_frames_fit_on_16_multiprocessors_and_small_ones_on_few() -> None:
    kinetics = next(cluster.layouts(256, 340, shared_bytes=H200_SHARED_BYTES))
    assert (kinetics.cluster, kinetics.on_chip, kinetics.workspace_floats) == (16, 3, 0)
    assert next(cluster.layouts(112, 112, shared_bytes=H200_SHARED_BYTES)).cluster == 4
    assert next(cluster.layouts(16, 16, shared_bytes=H200_SHARED_BYTES)).cluster == 1


def test_too_wide_frames_have_no_layout() -> None:
    assert not list(cluster.layouts(4, 8000, shared_bytes=H200_SHARED_BYTES))


def test_packed_frames_hold_both_images_and_the_gradient_of_the_second() -> None:
    first, second = pairs(count=2)
    levels, frames = cluster.pack(first, second, TVL1Params(scales=2))
    assert levels.tolist() == [[29, 37, 0], [23, 30, 29 * 37]]
    assert frames.shape == (2, 29 * 37 + 23 * 30, 4)
    finest = frames[:, : 29 * 37].view(2, 29, 37, 4)
    assert torch.equal(finest[..., 0], second.float())
    assert torch.equal(finest[..., 3], first.float())
    torch.testing.assert_close(finest[:, :, 5, 1], (second[:, :, 6].float() - second[:, :, 4].float()) / 2)
    torch.testing.assert_close(finest[:, 5, :, 2], (second[:, 6].float() - second[:, 4].float()) / 2)


@pytest.mark.parametrize(
    ("params", "reason"),
    [(TVL1Params(), "GPU"), (TVL1Params(gamma=0.1), "gamma"), (TVL1Params(median=7), "median")],
)
def test_it_says_what_it_cannot_do(params: TVL1Params, reason: str) -> None:
    assert reason in cluster.why_not(params, torch.device("cpu"))


def test_an_older_gpu_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    assert "9.0" in cluster.why_not(TVL1Params(), torch.device("cuda"))


def test_a_missing_compiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found() -> None:
        raise RuntimeError("libnvrtc.so")

    for name in ("cuda", "cuda.bindings"):
        module = ModuleType(name)
        module.__spec__, module.__path__ = ModuleSpec(name, None), []
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["cuda.bindings"].nvrtc = SimpleNamespace(nvrtcVersion=not_found)  # type: ignore[attr-defined]
    assert "NVRTC" in runtime_compile.why_not()
