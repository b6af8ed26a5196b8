"""Plots of how well two classes are told apart, and of whether a model is as often right as it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kineflow.evaluation.calibration import reliability
from kineflow.evaluation.metrics import class_evidence
from kineflow.evaluation.report.plots import (
    INK,
    LEGEND_CHARS,
    MUTED,
    WIDTH_IN,
    as_svg,
    new_figure,
    short_name,
    tidy_axes,
)
from kineflow.evaluation.scores import Scores
from kineflow.evaluation.two_classes import precision_recall_curve, roc_curve

_SIDE_IN = 3.9
_SMALLEST_DOT, _LARGEST_DOT = 12.0, 140.0  # points²


def roc_and_precision(models: Sequence[Scores], colours: Mapping[str, str]) -> str:
    """ROC and precision-recall curves of two classes, one line a model; the second class is the one to be found."""
    figure = new_figure(WIDTH_IN, _SIDE_IN + 0.5)
    roc, precision = figure.subplots(1, 2)
    classes, truth = models[0].classes, models[0].labels == 1
    for scores in models:
        evidence = class_evidence(scores)[:, 1]
        how = {"color": colours[scores.model], "linewidth": 1.6, "label": short_name(scores.model)}
        roc.plot(*(values * 100 for values in roc_curve(evidence, truth)), **how)
        precision.step(*(values * 100 for values in precision_recall_curve(evidence, truth)), where="pre", **how)
    roc.plot([0, 100], [0, 100], color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
    precision.axhline(truth.mean() * 100, color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
    second, first = (short_name(name, 16) for name in (classes[1], classes[0]))
    for axes, across, up in (
        (roc, f"“{first}” taken for “{second}”, %", f"“{second}” found, %"),
        (precision, f"“{second}” found (recall), %", "right of these (precision), %"),
    ):
        axes.set(xlim=(-1, 101), ylim=(-1, 101), xlabel=across, ylabel=up, box_aspect=1)
        axes.set_xticks(range(0, 101, 20))
        axes.set_yticks(range(0, 101, 20))
        tidy_axes(axes, grid="y", spines=True)
    names = [short_name(scores.model) for scores in models]
    beside = max(1, LEGEND_CHARS // (max(map(len, names)) + 8))
    handles, labels = roc.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", ncols=beside, frameon=False, labelcolor=INK, fontsize=9
    )  # fmt: skip
    return as_svg(figure)


def calibration(scores: Scores, colour: str) -> str:
    """Reliability: how often answers of each degree of sureness are right; the larger a dot, the more clips."""
    figure = new_figure(_SIDE_IN, _SIDE_IN)
    axes = figure.subplots()
    bins = reliability(scores)
    least = 100 / len(scores.classes) if scores.truth is None else 0.0
    axes.plot([least, 100], [least, 100], color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
    sizes = _SMALLEST_DOT + (_LARGEST_DOT - _SMALLEST_DOT) * bins.clips / bins.clips.max()
    axes.plot(bins.said * 100, bins.right * 100, color=colour, linewidth=1.4)
    axes.scatter(bins.said * 100, bins.right * 100, s=sizes, color=colour, zorder=3)
    axes.set(xlim=(least - 2, 102), ylim=(-4, 104), xlabel="said, %", ylabel="right, %", box_aspect=1)
    axes.set_yticks(np.arange(0, 101, 20))
    tidy_axes(axes, grid="y", spines=True)
    return as_svg(figure)
