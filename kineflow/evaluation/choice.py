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
        losses = ", ".join(f"{name} {loss:.3f}" for name, loss in self.losses.items())
        clips = f"{self.clips} clip{'' if self.clips == 1 else 's'} of val"
        return f"{self.winner} was chosen: its loss is the lowest on {clips} ({losses})"


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


def _cross_entropy(scores: Scores) -> NDArray[np.float64]:
    """Of each clip, [N], in nats."""
    of_truth = scores.probabilities()[np.arange(len(scores)), scores.labels].astype(np.float64)
    loss: NDArray[np.float64] = -np.log(np.maximum(of_truth, _LEAST_PROBABILITY))
    return loss
