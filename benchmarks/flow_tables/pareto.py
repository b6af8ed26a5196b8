"""Error against CPU time: the presets beside OpenCV's methods, on scenes that no setting was chosen on."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import cv2
import torch
from flow_tables.layout import markdown
from flow_tables.opencv import opencv_flow
from flow_tables.pairs import Pairs, film_pairs, real_pairs, rendered_pairs
from torch import Tensor

from kineflow.flow.tvl1 import tvl1_flow
from kineflow.spec.tvl1 import PRESETS, TVL1Params

Method = Callable[[Pairs], Tensor]

_SEED, _SIZES = 7, (96, 192, 320, 512)
_SMALL_PX = 2.0  # mean speed of a scene
_REFERENCE = TVL1Params(scales=20, warps=10, epsilon=0.001)
_PRESETS = ("opencv", "capped", "deep", "fast")
_BASE = "capped"


def table(quick: bool) -> str:
    """Error and CPU time of each method relative to ``capped``, as geometric means and ranges over the scenes."""
    threads = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        return "\n".join([_against_truth(quick), _against_converged(quick)])
    finally:
        cv2.setNumThreads(threads[0])
        torch.set_num_threads(threads[1])


def _methods() -> dict[str, Method]:
    presets = {name: _preset(PRESETS[name]) for name in _PRESETS}
    return presets | {
        "OpenCV DualTVL1": lambda pairs: opencv_flow(pairs.first, pairs.second),
        "OpenCV DIS medium": _dis(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM),
        "OpenCV DIS fast": _dis(cv2.DISOPTICAL_FLOW_PRESET_FAST),
        "OpenCV Farneback": _frame_by_frame(
            lambda before, after: cv2.calcOpticalFlowFarneback(before, after, None, 0.5, 5, 13, 10, 5, 1.1, 0)
        ),
    }


def _against_truth(quick: bool) -> str:
    sizes, scales = (_SIZES[:2], (0.25,)) if quick else (_SIZES, (0.25, 0.332, 0.5, 1.0))
    scenes = [_every_sixth(pairs) for size in sizes for pairs in rendered_pairs(4, size, _SEED)]
    # Settings were chosen on the easy and the hard film at a quarter and a half of its size.
    scenes += [pairs for scale in scales for pairs in film_pairs(scale) if "medium" in pairs.name or scale == 1]
    small = [pairs for pairs in scenes if _speed(pairs) < _SMALL_PX]
    large = [pairs for pairs in scenes if _speed(pairs) >= _SMALL_PX]
    parts = {"small motion": small, "large motion": large}
    measured = {name: {part: _measured(method, parts[part], name) for part in parts} for name, method in _all()}
    base = measured[_BASE]
    rows = []
    for name, found in measured.items():
        pairs_of = {part: list(zip(found[part], base[part], strict=True)) for part in parts}
        errors = [_range([mine[0] / theirs[0] for mine, theirs in pairs_of[part]]) for part in parts]
        times = _range([mine[1] / theirs[1] for of_part in pairs_of.values() for mine, theirs in of_part])
        rows.append([name, *errors, times])
    note = (
        f"{len(small)} scenes that move by less than {_SMALL_PX:g} px on average, {len(large)} that move by more. "
        "Geometric mean, and the range over the scenes."
    )
    header = ["method", *(f"error, {part}" for part in parts), "CPU time"]
    return markdown("Error and CPU time, relative to capped", header, rows, note)


def _against_converged(quick: bool) -> str:
    """Real clips, whose flow nobody knows: distance to TV-L1 that has converged on a deep pyramid."""
    scenes = list(real_pairs(1 if quick else 3))
    if not scenes:
        return "No real clips at ../shared/data: not compared.\n"
    truths = [Pairs(p.name, p.first, p.second, _preset(_REFERENCE)(p)) for p in scenes]
    base = _measured(_methods()[_BASE], truths, _BASE)
    rows = []
    for name, method in _all():
        found = _measured(method, truths, name)
        errors = [error for error, _ in found]
        times = [taken / before for (_, taken), (_, before) in zip(found, base, strict=True)]
        rows.append([name, f"{statistics.median(errors):.3f}", f"{max(errors):.2f}", _range(times)])
    header = ["method", "median over clips (px)", "worst clip (px)", "CPU time, relative to capped"]
    return markdown("Real clips: mean distance to converged TV-L1", header, rows)


def _all() -> Sequence[tuple[str, Method]]:
    return list(_methods().items())


def _measured(method: Method, scenes: Sequence[Pairs], name: str) -> list[tuple[float, float]]:
    """Of each scene the mean error in px, and CPU seconds a pair."""
    found = []
    for pairs in scenes:
        print(f"pareto: {name}, {pairs.name}", file=sys.stderr)
        assert pairs.exact is not None
        method(Pairs(pairs.name, pairs.first[:1], pairs.second[:1]))  # compiles, allocates
        begun = time.process_time()
        flow = method(pairs)
        taken = (time.process_time() - begun) / len(pairs.first)
        found.append((float((flow - pairs.exact).norm(dim=1).mean()), taken))
    return found


def _range(ratios: Sequence[float]) -> str:
    if not ratios:
        return "–"
    mean = math.exp(statistics.mean(map(math.log, ratios)))
    return f"{mean:.2f} ({min(ratios):.2f} – {max(ratios):.2f})"


def _every_sixth(pairs: Pairs) -> Pairs:
    assert pairs.exact is not None
    return Pairs(pairs.name, pairs.first[::6], pairs.second[::6], pairs.exact[::6])


def _speed(pairs: Pairs) -> float:
    assert pairs.exact is not None
    return float(pairs.exact.norm(dim=1).mean())


def _preset(params: TVL1Params) -> Method:
    return lambda pairs: tvl1_flow(pairs.first, pairs.second, params)


def _dis(preset: int) -> Method:
    return _frame_by_frame(lambda before, after: cv2.DISOpticalFlow_create(preset).calc(before, after, None))


def _frame_by_frame(flow_of: Callable[..., object]) -> Method:
    def flow(pairs: Pairs) -> Tensor:
        fields = [
            torch.from_numpy(flow_of(before, after))  # type: ignore[arg-type]
            for before, after in zip(pairs.first.numpy(), pairs.second.numpy(), strict=True)
        ]
        return torch.stack(fields).permute(0, 3, 1, 2)

    return flow
