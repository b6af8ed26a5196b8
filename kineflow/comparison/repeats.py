"""One recipe run several times, by seeds or by official splits: means, how far apart runs lie, and paired differences.

What varies is the unit: splits where there are several, else seeds. A split's figure is the mean over its seeds, and
the mean ± s.d. of a table is over the units, as the papers have it over three splits.

The interval of a difference is the wider of two. Student's over the units says whether other seeds would agree; of
three it is wide, and rightly so. (Splits share training clips, so that over them it is an approximation.) The one over
clips, by group, of answers that are averaged over seeds, says whether other clips would. Of fusions no answers to
clips are kept, and Student's is all; so it is where clips may have several classes, and differences are of mAP: a clip
has no share in that.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kineflow.evaluation.intervals import (
    Interval,
    difference_interval,
    mean_interval,
    weighted_difference_interval,
    wider,
)
from kineflow.registry.outcomes import outcomes_of
from kineflow.spec.output_files import METRICS_FILE, RESERVED_METRICS
from kineflow.storage.errors import KineflowError
from kineflow.storage.safe_json import read_json

TOP1, PRECISION = "top1", "average_precision"


@dataclass(frozen=True)
class Repeat:
    """One run.

    Attributes:
        seed: Of weights, batches and held-out groups.
        split: Which official split; None where the recipe ran on the one of its parameters.
        evaluation: Folder of the step evaluate.
    """

    seed: int
    split: int | None
    evaluation: Path


@dataclass(frozen=True)
class Spread:
    """A figure over several runs.

    Attributes:
        mean: Of the units.
        deviation: Their standard deviation (n - 1); None of one.
        values: One a unit.
    """

    mean: float
    deviation: float | None
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """At least one value."""
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), deviation, tuple(values))


@dataclass(frozen=True)
class Row:
    """A model, or a fusion of several.

    Attributes:
        name: Its name.
        figures: Over all units, by name.
        by_unit: Of each unit, its figures over the runs of that; empty where none has this model.
    """

    name: str
    figures: Mapping[str, Spread]
    by_unit: tuple[Mapping[str, Spread], ...]


@dataclass(frozen=True)
class Gain:
    """A difference of :attr:`Repeated.compared`, in [-1, 1], and its 95 % interval; None where that is not known."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Difference:
    """A model less another in the same runs.

    Attributes:
        model, baseline: Their names.
        over_all: Over all units.
        by_unit: Of each unit; None where it has not both.
    """

    model: str
    baseline: str
    over_all: Gain
    by_unit: tuple[Gain | None, ...]


@dataclass(frozen=True)
class Repeated:
    """The runs of one recipe in one evaluation.

    Attributes:
        units: What the columns are, in words: ``split 1`` or ``seed 1``.
        runs: How many there were.
        rows: Models and fusions.
        differences: Of every model to the baseline.
        compared: Figure that the differences are of: ``top1``, or ``average_precision`` (mAP) where clips may have
            several classes.
    """

    units: tuple[str, ...]
    runs: int
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    compared: str = TOP1

    @property
    def unit(self) -> str:
        """What varies: ``split`` or ``seed``."""
        return self.units[0].partition(" ")[0]


@dataclass(frozen=True)
class RunState:
    """How one of the runs ended.

    Attributes:
        name: Its seed and split, in words.
        place: Folder of its outputs, below the project's.
        failure: Why it did not come to its end; empty where it did.
    """

    name: str
    place: str
    failure: str = ""


@dataclass(frozen=True)
class RepeatsReport:
    """What a recipe came to over seeds and splits.

    Attributes:
        recipe: Its name.
        command: That makes it again.
        runs: All, those that failed too.
        evaluations: By the task that made them, over the runs that did not fail.
    """

    recipe: str
    command: str
    runs: tuple[RunState, ...]
    evaluations: Mapping[str, Repeated]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class _Run:
    """One run: its unit, its figures by model, and where its answers to clips are."""

    unit: int
    split: int | None
    figures: Mapping[str, Mapping[str, float]]
    evaluation: Path


def repeated(repeats: Sequence[Repeat], *, baseline: str | None = None) -> Repeated:
    """Put the runs of a recipe together.

    Args:
        repeats: At least one.
        baseline: The model that others are compared with; the first one where it is None, or unknown.

    Raises:
        KineflowError: An evaluation is missing or damaged.
    """
    splits = {repeat.split for repeat in repeats}
    word = "split" if len(splits) > 1 else "seed"
    contents = [_content(repeat.evaluation) for repeat in repeats]
    compared = PRECISION if any(content.get("data", {}).get("multi_label") for content in contents) else TOP1
    runs = [
        _Run(
            unit=(repeat.split or 0) if word == "split" else repeat.seed,
            split=repeat.split,
            figures=_figures(content),
            evaluation=repeat.evaluation,
        )
        for repeat, content in zip(repeats, contents, strict=True)
    ]
    units = sorted({run.unit for run in runs})
    names = list(dict.fromkeys(name for run in runs for name in run.figures))
    against = baseline if baseline in names else names[0]
    return Repeated(
        units=tuple(f"{word} {unit}" for unit in units),
        runs=len(runs),
        rows=tuple(_row(name, runs, units) for name in names),
        differences=tuple(_difference(name, against, compared, runs, units) for name in names if name != against),
        compared=compared,
    )


def _content(evaluation: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = read_json(evaluation / METRICS_FILE)
    except (OSError, ValueError) as error:
        raise KineflowError(
            f"no readable figures ({error})", where=evaluation / METRICS_FILE, remedy="run the same command again"
        ) from None
    return content


def _figures(content: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    models = {name: figures for name, figures in content.items() if name not in RESERVED_METRICS}
    return {
        name: {
            key: float(value) for key, value in figures.items() if isinstance(value, int | float) and _is_figure(key)
        }
        for name, figures in {**models, **content.get("fusion", {})}.items()
    }


def _is_figure(key: str) -> bool:
    """Not a bound of a single run's interval: their mean is no bound of anything."""
    return not key.endswith(("_low", "_high"))


def _row(name: str, runs: Sequence[_Run], units: Sequence[int]) -> Row:
    by_unit = tuple(
        _spreads([run.figures[name] for run in runs if run.unit == unit and name in run.figures]) for unit in units
    )
    of_units = [{key: spread.mean for key, spread in figures.items()} for figures in by_unit if figures]
    return Row(name, _spreads(of_units), by_unit)


def _spreads(found: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Of each figure that all have."""
    shared = [key for key in found[0] if all(key in figures for figures in found)] if found else []
    return {key: Spread.of([figures[key] for figures in found]) for key in shared}


def _difference(model: str, baseline: str, compared: str, runs: Sequence[_Run], units: Sequence[int]) -> Difference:
    both = [run for run in runs if all(compared in run.figures.get(name, {}) for name in (model, baseline))]
    of_units = [[run for run in both if run.unit == unit] for unit in units]
    return Difference(
        model,
        baseline,
        _gain(model, baseline, compared, [each for each in of_units if each]),
        tuple(_gain(model, baseline, compared, [[run] for run in each]) if each else None for each in of_units),
    )


def _gain(model: str, baseline: str, compared: str, units: Sequence[Sequence[_Run]]) -> Gain:
    """Over units of one run or several."""
    means = [
        statistics.fmean(run.figures[model][compared] - run.figures[baseline][compared] for run in runs)
        for runs in units
    ]
    intervals = [mean_interval(np.array(means))] if len(set(means)) > 1 else []  # equal ones do not say how sure
    every = [run for runs in units for run in runs]
    if compared == TOP1 and (by_clips := _interval_over_clips(model, baseline, every)) is not None:
        intervals.append(by_clips)
    low, high = wider(intervals[0], intervals[-1]) if intervals else (None, None)
    return Gain(statistics.fmean(means), low, high)


def _interval_over_clips(model: str, baseline: str, runs: Sequence[_Run]) -> Interval | None:
    """Of answers averaged over the runs on a clip, each split counting alike; None where they are not at hand."""
    differences: dict[tuple[int | None, str], list[float]] = {}
    groups: dict[tuple[int | None, str], str] = {}
    for run in runs:
        ours, theirs = (outcomes_of(run.evaluation, name) for name in (model, baseline))
        if ours is None or theirs is None:
            return None
        right = dict(zip(theirs.clip_ids, theirs.ranks == 0, strict=True))
        for clip, rank, group in zip(ours.clip_ids, ours.ranks, ours.groups, strict=True):
            differences.setdefault((run.split, clip), []).append(float(rank == 0) - float(right[clip]))
            groups[run.split, clip] = group or clip
    means = np.array([statistics.fmean(found) for found in differences.values()])
    splits, places, counts = np.unique(
        [split or 0 for split, _ in differences], return_inverse=True, return_counts=True
    )
    weights = len(means) / (len(splits) * counts[places])
    clusters = list(groups.values())
    if len(splits) == 1:
        return difference_interval(means, clusters)
    return weighted_difference_interval(means * weights, clusters)
