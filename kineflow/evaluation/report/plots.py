"""The report's plots: SVG text, in the colours of a light page; :func:`for_dark` gives their twin for a dark one.

Every plot is drawn once on a transparent ground. Text stays text, so that the browser's fonts show names in any script.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2430", "#667085", "#d9dde5"
STUDENT, BASELINE, FUSION, TRIVIAL = "#2f6fde", "#8a93a3", "#0f9d8a", "#b9a27a"
OTHERS = ("#e07a1f", "#8e5bd0", "#c2417c", "#5b8c2a", "#b08900", "#9c5a3c", "#45a9cf")
GAIN, LOSS = STUDENT, "#d9662b"
# Only inks and grid change on a dark page; the colours of data are legible on both.
_DARK = {INK: "#e6e9ef", MUTED: "#98a2b3", GRID: "#343a46"}

MANY_CLASSES = 24
ENDS_SHOWN = 15
_POINTS_PER_CURVE = 300
_LONGEST_NAME = 34
LEGEND_CHARS = 130  # that fit side by side
WIDTH_IN = 9.0  # inches; the page shows 1 inch as 96 px


@dataclass(frozen=True)
class Bar:
    """An accuracy with its interval, all in [0, 1]."""

    name: str
    value: float
    low: float
    high: float
    colour: str


def palette(models: Sequence[str], student: str, baseline: str | None) -> dict[str, str]:
    """One colour for each model, the same in every plot."""
    rest = [name for name in models if name not in (student, baseline)]
    colours = {name: OTHERS[index % len(OTHERS)] for index, name in enumerate(rest)}
    if baseline is not None:
        colours[baseline] = BASELINE
    return colours | {student: STUDENT}


def for_dark(svg: str) -> str:
    """The same plot for a dark page."""
    for light, dark in _DARK.items():
        svg = svg.replace(light, dark)
    return svg


def accuracy_bars(bars: Sequence[Bar], *, chance: float) -> str:
    """Top-1 of every model and fusion with its interval; a dashed line where guessing would be."""
    figure = new_figure(WIDTH_IN, 0.9 + 0.34 * len(bars))
    axes = figure.subplots()
    rows = np.arange(len(bars))[::-1]
    values = np.array([[bar.value, bar.low, bar.high] for bar in bars]) * 100  # [bars, 3]
    axes.barh(rows, values[:, 0], height=0.62, color=[bar.colour for bar in bars])
    reach = [values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]]
    axes.errorbar(values[:, 0], rows, xerr=np.maximum(reach, 0), fmt="none", ecolor=INK, elinewidth=1.2, capsize=3)
    for row, (value, _, high) in zip(rows, values, strict=True):
        axes.text(high + 1.2, row, f"{value:.1f}", va="center", color=INK, fontsize=9)
    axes.axvline(chance * 100, color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
    axes.set_yticks(rows, [short_name(bar.name) for bar in bars])
    axes.set_ylim(-0.6, len(bars) - 0.4)
    axes.set_xlim(0, 108)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("top-1 accuracy, %, with 95 % interval (dashed: guessing)")
    tidy_axes(axes, grid="x")
    return as_svg(figure)


def confusion(counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Confusion matrix, shaded by the square root of the share of the class; counts and names where there is room."""
    few = len(classes) <= MANY_CLASSES
    side = max(4.4, 0.36 * len(classes) + 1.2) if few else 5.0
    figure = new_figure(side, side)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shade = np.empty((*shares.shape, 4))
    shade[..., :3], shade[..., 3] = _rgb(STUDENT), np.sqrt(shares)
    axes.imshow(shade, interpolation="nearest", aspect="equal")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if few:
        names = [short_name(name, 20) for name in classes]
        axes.set_xticks(range(len(classes)), names, rotation=90)
        axes.set_yticks(range(len(classes)), names)
        size = 8 if len(classes) <= 12 else 6
        for row, column in np.argwhere(counts):
            ink = "#ffffff" if shares[row, column] > 0.4 else INK
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=ink, fontsize=size)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    tidy_axes(axes, spines=True)
    return as_svg(figure)


def class_change(change: NDArray[np.float64], classes: Sequence[str]) -> str:
    """Change of each class's accuracy, largest gain first; with many classes the two ends alone."""
    order = [int(index) for index in np.argsort(-change, kind="stable") if not math.isnan(change[index])]
    hidden = 0
    if len(order) > 2 * ENDS_SHOWN:
        hidden = len(order) - 2 * ENDS_SHOWN
        order = order[:ENDS_SHOWN] + order[-ENDS_SHOWN:]
    rows = [*range(len(order))]
    if hidden:  # one empty row, for the words that stand for the hidden classes
        rows = [row + (row >= ENDS_SHOWN) for row in rows]
    figure = new_figure(WIDTH_IN, 0.8 + 0.24 * (rows[-1] + 1))
    axes = figure.subplots()
    values = change[order] * 100
    axes.barh(rows, values, height=0.66, color=[GAIN if value >= 0 else LOSS for value in values])
    lowest, highest = min(0.0, float(values.min())), max(4.0, float(values.max()))
    room = 0.1 * (highest - lowest)  # for the figures at the ends of the bars
    for row, value in zip(rows, values, strict=True):
        gap, side = (room * 0.07, "left") if value >= 0 else (-room * 0.07, "right")
        axes.text(value + gap, row, f"{value:+.1f}", ha=side, va="center", color=INK, fontsize=8)
    if hidden:
        words = f"{hidden} classes between these are not shown"
        axes.text(room * 0.07, ENDS_SHOWN, words, ha="left", va="center", color=MUTED, fontsize=8, style="italic")
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(rows, [short_name(classes[index]) for index in order])
    axes.set_ylim(rows[-1] + 0.6, -0.6)
    axes.set_xlim(lowest - room if lowest < 0 else 0, highest + room)
    axes.set_xlabel("change in accuracy, percentage points")
    tidy_axes(axes, grid="x")
    return as_svg(figure)


def curves(by_model: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], colours: Mapping[str, str]) -> str:
    """Training curves: one small plot for each figure, one line for each model that has it."""
    names = sorted({name for series in by_model.values() for name in series})
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    figure = new_figure(WIDTH_IN, 0.5 + 2.0 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    drawn: dict[str, Any] = {}
    for axes, name in zip(panels, names, strict=False):
        for model, series in by_model.items():
            if name in series:
                points = np.array(_thinned(series[name]))  # [points, 2]
                marker = "o" if len(points) == 1 else None
                (drawn[model],) = axes.plot(
                    points[:, 0], points[:, 1], color=colours[model], linewidth=1.4, marker=marker, markersize=3
                )
        axes.set_title(short_name(name), fontsize=9, color=INK, loc="left")
        axes.locator_params(axis="x", nbins=4, integer=True)
        axes.locator_params(axis="y", nbins=5)
        tidy_axes(axes, grid="y")
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel("step", fontsize=9, color=MUTED)
    order = [model for model in by_model if model in drawn]
    labels = [short_name(model) for model in order]
    beside = max(1, LEGEND_CHARS // (max(map(len, labels)) + 8))
    figure.legend(
        [drawn[model] for model in order], labels,
        loc="outside upper left", ncols=beside, frameon=False, labelcolor=INK, fontsize=9,
    )  # fmt: skip
    return as_svg(figure)


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """At most a few hundred points, each the mean of its neighbours, so that a long run stays small on the page."""
    if len(points) <= _POINTS_PER_CURVE:
        return points
    parts = np.array_split(np.array(points), _POINTS_PER_CURVE)
    return [(float(part[:, 0].mean()), float(part[:, 1].mean())) for part in parts]


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, its size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def tidy_axes(axes: Axes, *, grid: Literal["x", "y"] | None = None, spines: bool = False) -> None:
    """Leave of the axes what tells something."""
    axes.set_facecolor("none")
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9, length=0)
    axes.xaxis.label.set(color=MUTED, fontsize=9)
    axes.yaxis.label.set(color=MUTED, fontsize=9)
    for spine in axes.spines.values():
        spine.set_visible(spines)
        spine.set_color(GRID)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)


def as_svg(figure: Figure) -> str:
    """The figure as SVG, the same text every time."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "kineflow"}), warnings.catch_warnings():
        # The plot's own font only measures the text; the browser's fonts draw it, and have the glyph.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue().decode()


def short_name(name: str, longest: int = _LONGEST_NAME) -> str:
    """A user's name as a label: on one line, not too long, and never read as a formula."""
    printable = "".join(letter if letter.isprintable() else "�" for letter in name)
    shortened = printable if len(printable) <= longest else printable[: longest - 1] + "…"
    return shortened.replace("$", r"\$")


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
