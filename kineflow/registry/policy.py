"""When a candidate may take the champion's place: a decision on figures alone, free of any registry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from kineflow.registry.measured import PER_CLASS, Measured
from kineflow.registry.paired import FIGURES, Paired
from kineflow.storage.config import Params

_ROUNDING = 1e-9  # 0.82 - 0.80 is a gain of 0.02, whatever binary fractions say


class Gate(Params):
    """What a candidate must show to become the champion."""

    primary_metric: str = "top1"
    """Figure of the evaluation in which a candidate is compared with the champion; higher is better."""

    test: Literal["better", "not_worse", "none"] = "better"
    """Asked of the interval of the gain over the champion, from the answers of both to the same clips (of ``top1``,
    ``top5`` and ``mean_class_accuracy``): ``better`` wants it above 0, ``not_worse`` above ``-margin``; ``none``
    looks at the figures alone, and chance may decide."""

    level: float = Field(default=0.95, ge=0.5, lt=1)
    """Confidence level of that interval."""

    margin: float = Field(default=0.0, ge=0, le=1)
    """Loss that ``not_worse`` puts up with."""

    min_gain: float = Field(default=0.0, ge=0, le=1)
    """Least gain over the champion, whatever its interval; ``not_worse`` does not ask for it."""

    data: Literal["same", "common"] = "same"
    """On which clips a candidate is compared: ``same`` wants the champion evaluated on the same test clips; ``common``
    puts up with test clips that have come since, and compares on the champion's, all of which the candidate must have
    been asked about. Wants a ``test``."""

    floors: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    """Lowest value allowed by figure, for the first champion too, e.g. ``{top1: 0.5}``."""

    per_class_floor: float | None = Field(default=None, ge=0, le=1)
    """Lowest share of clips right in any class; null asks for none."""

    max_ece: float | None = Field(default=None, ge=0, le=1)
    """Highest expected calibration error; null asks for none."""

    max_latency_ms: float | None = Field(default=None, gt=0)
    """Longest time for the input example on the machine that registered it, median of three; null asks for none."""

    max_size_mb: float | None = Field(default=None, gt=0)
    """Most megabytes of weights; null asks for none."""

    validation: Literal["green", "accepted", "any"] = "any"
    """What the checks of the clip set must have come to: ``green`` wants all passed, ``accepted`` puts up with
    warnings; ``any`` does not ask, not even whether they were made."""

    lineage: tuple[str, ...] = ()
    """Tags that the version must have, e.g. ``[git.commit, dvc.data.md5]``."""

    @model_validator(mode="after")
    def _there_is_such_a_test(self) -> Self:
        if self.test != "none" and self.primary_metric not in FIGURES:
            raise ValueError(
                f"test: {self.test} is of {', '.join(FIGURES)}; for {self.primary_metric!r} set test: none"
            )
        if self.data == "common" and self.test == "none":
            raise ValueError("data: common compares answers to single clips, as a test does: set test: better")
        return self


@dataclass(frozen=True)
class Decision:
    """Whether a candidate is promoted, and every reason for it or against it."""

    allowed: bool
    reasons: tuple[str, ...]


def decide(
    candidate: Measured,
    champion: Measured | None,
    gate: Gate,
    *,
    paired: Paired | None = None,
    unpaired: str = "",
    other_data_allowed: bool = False,
) -> Decision:
    """Hold a candidate against the champion.

    Args:
        candidate: What the candidate has shown.
        champion: The same of the champion; None when there is none yet, and the floors alone decide.
        gate: What is asked for.
        paired: The gain over the champion on the same clips, with its interval.
        unpaired: Why there is none.
        other_data_allowed: Compare figures even though they were measured on different clips or by another protocol.

    Returns:
        A refusal with all its reasons, or a permission with those that speak for it.
    """
    against = _beyond_bounds(candidate, gate)
    grown = _on_all_of_the_champions(paired, candidate, champion, gate)
    gain, faults = _gain_on(grown, gate) if grown else _gain(candidate, champion, gate)
    against += faults
    tested = ""
    if champion is not None:
        others = [] if grown else _other_data(candidate, champion, gate, paired)
        if others and not other_data_allowed:
            against += others
        elif not faults:
            tested, failed = _test(gate, paired, unpaired, on_other_data=bool(others))
            against += failed
    return Decision(False, tuple(against)) if against else Decision(True, tuple(filter(None, (gain, tested))))


def _other_data(candidate: Measured, champion: Measured, gate: Gate, paired: Paired | None) -> list[str]:
    different = []
    if champion.clips_digest != candidate.clips_digest:
        gone = champion.clips - paired.clips if paired and gate.data == "common" else 0
        if gone > 0:
            different.append(
                f"{gone} of the champion's {champion.clips} clips are gone or have another label: evaluate the "
                "champion again, or promote --other-data"
            )
        elif not paired or gate.data == "same":
            advice = "; where clips were only added, registration.data: common compares on the champion's"
            different.append(
                "the two were evaluated on different data "
                f"({candidate.clips_digest[:12]} and, the champion, {champion.clips_digest[:12]}): "
                f"evaluate both on the same test clips{advice if gate.data == 'same' else ''}"
            )
    if not candidate.is_scored_as(champion):
        different.append(
            f"the two were evaluated by different protocols ({_protocol(candidate)}; the champion, "
            f"{_protocol(champion)}): evaluate both by the same"
        )
    return different


def _on_all_of_the_champions(
    paired: Paired | None, candidate: Measured, champion: Measured | None, gate: Gate
) -> Paired | None:
    """The gain, where test clips were only added since and the gate puts up with that."""
    if paired is None or champion is None or gate.data == "same" or champion.clips_digest == candidate.clips_digest:
        return None
    return paired if paired.clips == champion.clips and candidate.is_scored_as(champion) else None


def _gain_on(paired: Paired, gate: Gate) -> tuple[str, list[str]]:
    words = f"{gate.primary_metric} gains {paired.value:+.4g} on the champion's {paired.clips} clips"
    least = -gate.margin if gate.test == "not_worse" else gate.min_gain
    if paired.value < least - _ROUNDING:
        return "", [f"{words}, and {least:+.4g} is asked for"]
    return words, []


def _protocol(measured: Measured) -> str:
    digest = f", {measured.protocol_digest[:12]}" if measured.protocol_digest else ""
    return f"{measured.protocol or 'not known'}{digest}"


def _test(gate: Gate, paired: Paired | None, unpaired: str, *, on_other_data: bool) -> tuple[str, list[str]]:
    """What the paired test says, or why it refuses."""
    if gate.test == "none":
        return "", []
    if paired is None:
        if on_other_data:
            return f"not tested: {unpaired}", []
        return "", [f"no paired test of {gate.primary_metric}: {unpaired}"]
    least = 0.0 if gate.test == "better" else -gate.margin
    words = (
        f"on {paired.clips} clips that both were asked about, {gate.primary_metric} gains {paired.value:+.1%}, from "
        f"{paired.low:+.1%} to {paired.high:+.1%} at {gate.level:.3g}"
    )
    if paired.low > least:
        return words, []
    asked = "above 0" if gate.test == "better" else f"above {least:+.1%}"
    return "", [f"{words}: that may be chance; an interval {asked} is asked for (test: {gate.test})"]


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
    least = -gate.margin if gate.test == "not_worse" else gate.min_gain
    if value - held < least - _ROUNDING:
        return "", [f"{comparison}: a gain of {value - held:+.4g}, and {least:+.4g} is asked for"]
    return f"{comparison}: a gain of {value - held:+.4g}", []


def _beyond_bounds(candidate: Measured, gate: Gate) -> list[str]:
    faults = [*_below_floors(candidate, gate), *_not_validated(candidate, gate)]
    for what, value, most, unit in (
        ("ece", _finite(candidate, "ece"), gate.max_ece, ""),
        ("latency of the input example", candidate.latency_ms, gate.max_latency_ms, " ms"),
        ("size of the weights", candidate.size_mb, gate.max_size_mb, " MB"),
    ):
        if most is not None and value is None:
            faults.append(f"{what} is not known, and at most {most:.4g}{unit} is asked for: train and register anew")
        elif most is not None and value is not None and value > most + _ROUNDING:
            faults.append(f"{what} is {value:.4g}{unit}, and at most {most:.4g}{unit} is asked for")
    return faults


def _not_validated(candidate: Measured, gate: Gate) -> list[str]:
    if gate.validation == "any" or candidate.validation in ("green", gate.validation):
        return []
    if not candidate.validation:
        return [
            f"it is not known what the checks of its clip set came to, and {gate.validation!r} is asked for: "
            "run the steps validate, evaluate and register again"
        ]
    return [f"its clip set was accepted with warnings, and {gate.validation!r} is asked for: see validate's report"]


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
