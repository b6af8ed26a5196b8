"""What training curves suggest, in words: more steps, more labels, or a network that learns more."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kineflow.evaluation.curves import Curves

_STILL_FALLING = 0.02  # share by which the last quarter is below the one before
_RISEN = 0.1  # share by which the end is above the lowest
_BY_HEART = 0.5  # loss of training clips as a share of that of val
_HARDLY_LEARNT = 0.9  # loss as a share of that of guessing
_FEWEST_ROUNDS = 4


def advice(curves: Curves, num_classes: int) -> str:
    """One sentence or two on a model's training; empty where its curves are too short to say anything.

    It goes by the cross entropy of training clips and of ``val``. What it says is what usually helps, no more.

    Args:
        curves: Figures by name, as training has left them.
        num_classes: Whose guessing costs log K.
    """
    val = _values(curves.get("val/loss", ()))
    train = _values(curves.get("train/cross_entropy") or curves.get("train/loss", ()))
    if len(val) < _FEWEST_ROUNDS:
        return ""
    lowest, guessing = int(val.argmin()), math.log(max(2, num_classes))
    seen = float(train[-max(1, len(train) // 4) :].mean()) if len(train) else math.nan
    by_heart = seen < _BY_HEART * val[-1]
    if val[-1] > (1 + _RISEN) * val[lowest] and lowest < 0.75 * len(val):
        step = curves["val/loss"][lowest][0]
        more = " while that of its training clips went on falling" if by_heart else ""
        return (
            f"The loss of val was lowest at step {step:.0f} and has risen since{more}: it learns its training clips by "
            "heart. More labels (or unlabelled clips), a smaller network, more augmentation or a frozen backbone would "
            "help; more steps would not."
        )
    if min(val[lowest], seen if math.isfinite(seen) else math.inf) > _HARDLY_LEARNT * guessing:
        return (
            "The loss is hardly below that of guessing: a higher learning rate, more steps, weights from a checkpoint "
            "or a larger network would help."
        )
    if _is_falling(val):
        return "The loss of val was still falling at the end: more steps would help."
    if by_heart:
        return (
            "The loss of val has levelled out far above that of training clips: more labels (or unlabelled clips) or "
            "more regularisation would help; more steps would not."
        )
    return "The losses of val and of training clips have levelled out together: a larger network or input may help."


def _values(points: Sequence[tuple[float, float]]) -> np.ndarray:
    return np.array([value for _, value in points], dtype=np.float64)


def _is_falling(values: np.ndarray) -> bool:
    quarter = max(1, len(values) // 4)
    last, before = values[-quarter:].mean(), values[-2 * quarter : -quarter].mean()
    return bool(last < (1 - _STILL_FALLING) * before)
