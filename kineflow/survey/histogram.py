"""Histograms as small SVG pictures within a page: colours are the page's, so that they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

_WIDTH, _HEIGHT, _FOOT, _HEAD = 300, 118, 22, 14
_BINS = 24
_WIDE = 30.0  # largest over smallest from which the axis is logarithmic
SERIES = 6  # colours of the page


def histogram(series: Mapping[str, Sequence[float]], *, unit: str, marks: Mapping[str, float] | None = None) -> str:
    """Bars stacked by series.

    Args:
        series: Values by name; the first six have colours of their own, others share one.
        unit: Of the values, written behind the axis's ends.
        marks: Values to draw a line at, by their name.

    Returns:
        An ``<svg>`` element; empty where there is no value.
    """
    every = np.array([value for values in series.values() for value in values], dtype=np.float64)
    every = every[np.isfinite(every)]
    if not every.size:
        return ""
    shown = [*every.tolist(), *(marks or {}).values()]
    edges, is_log = _edges(min(shown), max(shown), every)
    stacked, bars = np.zeros(len(edges) - 1), []
    counts = [np.histogram(np.asarray(values, dtype=np.float64), edges)[0] for values in series.values()]
    tallest = max(1.0, float(np.sum(counts, axis=0).max()))
    scale = (_HEIGHT - _FOOT - _HEAD) / tallest
    step = _WIDTH / (len(edges) - 1)
    for number, (name, row) in enumerate(zip(series, counts, strict=True)):
        for place, count in enumerate(row.tolist()):
            if count:
                top = _HEIGHT - _FOOT - (stacked[place] + count) * scale
                bars.append(
                    f'<rect class="s{min(number, SERIES)}" x="{place * step + 0.5:.1f}" y="{top:.1f}" '
                    f'width="{step - 1:.1f}" height="{count * scale:.1f}"><title>{escape(name)}: {count}, '
                    f"{_short(edges[place])} to {_short(edges[place + 1])} {escape(unit)}</title></rect>"
                )
        stacked += row
    lines = [_mark(name, _place(value, edges, is_log)) for name, value in (marks or {}).items()]
    axis = "".join(
        f'<text x="{x}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{_short(value)}{tail}</text>'
        for x, anchor, value, tail in (
            (0, "start", edges[0], ""),
            (_WIDTH / 2, "middle", edges[len(edges) // 2], ""),
            (_WIDTH, "end", edges[-1], f" {escape(unit)}"),
        )
    )
    base = f'<line class="axis" x1="0" x2="{_WIDTH}" y1="{_HEIGHT - _FOOT}" y2="{_HEIGHT - _FOOT}"/>'
    return (
        f'<svg class="histogram" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(bars)}{base}'
        f"{''.join(lines)}{axis}</svg>"
    )


def _edges(least: float, most: float, values: np.ndarray) -> tuple[np.ndarray, bool]:
    """Edges of the bins, and whether they grow by a factor."""
    if least > 0 and most / least > _WIDE:
        return np.geomspace(least, most * 1.0001, _BINS + 1), True
    distinct = np.unique(values)
    if len(distinct) <= 1 and least == most:
        pad = max(abs(least) * 0.5, 0.5)
        return np.linspace(max(0.0, least - pad), most + pad, _BINS + 1), False
    pad = (most - least) / (2 * _BINS)
    return np.linspace(max(0.0, least - pad) if least >= 0 else least - pad, most + pad, _BINS + 1), False


def _place(value: float, edges: np.ndarray, is_log: bool) -> float:
    first, last, at = (math.log(x) if is_log else x for x in (float(edges[0]), float(edges[-1]), value))
    return (at - first) / (last - first) * _WIDTH


def _mark(name: str, x: float) -> str:
    anchor = "end" if x > _WIDTH / 2 else "start"
    offset = -3 if anchor == "end" else 3
    return (
        f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_HEAD - 4}" y2="{_HEIGHT - _FOOT}"/>'
        f'<text class="mark" x="{x + offset:.1f}" y="{_HEAD - 4}" text-anchor="{anchor}">{escape(name)}</text>'
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
