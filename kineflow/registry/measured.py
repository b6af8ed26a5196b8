"""What a model has shown in an evaluation, as the registry keeps it and a gate reads it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kineflow.evaluation.view_protocol import ViewProtocol, read_views
from kineflow.serving.tested import AsTested
from kineflow.spec.output_files import METRICS_FILE, ONE_VIEW_TOP1, PER_CLASS_FILE, RESERVED_METRICS
from kineflow.storage.errors import KineflowError
from kineflow.storage.safe_json import read_json
from kineflow.storage.spreadsheet import as_given

PER_CLASS, TOP1 = "per_class/", "top1"
_EVALUATE_AGAIN = "run the evaluate step again"


@dataclass(frozen=True)
class GainOver:
    """A difference of top-1 on the same clips, in [-1, 1], and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """What a model has shown, and on which clips.

    Attributes:
        metrics: Figures by name, higher is better; ``per_class/<class>`` is the share of that class's clips that are
            right.
        clips_digest: Hash of the clips and labels it was measured on.
        clips: How many they were.
        gains: What its top-1 is above each trivial baseline of the evaluation, by name.
        protocol: How the clips were scored, in words; empty when not known.
        latency_ms: Time for the input example on a CPU; None when not known.
        size_mb: Megabytes (10^6) of weights; None when not known.
        protocol_digest: Of the protocol, by which two are compared; empty in evaluations of earlier releases.
        clip_set: Digest of the whole clip set that those clips are from; empty when not known.
        validation: What the checks of that set came to, ``green`` or ``accepted`` (with warnings); empty when not
            known.
        views: Of which views of a clip the scores are; None when not known.
    """

    metrics: Mapping[str, float]
    clips_digest: str
    clips: int = 0
    gains: Mapping[str, GainOver] = field(default_factory=dict)
    protocol: str = ""
    latency_ms: float | None = None
    size_mb: float | None = None
    protocol_digest: str = ""
    clip_set: str = ""
    validation: str = ""
    views: ViewProtocol | None = None

    def is_scored_as(self, other: Measured) -> bool:
        """Whether both were scored by the same protocol; by its words where one of them has no digest of it."""
        if self.protocol_digest and other.protocol_digest:
            return self.protocol_digest == other.protocol_digest
        return self.protocol == other.protocol

    @property
    def headline(self) -> dict[str, float]:
        """The metrics without those of single classes."""
        return {name: value for name, value in self.metrics.items() if not name.startswith(PER_CLASS)}


def read_evaluation(folder: Path, model: str) -> Measured:
    """What the evaluate step found out about one model.

    Args:
        folder: The step's output: ``metrics.json`` and, for the figures of single classes, ``per_class.csv``.
        model: Its name there.

    Raises:
        KineflowError: A file is missing or malformed, or the model was not evaluated.
    """
    content, path = _metrics(folder), folder / METRICS_FILE
    match content:
        case {"data": {"version": str(version), "clips": int(clips)}}:
            pass
        case _:
            raise KineflowError(
                "does not say which data was used (data.version, data.clips)", where=path, remedy=_EVALUATE_AGAIN
            )
    if not isinstance(content.get(model), dict) or model in RESERVED_METRICS:
        known = sorted(name for name in content if name not in RESERVED_METRICS)
        raise KineflowError(
            f"model {model!r} was not evaluated; there are {', '.join(map(repr, known)) or 'none'}",
            where=path,
            remedy="pass the model's own evaluation, or evaluate it too",
        )
    metrics = {name: float(value) for name, value in content[model].items() if isinstance(value, int | float)}
    about = {key: str(content["data"].get(key, "")) for key in ("protocol", "protocol_sha256", "clip_set")}
    return Measured(
        metrics | _per_class(folder / PER_CLASS_FILE, model),
        version,
        clips,
        _gains(content, model, path),
        about["protocol"],
        protocol_digest=about["protocol_sha256"],
        clip_set=about["clip_set"],
        views=_views(content["data"], model, path),
    )


def tested_as(measured: Measured) -> AsTested | None:
    """How a model was tested, and what it has shown; None where its evaluation does not say."""
    if measured.views is None or TOP1 not in measured.metrics:
        return None
    one_view = measured.metrics.get(ONE_VIEW_TOP1)
    return AsTested(measured.views, measured.clips, measured.metrics[TOP1], one_view)


def student_of(folder: Path) -> str:
    """Name of the model that an evaluation is about.

    Args:
        folder: Output of the evaluate step.

    Raises:
        KineflowError: ``metrics.json`` is missing or malformed.
    """
    match _metrics(folder):
        case {"data": {"student": str(student)}}:
            return student
        case _:
            raise KineflowError(
                "does not say which model it is about (data.student)",
                where=folder / METRICS_FILE,
                remedy=_EVALUATE_AGAIN,
            )


def _metrics(folder: Path) -> Any:
    path = folder / METRICS_FILE
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise KineflowError(
            f"no readable evaluation: {error}", where=path, remedy="run the evaluate step into this folder"
        ) from None


def _gains(content: Mapping[str, Any], model: str, path: Path) -> dict[str, GainOver]:
    """Of the evaluation's student over the trivial baselines; of another model they are not kept."""
    if content["data"].get("student") != model:
        return {}
    try:
        gains = {name: row["student_gain"] for name, row in content.get("baselines", {}).items()}
        return {name: GainOver(*(float(gain[key]) for key in ("value", "low", "high"))) for name, gain in gains.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise KineflowError(f"malformed baselines: {error}", where=path, remedy=_EVALUATE_AGAIN) from None


def _views(data: Mapping[str, Any], model: str, path: Path) -> ViewProtocol | None:
    """None in evaluations of earlier releases."""
    if data.get("views") is None:
        return None
    try:
        return read_views(data.get("other_views", {}).get(model, data["views"]))
    except (AttributeError, TypeError, ValueError) as error:
        raise KineflowError(f"malformed views: {error}", where=path, remedy=_EVALUATE_AGAIN) from None


def _per_class(path: Path, model: str) -> dict[str, float]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as stream:
        try:
            rows = [row for row in csv.DictReader(stream) if as_given(row["model"]) == model and row["accuracy"]]
            return {f"{PER_CLASS}{as_given(row['class'])}": float(row["accuracy"]) for row in rows}
        except (AttributeError, KeyError, ValueError, csv.Error) as error:
            raise KineflowError(f"malformed: {error}", where=path, remedy=_EVALUATE_AGAIN) from None
