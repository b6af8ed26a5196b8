"""An evaluation as a value, and as the folder that later steps, people and spreadsheets read.

::

    scores/<model>.parquet    class scores of every clip (kineflow.evaluation.scores)
    metrics.json              headline figures of every model and fusion, and what they were measured on
    per_class.csv             model, class, clips, accuracy (of clips of several classes, the average precision of each
                              class), change_from_baseline
    confusion.csv             model, true, predicted, clips (pairs that occur)
    groups.parquet            group of every clip, where groups are known
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kineflow.evaluation.choice import ModelChoice
from kineflow.evaluation.curves import Curves
from kineflow.evaluation.label_efficiency import LabelEfficiency
from kineflow.evaluation.metrics import (
    Gain,
    Summary,
    confusion_of,
    paired_gain,
    per_class_change,
    per_class_figures,
    ranks_of_truth,
    summarise,
)
from kineflow.evaluation.scores import Scores, align
from kineflow.evaluation.view_protocol import ViewProtocol
from kineflow.spec.output_files import METRICS_FILE, ONE_VIEW_TOP1, PER_CLASS_FILE, RESERVED_METRICS
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.scoring_protocol import ScoringProtocol
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import inside
from kineflow.storage.spreadsheet import harmless

SCORES_FOLDER = "scores"
CONFUSION_FILE = "confusion.csv"
GROUPS_FILE = "groups.parquet"
FOLDS = "folds"
"""In place of a split: every labelled clip, judged by a model of a fold that held it out."""


@dataclass(frozen=True)
class Evaluated:
    """One model and its scores.

    Attributes:
        scores: On the evaluated split.
        modality: What the model sees; see :mod:`kineflow.spec.modality`.
        parameters: Count of its weights.
        curves: Figures of its training by name, each (step, value) in order of steps; empty when not kept.
        lineage: Where it comes from, as its bundle says.
        preprocessing: What is made of frames before it sees them; None when not known.
        by_one_view: Its scores where it sees one window of each clip, the centre; None where nobody asked.
    """

    scores: Scores
    modality: str
    parameters: int
    curves: Curves = field(default_factory=dict)
    lineage: Mapping[str, str] = field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    by_one_view: Scores | None = None

    @property
    def name(self) -> str:
        """The model's name."""
        return self.scores.model


@dataclass(frozen=True)
class Fused:
    """A late fusion: its members by name, their weights, and whether these were chosen on validation clips."""

    scores: Scores
    members: tuple[str, ...]
    weights: tuple[float, ...]
    tuned: bool = False


@dataclass(frozen=True)
class Evaluation:
    """Models and fusions scored on the same clips.

    Attributes:
        models: At least one, with distinct names.
        fusions: Any number.
        student: Name of the model that the report is about.
        baseline: Name of the model that it is compared with, or None.
        imported: Scores of other tools, that only fusions use.
        trivial: Scores of trivial baselines (:mod:`kineflow.evaluation.baselines`), whose names are apart from models'.
        groups: Of the scored clips, in their order; empty: not known, and intervals take clips as independent.
        student_on_val: The student's scores of ``val``, where they were asked for.
        choice: How the student was chosen on ``val``; None where it was named.
        label_efficiency: What the student is worth with fewer labels, where that was tried.

    Raises:
        KineflowError: Names are double, reserved or unknown, or the scores are not of the same clips.
    """

    models: tuple[Evaluated, ...]
    fusions: tuple[Fused, ...]
    student: str
    baseline: str | None = None
    imported: tuple[Scores, ...] = ()
    trivial: tuple[Scores, ...] = ()
    groups: tuple[str, ...] = ()
    student_on_val: Scores | None = None
    choice: ModelChoice | None = None
    label_efficiency: LabelEfficiency | None = None

    def __post_init__(self) -> None:
        check_names([model.name for model in self.models] + [scores.model for scores in self.imported])
        align([*(m.scores for m in self.models), *(f.scores for f in self.fusions), *self.trivial])
        self.scores_of(self.student)
        if self.baseline is not None:
            self.scores_of(self.baseline)

    def scores_of(self, name: str) -> Scores:
        """Scores of the model with this name, or those imported under it."""
        by_name = {scores.model: scores for scores in (*(model.scores for model in self.models), *self.imported)}
        require_known([name], by_name, what="model")
        return by_name[name]

    @property
    def clips(self) -> int:
        """How many clips were scored."""
        return len(self.models[0].scores)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.models[0].scores.classes

    @cached_property
    def _summaries(self) -> dict[int, Summary]:
        return {}

    def summary_of(self, scores: Scores) -> Summary:
        """Headline figures of scores of this evaluation, computed once."""
        if id(scores) not in self._summaries:
            self._summaries[id(scores)] = summarise(scores, self.groups or None)
        return self._summaries[id(scores)]

    def gain(self, scores: Scores, over: Scores) -> Gain:
        """Difference in top-1 of two of this evaluation's scores."""
        return paired_gain(scores, over, self.groups or None)

    @property
    def best_trivial(self) -> Scores | None:
        """The trivial baseline with the highest top-1."""
        return max(self.trivial, key=lambda scores: self.summary_of(scores).top1, default=None)


def check_names(names: Sequence[str]) -> None:
    """Refuse names that are double, or that ``metrics.json`` needs for itself.

    Raises:
        KineflowError: Naming them.
    """
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise KineflowError(
            f"several models are named {', '.join(map(repr, double))}",
            remedy="give each model its own name in the parameters of the step that trains it",
        )
    reserved = sorted(set(names) & set(RESERVED_METRICS))
    if reserved:
        raise KineflowError(f"a model cannot be named {reserved[0]!r}", remedy="rename it where it is trained")


def require_known(names: Iterable[str], known: Iterable[str], *, what: str) -> None:
    """Refuse names that are not among the known ones.

    Raises:
        KineflowError: Naming those that are unknown, and all that are known.
    """
    options = sorted(known)
    unknown = sorted(set(names) - set(options))
    if unknown:
        raise KineflowError(
            f"unknown {what} {', '.join(map(repr, unknown))}",
            remedy=f"choose among {', '.join(map(repr, options))}",
        )


def headline(summary: Summary) -> dict[str, float]:
    """The figures of ``metrics.json`` for one model, fusion or trivial baseline; undefined ones are absent."""
    figures = dataclasses.asdict(summary)
    return {name: value for name, value in figures.items() if name != "clips" and not math.isnan(value)}


def _figures_of_model(evaluation: Evaluation, model: Evaluated) -> dict[str, float]:
    figures = headline(evaluation.summary_of(model.scores))
    if model.by_one_view is not None:
        ranks = ranks_of_truth(model.by_one_view.logits, model.by_one_view.nearest_labels)
        figures[ONE_VIEW_TOP1] = float((ranks == 0).mean())
    return figures


def evaluation_metrics(evaluation: Evaluation) -> dict[str, float]:
    """All headline figures by name: ``<model>/top1``, ``fusion/<a> and <b>/top1``, ``baselines/<name>/top1``, …"""
    others = {f"fusion/{' and '.join(fused.members)}": fused.scores for fused in evaluation.fusions}
    others |= {
        f"baselines/{scores.model.replace(',', '')}": scores for scores in evaluation.trivial
    }  # MLflow has no comma
    figures = {model.name: _figures_of_model(evaluation, model) for model in evaluation.models}
    figures |= {name: headline(evaluation.summary_of(scores)) for name, scores in others.items()}
    return {f"{name}/{key}": value for name, of_one in figures.items() for key, value in of_one.items()}


def write_evaluation(
    folder: Path,
    evaluation: Evaluation,
    *,
    version: str,
    protocol: ScoringProtocol,
    views: ViewProtocol | None = None,
    other_views: Mapping[str, ViewProtocol] | None = None,
    clip_set: str = "",
) -> None:
    """Write the files of the module's picture into an existing folder.

    Args:
        folder: Where to.
        evaluation: What.
        version: Of the data, see :func:`clips_digest`.
        protocol: How clips were scored.
        views: Of which views the scores are, where that is known.
        other_views: Those of models, by name, whose scores are of others.
        clip_set: Of the whole set that the clips are from, see :func:`kineflow.sets.clip_set.digest_of_set`.
    """
    for model in evaluation.models:
        model.scores.save(inside(folder / SCORES_FOLDER, f"{model.name}.parquet"))
    if evaluation.groups:
        _write_groups(folder / GROUPS_FILE, evaluation.models[0].scores.clip_ids, evaluation.groups)
    metrics: dict[str, Any] = {model.name: _figures_of_model(evaluation, model) for model in evaluation.models}
    metrics["fusion"] = {
        fused.scores.model: headline(evaluation.summary_of(fused.scores))
        | {"weights": dict(zip(fused.members, fused.weights, strict=True))}
        for fused in evaluation.fusions
    }
    student = evaluation.scores_of(evaluation.student)
    metrics["baselines"] = {
        scores.model: headline(evaluation.summary_of(scores))
        | {"student_gain": dataclasses.asdict(evaluation.gain(student, scores))}
        for scores in evaluation.trivial
    }
    if evaluation.label_efficiency:
        metrics["label_efficiency"] = dataclasses.asdict(evaluation.label_efficiency)
    split, classes = evaluation.models[0].scores.split, len(evaluation.classes)
    metrics["data"] = {
        "split": split,
        "clips": evaluation.clips,
        "classes": classes,
        "student": evaluation.student,
        "version": version,
        "protocol": protocol.words,
        "protocol_sha256": protocol.digest,
        "clip_set": clip_set,
    }
    if student.truth is not None:
        metrics["data"]["multi_label"] = True
    if views:
        metrics["data"]["views"] = views.plain()
    if other_views:
        metrics["data"]["other_views"] = {model: others.plain() for model, others in other_views.items()}
    if evaluation.choice:
        metrics["data"]["chosen_on_val"] = {"clips": evaluation.choice.clips, "loss": dict(evaluation.choice.losses)}
    (folder / METRICS_FILE).write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    _write_csv(
        folder / PER_CLASS_FILE,
        ("model", "class", "clips", "accuracy", "change_from_baseline"),
        (row for model in evaluation.models for row in _class_rows(model.scores, evaluation)),
    )
    _write_csv(
        folder / CONFUSION_FILE,
        ("model", "true", "predicted", "clips"),
        (row for model in evaluation.models for row in _confusion_rows(model.scores)),
    )


def _write_groups(path: Path, clip_ids: Sequence[str], groups: Sequence[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"clip_id": pa.array(clip_ids, pa.string()), "group": pa.array(groups, pa.string())}), path)


def _class_rows(scores: Scores, evaluation: Evaluation) -> Iterable[tuple[str | int, ...]]:
    confusion = confusion_of(scores)
    change = np.full(len(scores.classes), np.nan)
    if evaluation.baseline is not None:
        change = per_class_change(scores, evaluation.scores_of(evaluation.baseline))
    clips = confusion.sum(axis=1) if scores.truth is None else scores.truth.sum(axis=0)
    columns = zip(scores.classes, clips, per_class_figures(scores), change, strict=True)
    for name, of_class, figure, difference in columns:
        yield scores.model, name, int(of_class), _figure(figure), _figure(difference)


def _confusion_rows(scores: Scores) -> Iterable[tuple[str | int, ...]]:
    confusion = confusion_of(scores)
    for true, predicted in np.argwhere(confusion):
        yield scores.model, scores.classes[true], scores.classes[predicted], int(confusion[true, predicted])


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _write_csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[str | int, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(map(harmless, rows))
