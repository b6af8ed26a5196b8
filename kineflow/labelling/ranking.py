"""Which unlabelled clips to label first.

A clip is worth its label for what that would say of all the others. Take a linear model on the clips' features: of the
clips without a label it knows least about those whose features the labelled ones do not span. A label is put where it
takes most of that away, summed over all clips, and then the next one, as if the first were there already (transductive
experimental design, Yu, Bi and Tresp, ICML 2006). So what is chosen is typical of many clips, unlike those that have a
label, and no two are alike. Clips count for more where the model is unsure, where two models disagree, and where a
class may be that few labels are of.

With few labels the first of these matters and uncertainty hardly helps (Hacohen et al. 2022): a model that has seen
little is unsure everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Places = NDArray[np.int64]

_RIDGE = 0.1  # share of a clip's own variance that a label does not explain
_UNSURE, _DISAGREE, _RARE, _MAY_BE = 0.7, 0.1, 0.5, 0.2


@dataclass(frozen=True)
class Clips:
    """What is known of the clips that labels are wanted for, and of those that have one.

    Attributes:
        features: [N, D], of one scale.
        labels: [N], indices of classes; -1: none.
        classes: K names.
        probabilities: By name of a model, [N, K]; the first is the one that is to learn.
    """

    features: Matrix
    labels: NDArray[np.int64]
    classes: Sequence[str]
    probabilities: Mapping[str, Matrix]

    @property
    def own(self) -> Matrix:
        """Probabilities of the model that is to learn, [N, K]."""
        return next(iter(self.probabilities.values()))


@dataclass(frozen=True)
class Choice:
    """A clip to label.

    Attributes:
        place: Among the clips.
        why: In a short sentence.
    """

    place: int
    why: str


def rank_clips(clips: Clips, count: int) -> list[Choice]:
    """The clips to label, the most useful first; at most ``count``, and none that has a label."""
    waiting = np.flatnonzero(clips.labels < 0)
    if not len(waiting):
        return []
    unknown, ridge = _unknown(clips, waiting)
    chosen = spread(unknown, weights_of(clips)[waiting], ridge, count)
    reasons = _Reasons.of(clips, waiting, np.diag(unknown))
    return [Choice(int(waiting[each]), reasons.of_clip(int(each))) for each in chosen]


def spread(unknown: Matrix, weights: Vector, ridge: float, count: int) -> list[int]:
    """Places of clips whose labels say most of all clips, one after the other.

    Args:
        unknown: [n, n], covariance of what is not known of the clips.
        weights: [n], how much each counts.
        ridge: Variance of a clip that its label does not explain.
        count: How many, at most.
    """
    left, chosen = unknown.copy(), list[int]()
    for _ in range(min(count, len(left))):
        worth = weights @ left**2 / (np.diag(left) + ridge)
        worth[chosen] = -1.0
        best = int(worth.argmax())
        chosen.append(best)
        left -= np.outer(left[:, best], left[best]) / (left[best, best] + ridge)
    return chosen


def weights_of(clips: Clips) -> Vector:
    """How much each clip counts, [N], from 1 on."""
    return 1.0 + unsureness(clips.own) + disagreement(list(clips.probabilities.values())) + rarity(clips)


def unsureness(probabilities: Matrix) -> Vector:
    """Of each clip, [N]: 1 where its two likeliest classes are as likely, 0 where one is certain."""
    ordered = np.sort(probabilities, axis=1)
    unsure: Vector = 1.0 - (ordered[:, -1] - ordered[:, -2]) if ordered.shape[1] > 1 else np.zeros(len(ordered))
    return unsure


def disagreement(probabilities: Sequence[Matrix]) -> Vector:
    """Jensen-Shannon divergence of models' [N, K] in bits, [N]: 0 where they agree; of two models 1 at most."""
    together = np.mean(probabilities, axis=0)
    apart: Vector = _entropy(together) - np.mean([_entropy(each) for each in probabilities], axis=0)
    return np.maximum(apart, 0.0)


def rarity(clips: Clips) -> Vector:
    """Of each clip, [N] in [0, 1]: how probably it is of a class that has fewer labels than its share."""
    return clips.own @ np.maximum(0.0, 1.0 - _share_of_labels(clips) * len(clips.classes))


def _share_of_labels(clips: Clips) -> Vector:
    counts = np.bincount(clips.labels[clips.labels >= 0], minlength=len(clips.classes))
    share: Vector = counts / max(1, counts.sum())
    return share


def _unknown(clips: Clips, waiting: Places) -> tuple[Matrix, float]:
    """Covariance of what labels leave unknown of clips that wait for theirs, and the ridge."""
    centred = clips.features - clips.features.mean(axis=0)
    variance = float((centred**2).sum(axis=1).mean()) or 1.0
    rows = np.concatenate([centred, np.full((len(centred), 1), variance**0.5)], axis=1)  # the intercept is unknown too
    known, wanted, ridge = rows[clips.labels >= 0], rows[waiting], _RIDGE * variance
    between = known @ wanted.T
    gram = known @ known.T + ridge * np.eye(len(known))
    unknown: Matrix = wanted @ wanted.T - between.T @ np.linalg.solve(gram, between)
    return unknown, ridge


def _entropy(probabilities: Matrix) -> Vector:
    entropy: Vector = -(probabilities * np.log2(np.maximum(probabilities, 1e-12))).sum(axis=1)
    return entropy


@dataclass(frozen=True)
class _Reasons:
    """What to say of the clips that wait for a label; arrays are of these alone."""

    classes: Sequence[str]
    models: Sequence[str]
    probabilities: Matrix  # [models, n, K]
    unsure: Vector
    apart: Vector
    new: NDArray[np.bool_]
    rare: NDArray[np.bool_]  # [K]

    @classmethod
    def of(cls, clips: Clips, waiting: Places, unknown: Vector) -> _Reasons:
        all_of_it = ((clips.features[waiting] - clips.features.mean(axis=0)) ** 2).sum(axis=1)
        newness = unknown / np.maximum(all_of_it, 1e-12)
        probabilities = np.stack([each[waiting] for each in clips.probabilities.values()])
        return cls(
            classes=clips.classes,
            models=list(clips.probabilities),
            probabilities=probabilities,
            unsure=unsureness(probabilities[0]),
            apart=disagreement(list(probabilities)),
            new=newness > np.quantile(newness, 0.75),
            rare=_share_of_labels(clips) * len(clips.classes) < _RARE,
        )

    def of_clip(self, place: int) -> str:
        own = self.probabilities[0, place]
        first, second = (self.classes[name] for name in np.argsort(-own, kind="stable")[:2].repeat(2)[[0, -1]])
        said = [self.classes[name] for name in self.probabilities[:, place].argmax(axis=1)]
        if self.apart[place] > _DISAGREE and len(set(said)) > 1:
            return ", ".join(f"{model} says {name}" for model, name in zip(self.models, said, strict=True))
        may_be = np.flatnonzero(self.rare & (own > _MAY_BE))
        if len(may_be):
            return f"may be of the rare class {self.classes[may_be[own[may_be].argmax()]]}"
        if self.unsure[place] > _UNSURE:
            return f"unsure between {first} and {second}"
        return "unlike any labelled clip" if self.new[place] else "stands for many clips without a label"
