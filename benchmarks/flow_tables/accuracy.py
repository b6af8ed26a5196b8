"""Accuracy of TV-L1 beside OpenCV's: end-point error where the flow is known, and the difference where it is not."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import torch
from flow_tables.layout import markdown
from flow_tables.opencv import opencv_flow
from flow_tables.pairs import Pairs, film_pairs, real_pairs, rendered_pairs, shared_data
from torch import Tensor

from kineflow.flow.tvl1 import tvl1_flow
from kineflow.spec.quantise import quantise
from kineflow.spec.tvl1 import PRESETS

_BOUND_PX = 20.0


def table(quick: bool) -> str:
    """End-point error in px against exact flow, and the difference to OpenCV 5 at the same parameters."""
    parts = [_against_truth(quick)]
    parts += [_against_opencv(quick)] if shared_data() else ["No real clips at ../shared/data: not compared.\n"]
    return "\n".join(parts)


def _against_truth(quick: bool) -> str:
    scenes: list[Pairs] = list(rendered_pairs(2 if quick else 6, 64 if quick else 128))
    scenes += [pairs for scale in ((0.25,) if quick else (0.25, 0.5, 1.0)) for pairs in film_pairs(scale)]
    rows = []
    for pairs in _progress(scenes):
        theirs = _error(opencv_flow(pairs.first, pairs.second), pairs)
        ours = {name: _error(_ours(pairs, name), pairs) for name in ("opencv", "capped", "cuda")}
        changes = [f"{ours[name]:.3f} ({100 * (ours[name] / theirs - 1):+.2f} %)" for name in ours]
        rows.append([pairs.name, len(pairs.first), f"{theirs:.3f}", *changes])
    header = ["scene", "pairs", "OpenCV 5 (px)", "preset opencv", "preset capped", "preset cuda"]
    return markdown("Mean end-point error against exact flow, and relative to OpenCV", header, rows)


def _against_opencv(quick: bool) -> str:
    rows = []
    for pairs in _progress(list(real_pairs(1 if quick else 4))):
        ours, theirs = _ours(pairs, "opencv"), opencv_flow(pairs.first, pairs.second)
        capped = (_ours(pairs, "capped") - theirs).abs()
        difference = (ours - theirs).abs()
        levels = [quantise(flow.numpy(), _BOUND_PX).astype(int) for flow in (ours, theirs)]
        rows.append(
            [
                pairs.name,
                f"{pairs.first.shape[2]}x{pairs.first.shape[1]}",
                len(pairs.first),
                f"{theirs.norm(dim=1).mean():.2f}",
                f"{difference.mean():.4f}",
                f"{_p99(difference):.3f}",
                f"{abs(levels[0] - levels[1]).mean():.3f}",
                f"{capped.mean():.4f}",
            ]
        )
    header = [
        "clip", "size", "pairs", "mean speed (px)", "mean difference (px)", "99th percentile", "grey levels",
        "capped: mean difference",
    ]  # fmt: skip
    return markdown("Difference to OpenCV 5 on real clips, preset opencv", header, rows)


def _ours(pairs: Pairs, preset: str) -> Tensor:
    return tvl1_flow(pairs.first, pairs.second, PRESETS[preset])


def _error(flow: Tensor, pairs: Pairs) -> float:
    assert pairs.exact is not None
    return float((flow - pairs.exact).norm(dim=1).mean())


def _p99(values: Tensor) -> float:
    return float(values.flatten().kthvalue(int(0.99 * values.numel())).values)


def _progress(scenes: list[Pairs]) -> Iterable[Pairs]:
    for number, pairs in enumerate(scenes, 1):
        print(f"accuracy {number}/{len(scenes)}: {pairs.name}", file=sys.stderr)
        yield pairs


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(table(quick="--quick" in sys.argv))
