"""Which weights a training ends with: those of its best round on ``val``, of its last, or the average of the last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from kineflow.training.best_round import BestRound

if TYPE_CHECKING:
    from torch import Tensor

Keep = Literal["best", "last", "average"]


class KeptWeights:
    """Told of every round; it says which weights are to be kept from there on.

    ``best`` and ``last`` are what they say. ``average`` is the mean of every weight and statistic over the last rounds,
    all counting alike (Izmailov et al. 2018, without their higher rate); until these begin it is the last round.

    Args:
        keep: ``best``, ``last`` or ``average``.
        best: Which round is the best; read for ``best`` alone.
        rounds: Of the whole training.
        averaged: The last so many rounds are averaged, or all where there are fewer.
    """

    def __init__(self, keep: Keep, *, best: BestRound, rounds: int, averaged: int) -> None:
        self._keep, self._best = keep, best
        self._first = max(1, rounds - averaged + 1)
        self._mean: dict[str, Tensor] = {}

    def after_round(
        self, number: int, figures: dict[str, float], weights: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """What is to be kept now; empty where that is kept already.

        Args:
            number: Of the round, from 1; rounds follow each other.
            figures: ``val/top1`` and ``val/loss``; empty where nothing was validated.
            weights: Of the task after the round.
        """
        if self._keep == "best":
            return weights if self._best.takes(figures) else {}
        if self._keep == "average" and number >= self._first:
            self._mean = _mean(self._mean, weights, number - self._first + 1)
            return self._mean
        return weights

    def has_stood(self, rounds: int) -> bool:
        """Whether the best round is that of long ago: none of the last so many was better; never for 0."""
        return self._keep == "best" and self._best.has_stood(rounds)

    def state_dict(self) -> dict[str, Any]:
        """What later rounds are compared, or averaged, with."""
        return {"best": self._best.state_dict(), "mean": self._mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self._best.load_state_dict(state["best"])
        self._mean = state["mean"]


def _mean(before: Mapping[str, Tensor], latest: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """The mean of ``count`` states, from that of all but the latest; of what is no share (counts), the latest."""
    if count == 1:
        return {name: value.detach().clone() for name, value in latest.items()}
    return {
        name: before[name].to(value.device).lerp(value, 1 / count) if value.is_floating_point() else value.clone()
        for name, value in latest.items()
    }
