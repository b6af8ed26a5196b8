"""Runs by seeds and splits in words and columns, the same on a terminal and on a page."""

from __future__ import annotations

from kineflow.comparison.repeats import PRECISION, TOP1, Difference, Gain, Repeated, Row, Spread

SHOWN = {TOP1: "top-1", PRECISION: "mAP", "mean_class_accuracy": "mean class"}
"""Figures that have a table, mAP where clips may have several classes; the rest is in the JSON."""


def shown_figures(evaluation: Repeated) -> list[str]:
    """Of :data:`SHOWN`, those that differ: with equally many clips a class, the mean over classes is top-1."""
    found = [name for name in SHOWN if any(name in row.figures for row in evaluation.rows)]
    unneeded = {PRECISION} - {evaluation.compared}
    return [name for name in found if name == TOP1 or (name not in unneeded and not _is_top1(name, evaluation))]


def _is_top1(name: str, evaluation: Repeated) -> bool:
    return all(row.figures.get(name) == row.figures.get(TOP1) for row in evaluation.rows)


def headings(evaluation: Repeated) -> list[str]:
    """Of a table of figures or differences: the units, then what is over all of them."""
    return [*evaluation.units, *([f"over {evaluation.unit}s"] if len(evaluation.units) > 1 else [])]


def cells(row: Row, figure: str) -> list[str]:
    """Of a row: one a unit, then over all."""
    return _with_all([in_percent(figures.get(figure)) for figures in row.by_unit], in_percent(row.figures.get(figure)))


def _with_all(units: list[str], over_all: str) -> list[str]:
    return [*units, *([over_all] if len(units) > 1 else [])]


def in_percent(spread: Spread | None) -> str:
    """``63.8 ± 1.4``, in points."""
    if spread is None:
        return "–"
    deviation = "" if spread.deviation is None else f" ± {100 * spread.deviation:.1f}"
    return f"{100 * spread.mean:.1f}{deviation}"


def interval(gain: Gain) -> str:
    """``20.1 to 44.5``; empty where none is known."""
    return "" if gain.low is None or gain.high is None else f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f}"


def gains(difference: Difference) -> list[str]:
    """Of a difference: one a unit, then over all."""
    return _with_all([*map(in_points, difference.by_unit)], in_points(difference.over_all))


def in_points(gain: Gain | None) -> str:
    """``+32.3 (20.1 to 44.5)``."""
    if gain is None:
        return "–"
    around = interval(gain)
    return f"{100 * gain.value:+.1f}" + (f" ({around})" if around else "")


def verdict(gain: Gain) -> str:
    """Whether a difference may be chance."""
    if gain.low is None or gain.high is None:
        return ""
    return "" if gain.low > 0 or gain.high < 0 else "may be chance"


def how_many(evaluation: Repeated) -> str:
    """Of what the figures are, in a sentence."""
    runs = f"{evaluation.runs} run{'' if evaluation.runs == 1 else 's'}"
    what = f"{len(evaluation.units)} {evaluation.unit}{'' if len(evaluation.units) == 1 else 's'}"
    within = "; a split's figure is the mean over its seeds" if evaluation.runs > len(evaluation.units) else ""
    return f"{runs}, {what}: mean ± standard deviation over {evaluation.unit}s{within}"
