"""When a candidate may take the champion's place: a decision on figures alone, free of any registry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from kineflow.registry.measured import PER_CLASS, Measured
from kineflow.storage.config import Params

_ROUNDING = 1e-9  # 0.82 - 0.80 is a gain of 0.02, whatever binary fractions say


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


def not_above(candidate: Measured) -> list[str]:
    """Why a model is not shown to be above the trivial baselines of its evaluation; nothing where it is.

    It has to be above each of them by more than its 95 % interval allows for: the least of the gain lies above 0.
    """
    if not candidate.gains:
        return [
            "the evaluation does not compare it with trivial baselines: make the model its student, and leave "
            "evaluation.baselines on"
        ]
    return [
        f"over {name!r} it gains {gain.value:+.1%}, from {gain.low:+.1%} to {gain.high:+.1%}: that may be chance"
        for name, gain in candidate.gains.items()
        if gain.low <= 0
    ]


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
