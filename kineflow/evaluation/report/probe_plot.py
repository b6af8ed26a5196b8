"""The plot of motion probes, in the looks of :mod:`kineflow.evaluation.report.plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kineflow.evaluation.motion_probe import Mean
from kineflow.evaluation.report import plots

_DASHES = ((0, (1, 2)), (0, (5, 2, 1, 2)), (0, (8, 3)))  # of the networks that were not trained, in turn


@dataclass(frozen=True)
class ErrorLine:
    """A network's errors by stage, px.

    Attributes:
        name: Of the network.
        errors: One a stage.
        colour: None for a network that was not trained.
    """

    name: str
    errors: Sequence[Mean]
    colour: str | None


def errors_by_stage(
    stages: Sequence[str], by_decoder: Mapping[str, Sequence[ErrorLine]], still: Mapping[str, Sequence[float]]
) -> str:
    """End-point error by stage as SVG: a panel for each decoder, and in it a line for each network.

    Args:
        stages: Names, from the first to the deepest.
        by_decoder: The same networks in the same order for each decoder.
        still: Error of predicting no motion at each stage, by decoder.
    """
    columns = min(3, len(by_decoder))
    rows = -(-len(by_decoder) // columns)
    figure = plots.new_figure(plots.WIDTH_IN, 0.7 + 3.2 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    places = np.arange(len(stages))
    drawn = {}
    for axes, (decoder, lines) in zip(panels, by_decoder.items(), strict=False):
        (drawn["no motion"],) = axes.plot(
            places, still[decoder], color=plots.INK, linewidth=1.2, linestyle=(0, (4, 3)), marker="_", markersize=9
        )
        untrained = [line for line in lines if line.colour is None]
        for number, line in enumerate(lines):
            values = np.array([[mean.value, mean.low, mean.high] for mean in line.errors])  # [stages, 3]
            reach = np.stack([values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]])
            reach[~np.isfinite(reach)] = 0  # of a single clip
            style = "solid" if line.colour else _DASHES[untrained.index(line) % len(_DASHES)]
            # Lines stand side by side, so that no interval hides another.
            aside = 0.24 * ((number + 0.5) / len(lines) - 0.5)
            container = axes.errorbar(
                places + aside, values[:, 0], yerr=reach, color=line.colour or plots.MUTED, linestyle=style,
                linewidth=1.6, marker="o", markersize=4, elinewidth=1, capsize=2,
            )  # fmt: skip
            drawn[line.name] = container.lines[0]
        axes.set_title(decoder, fontsize=9, color=plots.INK, loc="left")
        axes.set_xticks(places, stages, rotation=0 if len(stages) * columns <= 9 else 45)
        axes.set_xlim(-0.35, len(stages) - 0.65)
        axes.set_ylim(bottom=0)
        plots.tidy_axes(axes, grid="y")
    for axes in panels[len(by_decoder) :]:
        axes.set_visible(False)
    panels[0].set_ylabel("end-point error, px (lower: more motion)")
    names = [plots.short_name(name) for name in drawn]
    beside = max(1, plots.LEGEND_CHARS // (max(map(len, names)) + 8))
    figure.legend(
        list(drawn.values()), names,
        loc="outside upper left", ncols=beside, frameon=False, labelcolor=plots.INK, fontsize=9,
    )  # fmt: skip
    return plots.as_svg(figure)
