"""Which of several models is the best on ``val``: the report is about it, and it can be registered.

They are compared by cross entropy, which sees how sure each answer was, and never on the clips that judge. Of those
within one standard error of the best, the first named wins (Breiman et al. 1984, §3.4.3): so small a difference says
nothing, and the simplest is named first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kineflow.evaluation.intervals import Groups, standard_error
from kineflow.evaluation.scores import Scores, align

_LEAST_PROBABILITY = 1e-9


@dataclass(frozen=True)
class ModelChoice:
    """A model chosen on ``val``.

    Attributes:
        winner: Its name.
        losses: Mean cross entropy of each by name.
        clips: Of ``val``.
    """

    winner: str
    losses: Mapping[str, float]
    clips: int

    @property
    def sentence(self) -> str:
        """What was chosen and why, in words."""
        best = min(self.losses, key=lambda name: self.losses[name])
        losses = ", ".join(f"{name} {loss:.3f}" for name, loss in self.losses.items())
        clips = f"{self.clips} clip{'' if self.clips == 1 else 's'} of val"
        if self.winner == best:
            return f"{self.winner} was chosen: its loss is the lowest on {clips} ({losses})"
        return (
            f"{self.winner} was chosen: on {clips} the lowest loss, {best}'s, is below its own by no more than chance "
            f"may give ({losses})"
        )


def choose_on_val(on_val: Sequence[Scores], groups: Groups = None) -> ModelChoice:
    """Choose the model of the lowest cross entropy, or the first one that is within one standard error of it.

    Args:
        on_val: Scores of the same labelled clips, one a model, the simplest model first.
        groups: Of the clips, in their order; None: clips are independent.

    Raises:
        KineflowError: The scores are not of the same clips.
    """
    align(list(on_val))
    losses = {scores.model: _cross_entropy(scores) for scores in on_val}
    means = {name: float(loss.mean()) for name, loss in losses.items()}
    best = losses[min(means, key=lambda name: means[name])]
    behind = {name: loss - best for name, loss in losses.items()}
    winner = next(name for name, by in behind.items() if float(by.mean()) <= standard_error(by, groups))
    return ModelChoice(winner, means, len(best))


def _cross_entropy(scores: Scores) -> NDArray[np.float64]:
    """Of each clip, [N], in nats."""
    of_truth = scores.probabilities()[np.arange(len(scores)), scores.labels].astype(np.float64)
    loss: NDArray[np.float64] = -np.log(np.maximum(of_truth, _LEAST_PROBABILITY))
    return loss
