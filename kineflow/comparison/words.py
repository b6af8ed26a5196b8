"""A comparison in words and columns, the same on a terminal and on a page."""

from __future__ import annotations

from kineflow.comparison.comparison import Together
from kineflow.comparison.differences import ModelChange, models_of
from kineflow.comparison.records import RunRecord
from kineflow.registry.paired import Paired

_CLASSES = 5


def gain_in_words(gain: Paired | str) -> str:
    """A difference of top-1 to the first run, in points."""
    if isinstance(gain, str):
        return gain
    chance = "" if gain.low > 0 or gain.high < 0 else "; may be chance"
    interval = f"95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
    return f"{100 * gain.value:+.1f} points of top-1 ({interval}, {gain.clips} clips{chance})"


def classes_in_words(change: ModelChange) -> str:
    """The classes that have gained and lost most."""
    gained = [row for row in change.classes if row.change > 0][:_CLASSES]
    lost = [row for row in reversed(change.classes) if row.change < 0][:_CLASSES]
    parts = [
        f"{word} {', '.join(f'{row.name} {100 * row.change:+.1f}' for row in rows)}"
        for word, rows in (("gained:", gained), ("lost:", lost))
        if rows
    ]
    return "; ".join(parts)


def best_trivial(record: RunRecord) -> float | None:
    """Top-1 of the best trivial baseline of a run's evaluation."""
    figures = record.judged.figures if record.judged else {}
    tops = [value for key, value in figures.items() if key.startswith("baselines/") and key.endswith("/top1")]
    return max(tops, default=None)


def model_columns(group: Together) -> list[str]:
    """Names of all models of a group, those of the first run first."""
    return list(dict.fromkeys(model for each in group.records if each.judged for model in models_of(each.judged)))


def made_by_another(record: RunRecord) -> str:
    """The run whose evaluation a run has taken over; empty where it is its own."""
    judged = record.judged
    return judged.made_by if judged and judged.made_by != record.id else ""
