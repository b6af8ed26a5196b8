"""What differs between runs: parameters, and on the same clips by the same protocol the answers of their models."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kineflow.comparison.records import Judged, RunRecord
from kineflow.evaluation.results import GROUPS_FILE, SCORES_FOLDER
from kineflow.registry.outcomes import Outcomes, outcomes_of
from kineflow.registry.paired import Paired, paired_gain
from kineflow.serving.stored_files import fetch, files_of_run
from kineflow.storage.errors import KineflowError
from kineflow.tracking.store import tracking_uri

LEVEL = 0.95
_EVALUATION = "evaluation"
_LARGEST_BYTES = 512 * 2**20
_TOP1 = "/top1"


@dataclass(frozen=True)
class ClassChange:
    """Share of a class's clips that are right, in the later run less that in the first."""

    name: str
    change: float
    clips: int


@dataclass(frozen=True)
class ModelChange:
    """A model of one run against that of the same name in the first run.

    Attributes:
        model: Its name.
        run: Id of the run.
        gain: Of top-1, with its interval; or why there is none, in words.
        classes: By how much each class has gained, the greatest gain first; none where answers are not at hand, or
            clips are of several classes.
    """

    model: str
    run: str
    gain: Paired | str
    classes: tuple[ClassChange, ...] = ()


def differing_params(records: Sequence[RunRecord]) -> dict[str, list[str | None]]:
    """Values of each run, by parameter, where they are not all the same; None where a run does not have it."""
    names = sorted({name for record in records for name in record.params})
    values = {name: [record.params.get(name) for record in records] for name in names}
    return {name: each for name, each in values.items() if len(set(each)) > 1}


def by_basis(records: Sequence[RunRecord]) -> dict[tuple[str, str] | None, list[RunRecord]]:
    """Runs whose figures may stand in one column: same clips and labels, same protocol; None: not judged."""
    groups: dict[tuple[str, str] | None, list[RunRecord]] = {}
    for record in records:
        groups.setdefault(record.judged.basis if record.judged else None, []).append(record)
    return groups


def models_of(judged: Judged) -> list[str]:
    """Names of the models that were judged; no fusions and no trivial baselines."""
    names = [name.removesuffix(_TOP1) for name in judged.figures if name.endswith(_TOP1)]
    return [name for name in names if "/" not in name]


def changes(records: Sequence[RunRecord], *, root: Path | None = None) -> list[ModelChange]:
    """Of every run after the first, its models against those of the first, by the clips they answered to.

    Args:
        records: Runs that were judged on the same basis.
        root: The project's folder; the working folder when None.
    """
    first, *others = records
    assert first.judged is not None
    found: list[ModelChange] = []
    with tempfile.TemporaryDirectory(prefix="kineflow-compare-") as name:
        answers = _Answers(tracking_uri(root), Path(name))
        for other in others:
            assert other.judged is not None
            shared = [model for model in models_of(first.judged) if model in models_of(other.judged)]
            found += [_change(answers, model, first.judged, other.judged, other.id) for model in shared]
    return found


def _change(answers: _Answers, model: str, first: Judged, other: Judged, run: str) -> ModelChange:
    if first.run_id == other.run_id:
        return ModelChange(model, run, "the same evaluation")
    before, after = answers.of(first, model), answers.of(other, model)
    if before is None or after is None:
        return ModelChange(model, run, "the answers to single clips are not kept")
    return ModelChange(model, run, paired_gain(after, before, "top1", LEVEL), _by_class(before, after))


def _by_class(before: Outcomes, after: Outcomes) -> tuple[ClassChange, ...]:
    if before.has_several_classes:
        return ()
    shares = [_shares(outcomes) for outcomes in (before, after)]
    names = sorted(shares[0].keys() & shares[1].keys())
    rows = [ClassChange(name, shares[1][name][0] - shares[0][name][0], shares[1][name][1]) for name in names]
    return tuple(sorted(rows, key=lambda row: (-row.change, row.name)))


def _shares(outcomes: Outcomes) -> Mapping[str, tuple[float, int]]:
    names, places = np.unique(outcomes.labels, return_inverse=True)
    counts = np.bincount(places)
    right = np.bincount(places, outcomes.ranks == 0)
    return {str(name): (float(r / n), int(n)) for name, r, n in zip(names, right, counts, strict=True)}


class _Answers:
    """Answers of models to single clips, downloaded once each."""

    def __init__(self, store: str, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._known: dict[tuple[str, str], Outcomes | None] = {}

    def of(self, judged: Judged, model: str) -> Outcomes | None:
        key = (judged.run_id, model)
        if key not in self._known:
            self._known[key] = self._read(judged, model)
        return self._known[key]

    def _read(self, judged: Judged, model: str) -> Outcomes | None:
        folder = self._folder / judged.run_id
        (folder / SCORES_FOLDER).mkdir(parents=True, exist_ok=True)
        of_run = files_of_run(judged.run_id, judged.files, self._store)
        with suppress(KineflowError):  # evaluations of earlier releases have no groups
            fetch(of_run, f"{_EVALUATION}/{GROUPS_FILE}", folder, _LARGEST_BYTES)
        try:
            fetch(of_run, f"{_EVALUATION}/{SCORES_FOLDER}/{model}.parquet", folder / SCORES_FOLDER, _LARGEST_BYTES)
            return outcomes_of(folder, model)
        except KineflowError:
            return None
