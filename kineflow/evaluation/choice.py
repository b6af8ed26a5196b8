"""Which of several models is the best on ``val``: the report is about it, and it can be registered.

They are compared by cross entropy, which sees how sure each answer was, and never on the clips that judge. To prefer
the simplest of those within a standard error (Breiman et al. 1984, §3.4.3) was measured to cost more than it saves:
with some ten to sixty clips of ``val`` nearly all are within it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kineflow.evaluation.scores import Scores, align
from kineflow.models.card import ModelCard, splits_learnt
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError

_LEAST_PROBABILITY = 1e-9


@dataclass(frozen=True)
class ModelChoice:
    """A model chosen on ``val``.

    Attributes:
        winner: Its name.
        losses: Mean cross entropy of each by name.
        clips: Of ``val``.
        before_refit: Whether the losses are those of trainings that came before a refit.
    """

    winner: str
    losses: Mapping[str, float]
    clips: int
    before_refit: bool = False

    @property
    def sentence(self) -> str:
        """What was chosen and why, in words."""
        losses = ", ".join(f"{name} {loss:.3f}" for name, loss in self.losses.items())
        clips = f"{self.clips} clip{'' if self.clips == 1 else 's'} of val"
        lowest = f"was the lowest on {clips} before the refit" if self.before_refit else f"is the lowest on {clips}"
        return f"{self.winner} was chosen: its loss {lowest} ({losses})"


def choose_on_val(on_val: Sequence[Scores]) -> ModelChoice:
    """Choose the model of the lowest cross entropy; of equal ones, the first.

    Args:
        on_val: Scores of the same labelled clips, one a model, the simplest model first.

    Raises:
        KineflowError: The scores are not of the same clips.
    """
    align(list(on_val))
    losses = {scores.model: float(_cross_entropy(scores).mean()) for scores in on_val}
    return ModelChoice(min(losses, key=lambda name: losses[name]), losses, len(on_val[0]))


def has_learnt_val(card: ModelCard) -> bool:
    """Whether a model, or what it started from, was refit on ``val``, whose clips say nothing of it any more."""
    return Split.VAL in splits_learnt(card.lineage)


def choose_by_cards(cards: Sequence[ModelCard], *, clips: int) -> ModelChoice:
    """Choose by what ``val`` said of each model in its training; of equal ones, the first.

    Args:
        cards: Of models of which some were refit on ``val``.
        clips: Of ``val``.

    Raises:
        KineflowError: Of one there is no such figure.
    """
    losses = {card.name: card.metrics["val/loss"] for card in cards if "val/loss" in card.metrics}
    if unknown := [card.name for card in cards if card.name not in losses]:
        refit = ", ".join(card.name for card in cards if has_learnt_val(card))
        raise KineflowError(
            f"{', '.join(unknown)} cannot be chosen on val: {refit} learnt from it, and there is no figure from before",
            remedy=f"leave {', '.join(unknown)} out of evaluation.choose_among, or set refit: false",
        )
    return ModelChoice(min(losses, key=lambda name: losses[name]), losses, clips, before_refit=True)


def _cross_entropy(scores: Scores) -> NDArray[np.float64]:
    """Of each clip, [N], in nats; of several classes the sum of binary ones."""
    if scores.truth is not None:
        right = np.where(scores.truth, scores.probabilities(), 1 - scores.probabilities())
        summed: NDArray[np.float64] = -np.log(np.maximum(right, _LEAST_PROBABILITY)).sum(axis=1)
        return summed
    of_truth = scores.probabilities()[np.arange(len(scores)), scores.labels].astype(np.float64)
    loss: NDArray[np.float64] = -np.log(np.maximum(of_truth, _LEAST_PROBABILITY))
    return loss
