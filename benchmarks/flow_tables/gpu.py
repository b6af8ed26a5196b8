"""TV-L1 on a GPU: pairs a second of each solver, and how close it comes to what the same GPU can do at most.

Frames lie on the GPU already and stay there; times are those of CUDA events, the median of repeats after a run that
compiles. The share of a ceiling is what an iteration must move or compute, were nothing else done and nothing moved
twice (64 bytes and 54 flops a pixel-iteration), against the ceiling measured in this run: a solver that keeps its state
on chip may exceed those of memory and L2.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from flow_tables.layout import Table
from flow_tables.machine import machine
from flow_tables.opencv import opencv_flow
from flow_tables.pairs import REAL_CLIPS, shared_data
from torch import Tensor

from kineflow.flow.tvl1 import Solver, tvl1_flow, why_not
from kineflow.spec.tvl1 import PRESETS, TVL1Params
from kineflow.video.decode import read_frames

_SIZE = (256, 340)
_CLIPS = ("UCF101 SoccerJuggling g23", "Kinetics SOX5yA1l24A", "Kinetics WUzgd7C1pWA (fast)")
_SOLVERS: tuple[Solver, ...] = ("portable", "triton", "cluster")
_PRESETS = ("capped", "opencv")
_BYTES_A_PIXEL_ITERATION, _FLOPS_A_PIXEL_ITERATION = 64, 54
_TWENTY = TVL1Params(epsilon=0.0, outer_iterations=1, inner_iterations=20)
_WORKING_SETS = (0.25, 0.5, 0.75, 1.0, 2.0, 4.0)  # of the L2 cache


@dataclass(frozen=True)
class _Clip:
    """Pairs [N, H, W] on the GPU, and OpenCV's CPU seconds for one of them."""

    name: str
    first: Tensor
    second: Tensor
    opencv_s: float


def table(quick: bool) -> str:
    """The tables as text."""
    reason = not_measured_because()
    return f"GPU: {reason}: not measured\n" if reason else "\n".join(t.markdown(machine()) for t in tables(quick))


def not_measured_because() -> str:
    """Why nothing can be measured here; empty when it can."""
    if not torch.cuda.is_available():
        return "no CUDA device here"
    if importlib.util.find_spec("triton") is None:
        return "Triton, which measures the ceilings, is not installed"
    return ""


def tables(quick: bool) -> Iterator[Table]:
    """Three, as they come: the solvers by preset and clip, how they agree, and Triton by its share of L2."""
    clips = _clips(16 if quick else 64)
    repeats = 2 if quick else 5
    yield _speed(clips, repeats)
    yield _agreement(clips)
    yield _working_sets(clips[0], repeats)


def _speed(clips: list[_Clip], repeats: int) -> Table:
    from flow_tables.gpu_ceilings import ceilings, seconds

    limit = ceilings()
    header = [
        "solver", "preset", "clip", "pairs/s", "M px-it a pair", "G px-it/s", "of memory", "of L2", "of fp32",
        "x OpenCV on one core",
    ]  # fmt: skip
    rows = []
    for solver, preset, clip in ((s, p, c) for s in _SOLVERS for p in _PRESETS for c in clips):
        _say(f"{solver}, {preset}, {clip.name}")

        def measured(solver: Solver = solver, preset: str = preset, clip: _Clip = clip) -> list[str]:
            params = PRESETS[preset]
            flow = lambda: tvl1_flow(clip.first, clip.second, params, solver=solver)  # noqa: E731
            pairs_per_s = len(clip.first) / seconds(flow, repeats)
            work = _pixel_iterations(clip, params)
            rate = work * pairs_per_s
            moved, computed = rate * _BYTES_A_PIXEL_ITERATION, rate * _FLOPS_A_PIXEL_ITERATION
            return [
                f"{pairs_per_s:.0f}",
                f"{work / 1e6:.1f}",
                f"{rate / 1e9:.1f}",
                f"{moved / limit.memory_bytes_per_s:.0%}",
                f"{moved / limit.l2_bytes_per_s:.0%}",
                f"{computed / limit.flops_per_s:.0%}",
                f"{pairs_per_s * clip.opencv_s:.0f}" if preset == "opencv" and clip.opencv_s else "",
            ]

        rows.append([solver, preset, clip.name, *_tried(solver, PRESETS[preset], measured, len(header) - 3)])
    notes = (
        f"Ceilings of this run: memory {limit.memory_bytes_per_s / 1e9:.0f} GB/s, L2 {limit.l2_bytes_per_s / 1e9:.0f} "
        f"GB/s (both read and written), fp32 {limit.flops_per_s / 1e12:.1f} TFLOP/s.",
        f"OpenCV's CPU seconds a pair: {', '.join(f'{c.name} {c.opencv_s:.2f}' for c in clips)}. {_opencv_on_gpu()}"
        if hasattr(cv2, "optflow")
        else "OpenCV here is without its contributed modules, DualTVL1 among them: not measured.",
    )
    return Table(f"GPU, {_SIZE[1]}x{_SIZE[0]}, batches of {len(clips[0].first)} pairs", header, rows, notes)


def _agreement(clips: list[_Clip]) -> Table:
    """Difference to the CPU's solver at 20 iterations a warp, and whether a second run gives the same."""
    header, rows = ["solver", "clip", "mean difference to the CPU (px)", "p99 (px)", "second run"], []
    on_cpu: dict[str, Tensor] = {}
    for solver, clip in ((s, c) for s in _SOLVERS for c in clips):
        _say(f"agreement, {solver}, {clip.name}")

        def compared(solver: Solver = solver, clip: _Clip = clip) -> list[str]:
            first, second = clip.first[:2], clip.second[:2]
            if clip.name not in on_cpu:
                on_cpu[clip.name] = tvl1_flow(first, second, _TWENTY, device="cpu")
            ours, again = (tvl1_flow(first, second, _TWENTY, solver=solver) for _ in range(2))
            capped = [tvl1_flow(clip.first, clip.second, PRESETS["capped"], solver=solver) for _ in range(2)]
            same = torch.equal(ours, again) and torch.equal(*capped)
            difference = (ours.cpu() - on_cpu[clip.name]).abs()
            return [
                f"{difference.mean():.5f}",
                f"{np.quantile(difference.numpy(), 0.99):.4f}",
                "the same bits" if same else "DIFFERS",
            ]

        rows.append([solver, clip.name, *_tried(solver, _TWENTY, compared, len(header) - 2)])
    return Table("GPU beside CPU, 20 iterations a warp", header, rows)


def _working_sets(clip: _Clip, repeats: int) -> Table:
    """How many pairs Triton should solve together: by the share of L2 that an iteration on them touches."""
    header, rows = ["of L2", "pairs/s, capped"], []
    cache = torch.cuda.get_device_properties(clip.first.device).L2_cache_size
    for share in _WORKING_SETS:
        _say(f"triton with {share} of L2")

        def measured(share: float = share) -> list[str]:
            from flow_tables.gpu_ceilings import seconds

            from kineflow.flow.solvers.triton_batch import solve_counted

            spent = seconds(
                lambda: solve_counted(clip.first, clip.second, PRESETS["capped"], working_set_bytes=int(share * cache)),
                repeats,
            )
            return [f"{len(clip.first) / spent:.0f}"]

        rows.append([f"{share}", *_tried("triton", PRESETS["capped"], measured, 1)])
    return Table(f"Triton by what it works on at a time, {clip.name}", header, rows)


def _tried(solver: Solver, params: TVL1Params, measure: Callable[[], list[str]], width: int) -> list[str]:
    """What was measured, or why not; one solver that fails must not cost the table of the others."""
    try:
        reason = why_not(solver, params, torch.device("cuda"))
        if not reason:
            return measure()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:80]
    return [reason, *[""] * (width - 1)]


def _pixel_iterations(clip: _Clip, params: TVL1Params) -> float:
    """Mean over the pairs; the stop rule, and so the work, is the same in all solvers."""
    if why_not("triton", params, clip.first.device):
        from kineflow.flow.solvers import fused

        return float(fused.count_updates(clip.first[:4].cpu(), clip.second[:4].cpu(), params).mean())
    from kineflow.flow.solvers.triton_batch import solve_counted

    return float(solve_counted(clip.first, clip.second, params)[1].double().mean())


def _clips(count: int) -> list[_Clip]:
    data = shared_data()
    if data is None:
        return [_measured(_moving_texture(name, shift, count)) for name, shift in (("slow", 0.7), ("fast", 4.0))]
    clips = []
    for name in _CLIPS:
        frames = read_frames(data / "clips" / REAL_CLIPS[name], pixel_format="gray")
        frames = np.stack([cv2.resize(f, _SIZE[::-1], interpolation=cv2.INTER_AREA) for f in frames[: count + 1]])
        on_gpu = torch.from_numpy(frames).cuda()
        clips.append(_measured(_Clip(name, on_gpu[:-1], on_gpu[1:], 0.0)))
    return clips


def _moving_texture(name: str, shift: float, count: int) -> _Clip:
    """Smooth noise that moves over the frame, where no real clips are at hand."""
    noise = np.random.default_rng(0).random((_SIZE[0], _SIZE[1])).astype(np.float32)
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.0), None, 0, 255, cv2.NORM_MINMAX)
    moves = [np.array([[1, 0, shift * n], [0, 1, -shift * n / 2]]) for n in range(count + 1)]
    frames = [cv2.warpAffine(smooth, move, _SIZE[::-1], borderMode=cv2.BORDER_WRAP) for move in moves]
    on_gpu = torch.from_numpy(np.stack(frames).round().astype(np.uint8)).cuda()
    return _Clip(f"synthetic, {name}", on_gpu[:-1], on_gpu[1:], 0.0)


def _measured(clip: _Clip) -> _Clip:
    """With OpenCV's time: the median CPU time of three pairs, on one thread; 0 where it has no DualTVL1."""
    if not hasattr(cv2, "optflow"):
        return clip
    _say(f"OpenCV, {clip.name}")
    threads, spent = cv2.getNumThreads(), []
    cv2.setNumThreads(1)
    for n in torch.linspace(0, len(clip.first) - 1, 3).long().tolist():
        start = time.process_time()
        opencv_flow(clip.first[n : n + 1].cpu(), clip.second[n : n + 1].cpu())
        spent.append(time.process_time() - start)
    cv2.setNumThreads(threads)
    return replace(clip, opencv_s=statistics.median(spent))


def _opencv_on_gpu() -> str:
    has = hasattr(cv2, "cuda_OpticalFlowDual_TVL1") and cv2.cuda.getCudaEnabledDeviceCount() > 0
    return "OpenCV here has a CUDA version, not measured." if has else "OpenCV here has no CUDA version."


def _say(what: str) -> None:
    print(f"gpu: {what}", file=sys.stderr)


if __name__ == "__main__":
    print(table(quick="--quick" in sys.argv))
