"""The plot of what fewer labels would have given."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from kineflow.evaluation.label_efficiency import LabelEfficiency
from kineflow.evaluation.report.plots import INK, MUTED, WIDTH_IN, as_svg, new_figure, tidy_axes

_HEIGHT_IN = 2.9
_ROOM = 4.0  # points of top-1 above and below


def label_curve(curve: LabelEfficiency, colour: str, *, chance: float) -> str:
    """Top-1 with its interval over the labelled clips learnt from, by halves; a dashed line where guessing would be."""
    figure = new_figure(WIDTH_IN, _HEIGHT_IN)
    axes = figure.subplots()
    clips = [point.clips for point in curve.points]
    top1, low, high = (
        np.array([getattr(point, name) for point in curve.points]) * 100 for name in ("top1", "top1_low", "top1_high")
    )
    reach = np.maximum([top1 - low, high - top1], 0)
    axes.errorbar(
        clips, top1, yerr=reach, color=colour, ecolor=INK, elinewidth=1.2, capsize=3, marker="o", markersize=5,
        linewidth=1.6,
    )  # fmt: skip
    for x, y in zip(clips, top1, strict=True):
        axes.annotate(f"{y:.1f}", (x, y), xytext=(7, -12), textcoords="offset points", color=INK, fontsize=9)
    axes.axhline(chance * 100, color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks(clips, [f"{point.clips:.0f}\n({Fraction(point.share)})" for point in curve.points])
    axes.minorticks_off()
    axes.set_xlim(min(clips) / 1.15, max(clips) * 1.25)
    axes.set_ylim(max(0.0, min(low.min(), chance * 100) - _ROOM), min(101.0, high.max() + _ROOM))
    axes.set(xlabel="labelled clips learnt from (share of them)", ylabel="top-1, %, with 95 % interval")
    tidy_axes(axes, grid="y")
    return as_svg(figure)
