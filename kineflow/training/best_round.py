"""Which round of a training is kept, from how each did on ``val``; it remembers what a resumed training needs."""

from __future__ import annotations

import math
from typing import Literal

MonitorName = Literal["auto", "top1", "loss"]

# Below, one clip is so large a step of top-1 that the loss says more: it sees how sure each answer was.
FEW_CLIPS = 200


class BestRound:
    """The best of the rounds so far.

    ``top1`` and ``loss`` go by that figure alone, the earlier round where two are equal. ``auto`` goes by loss where
    ``val`` has fewer than :data:`FEW_CLIPS` clips. Where it has more, it goes by top-1, and rounds within one standard
    error √(p (1 - p) / n) of the highest top-1 so far count as equal: of these the lower loss is the better one. Where
    clips may have several classes it goes by loss always: top-1 says nothing of the further ones.
    Weights of one round are kept, so a round that was dropped never comes back.

    Args:
        monitor: ``auto``, ``top1`` or ``loss``.
        clips: Of ``val``.
        multi_label: Whether clips may have several classes.
    """

    def __init__(self, monitor: MonitorName, clips: int, *, multi_label: bool = False) -> None:
        by_loss = multi_label or clips < FEW_CLIPS
        self._by = ("loss" if by_loss else "both") if monitor == "auto" else monitor
        self._clips = clips
        self._top1 = self._loss = math.nan  # of the best round
        self._highest = -math.inf  # top-1 of any round
        self._none_yet = True
        self._rounds_since = 0

    def takes(self, figures: dict[str, float]) -> bool:
        """Look at a round's ``val/top1`` and ``val/loss``: is it the best so far? The first one always is."""
        top1, loss = figures["val/top1"], figures["val/loss"]
        self._highest = max(self._highest, top1)
        better = self._none_yet or self._is_better(top1, loss)
        self._rounds_since = 0 if better else self._rounds_since + 1
        if better:
            self._top1, self._loss, self._none_yet = top1, loss, False
        return better

    def has_stood(self, rounds: int) -> bool:
        """Whether the last so many rounds were none of them the best; never for 0."""
        return 0 < rounds <= self._rounds_since

    def _is_better(self, top1: float, loss: float) -> bool:
        lower_loss = loss < self._loss or (math.isnan(self._loss) and not math.isnan(loss))
        if self._by == "loss":
            return lower_loss
        if self._by == "top1":
            return top1 > self._top1
        margin = math.sqrt(self._highest * (1 - self._highest) / self._clips)
        level, kept_is_level = (value >= self._highest - margin for value in (top1, self._top1))
        return level and (lower_loss or not kept_is_level)

    def state_dict(self) -> dict[str, float | bool]:
        """What later rounds are compared with."""
        return {
            "top1": self._top1,
            "loss": self._loss,
            "highest": self._highest,
            "none_yet": self._none_yet,
            "rounds_since": self._rounds_since,
        }

    def load_state_dict(self, state: dict[str, float | bool]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self._top1, self._loss, self._highest = state["top1"], state["loss"], state["highest"]
        self._none_yet, self._rounds_since = bool(state["none_yet"]), int(state["rounds_since"])
