"""From descriptions of labelled clips to a model: families compared by folds, the best of them averaged, calibrated.

Of every family and strength, folds of whole groups give each clip a score by a classifier that saw none of its group.
Families are ranked by the log loss of those scores at their best temperature. The logits of the best few are averaged:
on small sets the ranks of families are noisy, and their mean is steadier than the first of them. One temperature
(Guo et al. 2017, §4.2) then makes the averaged scores probabilities, by the same scores of the folds.

All of it is linear, so that the model is one matrix over the columns of its families.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kineflow.selection.described import Described, Labels, Matrix
from kineflow.selection.linear import Linear, Whitening, fit_linear, joined

_TEMPERATURES = np.exp(np.linspace(-2.5, 2.5, 51))
_LEAST_PROBABILITY = 1e-9


@dataclass(frozen=True)
class Candidate:
    """A family at its best strength.

    Attributes:
        family: Groups of descriptors.
        strength: C.
        loss: Log loss in the folds, at its best temperature.
        temperature: That temperature.
        logits: [M, K], those of the folds; NaN of a clip that no fold could judge: its class was not among those
            learnt from.
    """

    family: tuple[str, ...]
    strength: float
    loss: float
    temperature: float
    logits: Matrix

    @property
    def name(self) -> str:
        """Its groups joined by ``+``."""
        return "+".join(self.family)


@dataclass(frozen=True)
class Model:
    """A linear classifier over the columns of some groups, whose softmax is calibrated."""

    family: tuple[str, ...]
    linear: Linear

    def scores(self, described: Described) -> Matrix:
        """Log probabilities of each clip, [N, K]."""
        return described.scores(self.linear.logits(described.columns(self.family)))


def folds_of(described: Described, folds: int, seed: int) -> Iterator[tuple[Labels, Labels]]:
    """Places of training and of held-out clips, ``folds`` times: whole groups, classes spread evenly.

    With few groups or clips they are fewer, and none where all are of one group or no class has two clips.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    count = min(folds, len(set(described.groups)), int(np.bincount(described.labels).max()))
    if count < 2:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer clips than folds
        splits = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(
            described.labels, described.labels, described.groups
        )
        yield from ((train, held_out) for train, held_out in splits if len(train) and len(held_out))


def rank_families(
    described: Described, families: Sequence[tuple[str, ...]], strengths: Sequence[float], *, folds: int, seed: int
) -> list[Candidate]:
    """Every family at its best strength, the best one first.

    Args:
        described: Labelled clips.
        families: Groups of each.
        strengths: Values of C, ascending.
        folds: Parts of the clips.
        seed: Decides which groups go together.
    """
    logits = {(family, strength): np.full((len(described.rows), described.classes), np.nan)
              for family in families for strength in strengths}  # fmt: skip
    for train, held_out in folds_of(described, folds, seed):
        fitted = described.subset(train)
        held_out = held_out[np.isin(described.labels[held_out], fitted.labels)]
        held, judged = described.subset(held_out), np.isin(described.clip_of, held_out)
        whitenings = _whitenings(fitted, families)
        for family in families:
            whitening = joined([whitenings[group] for group in family])
            rows = whitening.apply(fitted.columns(family))
            for strength in strengths:
                linear = _fit(fitted, rows, whitening, strength)
                logits[family, strength][judged] = linear.logits(held.columns(family))
    best = []
    for family in families:
        tried = [(*_calibrate(described, logits[family, strength]), strength) for strength in strengths]
        loss, temperature, strength = min(tried)
        best.append(Candidate(family, strength, loss, temperature, logits[family, strength]))
    return sorted(best, key=lambda candidate: candidate.loss)


def fit_family(described: Described, candidate: Candidate) -> Model:
    """The calibrated classifier of one family, fitted on all of the clips."""
    linear = _linear_of(described, candidate)
    return Model(candidate.family, _scaled(linear, 1 / candidate.temperature))


def temperature_of(described: Described, candidates: Sequence[Candidate]) -> float:
    """What calibrates the mean of several families: the temperature at which their folds' logits cost least."""
    return _calibrate(described, np.mean([candidate.logits for candidate in candidates], axis=0))[1]


def fit_blend(described: Described, candidates: Sequence[Candidate], temperature: float) -> Model:
    """The mean of several families at a temperature, fitted on all of the clips: one classifier over their columns."""
    family = tuple(group for group in described.blocks if any(group in each.family for each in candidates))
    sizes = {group: described.blocks[group].stop - described.blocks[group].start for group in family}
    ends = dict(zip(family, np.cumsum(list(sizes.values())), strict=True))
    weight, bias = np.zeros((sum(sizes.values()), described.classes)), np.zeros(described.classes)
    for candidate in candidates:
        linear, start = _linear_of(described, candidate), 0
        for group in candidate.family:
            weight[ends[group] - sizes[group] : ends[group]] += linear.weight[start : start + sizes[group]]
            start += sizes[group]
        bias += linear.bias
    return Model(family, _scaled(Linear(weight, bias), 1 / (len(candidates) * temperature)))


def _linear_of(described: Described, candidate: Candidate) -> Linear:
    whitenings = _whitenings(described, [candidate.family])
    whitening = joined([whitenings[group] for group in candidate.family])
    return _fit(described, whitening.apply(described.columns(candidate.family)), whitening, candidate.strength)


def _fit(described: Described, rows: Matrix, whitening: Whitening, strength: float) -> Linear:
    return fit_linear(
        rows, described.row_labels, described.row_weights, whitening, strength=strength, classes=described.classes
    )


def _whitenings(described: Described, families: Sequence[tuple[str, ...]]) -> Mapping[str, Whitening]:
    groups = {group for family in families for group in family}
    return {group: Whitening.of(described.columns([group]), described.row_weights) for group in groups}


def _calibrate(described: Described, logits: NDArray[np.float64]) -> tuple[float, float]:
    """Log loss of window logits [M, K] at the temperature that makes it least, and that temperature."""
    losses = [_log_loss(described, logits / temperature) for temperature in _TEMPERATURES]
    loss, _, temperature = min(zip(losses, np.abs(np.log(_TEMPERATURES)), _TEMPERATURES, strict=True))
    return loss, float(temperature)  # 1 where no clip was judged


def _log_loss(described: Described, logits: Matrix) -> float:
    """Mean over the clips that were judged; 0 where none was."""
    of_truth = described.scores(logits)[np.arange(len(described)), described.labels]
    judged = of_truth[~np.isnan(of_truth)]
    return float(-np.maximum(judged, np.log(_LEAST_PROBABILITY)).mean()) if len(judged) else 0.0


def _scaled(linear: Linear, factor: float) -> Linear:
    return Linear(linear.weight * factor, linear.bias * factor)
