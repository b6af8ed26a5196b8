"""When a candidate may take the champion's place: a decision on figures alone, free of any registry."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from kineflow.storage.config import Params
from kineflow.storage.errors import KineflowError

PER_CLASS = "per_class/"
METRICS_FILE = "metrics.json"
PER_CLASS_FILE = "per_class.csv"

_ROUNDING = 1e-9  # 0.82 - 0.80 is a gain of 0.02, whatever binary fractions say


@dataclass(frozen=True)
class Measured:
    """What a model has shown, and on which clips.

    Attributes:
        metrics: Figures by name, higher is better; ``per_class/<class>`` is the share of that class's clips that are
            right.
        clips_digest: Hash of the clips and labels it was measured on.
        clips: How many they were.
    """

    metrics: Mapping[str, float]
    clips_digest: str
    clips: int = 0

    @property
    def headline(self) -> dict[str, float]:
        """The metrics without those of single classes."""
        return {name: value for name, value in self.metrics.items() if not name.startswith(PER_CLASS)}


class Gate(Params):
    """What a candidate must show to become the champion."""

    primary_metric: str = "top1"
    """Figure of the evaluation in which a candidate must beat the champion; higher is better."""

    min_gain: float = Field(default=0.0, ge=0, le=1)
    """By how much at least; with 0, a tie is enough."""

    floors: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    """Lowest value allowed by figure, for the first champion too, e.g. ``{top1: 0.5}``."""

    per_class_floor: float | None = Field(default=None, ge=0, le=1)
    """Lowest share of clips right in any class; null asks for none."""


@dataclass(frozen=True)
class Decision:
    """Whether a candidate is promoted, and every reason for it or against it."""

    allowed: bool
    reasons: tuple[str, ...]


def decide(candidate: Measured, champion: Measured | None, gate: Gate, *, other_data_allowed: bool = False) -> Decision:
    """Hold a candidate against the champion.

    Args:
        candidate: What the candidate has shown.
        champion: The same of the champion; None when there is none yet, and the floors alone decide.
        gate: What is asked for.
        other_data_allowed: Compare figures even though they were measured on different clips.

    Returns:
        A refusal with all its reasons, or a permission with those that speak for it.
    """
    against = _below_floors(candidate, gate)
    gain, faults = _gain(candidate, champion, gate)
    against += faults
    if champion is not None and champion.clips_digest != candidate.clips_digest and not other_data_allowed:
        against.append(
            "the two were evaluated on different data "
            f"({candidate.clips_digest[:12]} and, the champion, {champion.clips_digest[:12]}): "
            "evaluate both on the same test clips"
        )
    return Decision(False, tuple(against)) if against else Decision(True, (gain,))


def read_evaluation(folder: Path, model: str) -> Measured:
    """What the evaluate step found out about one model.

    Args:
        folder: The step's output: ``metrics.json`` and, for the figures of single classes, ``per_class.csv``.
        model: Its name there.

    Raises:
        KineflowError: A file is missing or malformed, or the model was not evaluated.
    """
    path = folder / METRICS_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KineflowError(
            f"no readable evaluation: {error}", where=path, remedy="run the evaluate step into this folder"
        ) from None
    match content:
        case {"data": {"version": str(version), "clips": int(clips)}}:
            pass
        case _:
            raise KineflowError(
                "does not say which data was used (data.version, data.clips)", where=path, remedy=_EVALUATE_AGAIN
            )
    if not isinstance(content.get(model), dict) or model in ("data", "fusion"):
        known = sorted(name for name in content if name not in ("data", "fusion"))
        raise KineflowError(
            f"model {model!r} was not evaluated; there are {', '.join(map(repr, known)) or 'none'}",
            where=path,
            remedy="pass the model's own evaluation, or evaluate it too",
        )
    metrics = {name: float(value) for name, value in content[model].items() if isinstance(value, int | float)}
    return Measured(metrics | _per_class(folder / PER_CLASS_FILE, model), version, clips)


_EVALUATE_AGAIN = "run the evaluate step again"


def _per_class(path: Path, model: str) -> dict[str, float]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as stream:
        try:
            rows = [row for row in csv.DictReader(stream) if row["model"] == model and row["accuracy"]]
            return {f"{PER_CLASS}{row['class']}": float(row["accuracy"]) for row in rows}
        except (KeyError, ValueError) as error:
            raise KineflowError(f"malformed: {error}", where=path, remedy=_EVALUATE_AGAIN) from None


def _gain(candidate: Measured, champion: Measured | None, gate: Gate) -> tuple[str, list[str]]:
    name, value = gate.primary_metric, _finite(candidate, gate.primary_metric)
    if value is None:
        known = ", ".join(sorted(candidate.headline)) or "none"
        return "", [f"the candidate has no figure {name!r}; it has {known}"]
    if champion is None:
        return f"first champion: {name} {value:.4g}", []
    held = _finite(champion, name)
    if held is None:
        return "", [f"the champion has no figure {name!r} to compare with"]
    comparison = f"{name} {value:.4g} against the champion's {held:.4g}"
    if value - held < gate.min_gain - _ROUNDING:
        return "", [f"{comparison}: a gain of {value - held:+.4g}, and {gate.min_gain:+.4g} is asked for"]
    return f"{comparison}: a gain of {value - held:+.4g}", []


def _below_floors(candidate: Measured, gate: Gate) -> list[str]:
    faults = []
    for name, floor in sorted(gate.floors.items()):
        value = _finite(candidate, name)
        if value is None:
            faults.append(f"the candidate has no figure {name!r}, and at least {floor:.4g} is asked for")
        elif value < floor - _ROUNDING:
            faults.append(f"{name} is {value:.4g}, and at least {floor:.4g} is asked for")
    if gate.per_class_floor is None:
        return faults
    classes = {name: value for name, value in candidate.metrics.items() if name.startswith(PER_CLASS)}
    if not classes:
        return [*faults, "the evaluation has no figures of single classes, and a floor for them is asked for"]
    low = [name for name, value in sorted(classes.items()) if not value >= gate.per_class_floor - _ROUNDING]
    named = ", ".join(f"{name.removeprefix(PER_CLASS)} {classes[name]:.4g}" for name in low[:5])
    more = f" and {len(low) - 5} more" if len(low) > 5 else ""
    return [*faults, f"classes below {gate.per_class_floor:.4g}: {named}{more}"] if low else faults


def _finite(evaluation: Measured, name: str) -> float | None:
    value: Any = evaluation.metrics.get(name)
    return value if value is not None and math.isfinite(value) else None
