"""CPU time of TV-L1 beside OpenCV's, pair by pair in one run."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import cv2
import torch
from flow_tables.layout import markdown
from flow_tables.opencv import opencv_flow
from flow_tables.pairs import Pairs, real_pairs, rendered_pairs
from torch import Tensor

from kineflow.flow.solvers import fused
from kineflow.flow.tvl1 import tvl1_flow
from kineflow.spec.tvl1 import PRESETS


def table(quick: bool) -> str:
    """CPU ms a pair on one thread (median of repeats), for the same pairs: OpenCV, then Kineflow's solvers."""
    threads = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        scenes = list(real_pairs(1 if quick else 4)) or list(rendered_pairs(3, 256))
        return "\n".join([_compared(scenes, quick), _worst_case(scenes)])
    finally:
        cv2.setNumThreads(threads[0])
        torch.set_num_threads(threads[1])


def _compared(scenes: list[Pairs], quick: bool) -> str:
    rows, ratios, totals = [], [], [0.0] * 4
    warm = scenes[0]
    tvl1_flow(warm.first[:1], warm.second[:1], PRESETS["fast"], solver="fused")  # compiles
    for pairs in scenes:
        print(f"cpu: {pairs.name}", file=sys.stderr)
        count = len(pairs.first)
        timed = [
            _cpu_ms(lambda p=pairs: opencv_flow(p.first, p.second), 1) / count,
            _cpu_ms(lambda p=pairs: _flow(p, "opencv", "fused"), 1 if quick else 5) / count,
            _cpu_ms(lambda p=pairs: _flow(p, "capped", "fused"), 1 if quick else 5) / count,
            _cpu_ms(lambda p=pairs: _flow(p, "opencv", "portable"), 1) / count,
        ]
        updates = float(fused.count_updates(pairs.first, pairs.second, PRESETS["opencv"]).mean())
        ratios.append(timed[0] / timed[1])
        totals = [total + ms for total, ms in zip(totals, timed, strict=True)]
        rows.append(
            [
                pairs.name,
                f"{pairs.first.shape[2]}x{pairs.first.shape[1]}",
                count,
                f"{updates / 1e6:.1f}",
                *(f"{ms:.0f}" for ms in timed),
                f"{timed[1] * 1e6 / updates:.2f}",
                f"{timed[0] / timed[1]:.1f}x",
                f"{timed[0] / timed[2]:.1f}x",
            ]
        )
    rows.append(
        ["all", "", "", "", *(f"{total / len(rows):.0f}" for total in totals), "", f"{totals[0] / totals[1]:.1f}x",
         f"{totals[0] / totals[2]:.1f}x"]
    )  # fmt: skip
    header = [
        "clip", "size", "pairs", "M updates", "OpenCV (ms)", "fused", "fused, capped", "portable", "ns an update",
        "OpenCV / fused", "OpenCV / capped",
    ]  # fmt: skip
    median = f"Median over the clips: OpenCV takes {statistics.median(ratios):.1f}x the CPU time of the same stop rule."
    return markdown("CPU time a pair, one thread", header, rows, median)


def _worst_case(scenes: list[Pairs]) -> str:
    """Two unrelated frames, as at a cut: the stop rule hardly ever fires."""
    first, second = scenes[0].first[:1], scenes[0].second[:1]
    other = next((p.first[:1] for p in scenes[1:] if p.first.shape[1:] == first.shape[1:]), first.flip(2))
    rows = []
    for name, before, after in (("neighbours", first, second), ("cut", first, other), ("noise", _noise(first), first)):
        cut = Pairs(name, before, after)
        work = {
            preset: float(fused.count_updates(before, after, PRESETS[preset])[0]) for preset in ("opencv", "capped")
        }
        spent = {preset: _cpu_ms(lambda p=preset, c=cut: _flow(c, p, "fused"), 3) for preset in work}
        rows.append(
            [name, *(f"{work[p] / 1e6:.1f}" for p in work), *(f"{spent[p]:.0f}" for p in spent),
             f"{work['capped'] / work['opencv']:.2f}", f"{spent['capped'] / spent['opencv']:.2f}"]
        )  # fmt: skip
    height, width = first.shape[1:]
    bound = {name: _most_updates(height, width, name) for name in ("opencv", "capped")}
    rows.append(
        ["bound", *(f"{bound[p] / 1e6:.1f}" for p in bound), "", "", f"{bound['capped'] / bound['opencv']:.2f}", ""]
    )
    header = ["frames", "M updates, opencv", "capped", "ms, opencv", "capped", "updates, ratio", "time, ratio"]
    return markdown(f"The worst case, {width}x{height}", header, rows)


def _most_updates(height: int, width: int, preset: str) -> int:
    from kineflow.flow.solvers.pyramid import level_sizes

    params = PRESETS[preset]
    pixels = sum(h * w for h, w in level_sizes(height, width, params))
    return pixels * params.warps * params.outer_iterations * params.inner_iterations


def _noise(like: Tensor) -> Tensor:
    return torch.randint(0, 256, like.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _flow(pairs: Pairs, preset: str, solver: str) -> Tensor:
    return tvl1_flow(pairs.first, pairs.second, PRESETS[preset], solver=solver)  # type: ignore[arg-type]


def _cpu_ms(work: Callable[[], object], repeats: int) -> float:
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return 1000 * statistics.median(spent)


if __name__ == "__main__":
    print(table(quick="--quick" in sys.argv))
