"""Late fusion: the weighted average of the scores of any set of models, from their saved scores alone.

``softmax`` averages probabilities (D3D + S3D-G, two-stream networks); ``logits`` averages the scores before the
softmax, which lets a confident model outvote the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from kineflow.evaluation.metrics import ranks_of_truth
from kineflow.evaluation.scores import Scores, align
from kineflow.storage.errors import KineflowError

FuseOn = Literal["softmax", "logits"]


def fuse(scores: Sequence[Scores], weights: Sequence[float] | None = None, *, on: FuseOn = "softmax") -> Scores:
    """Weighted average of scores.

    Args:
        scores: Of at least one model, all of the same clips in the same order.
        weights: One for each model, none negative; scaled to sum to 1. Equal when not given.
        on: What is averaged.

    Returns:
        Scores named ``a + b``, whose softmax (sigmoid, of clips of several classes) is the fused probability.

    Raises:
        KineflowError: The scores are not of the same clips, or the weights cannot be used.
    """
    align(scores)
    if on not in get_args(FuseOn):
        raise KineflowError(f"scores cannot be fused on {on!r}", remedy=f"choose one of {', '.join(get_args(FuseOn))}")
    shares = _shares(weights, len(scores))
    first = scores[0]
    logits = np.empty_like(first.logits)
    for rows in first.parts():
        fused = np.tensordot(shares, _addends(scores, on, rows), axes=1)  # [M] · [M, n, K] → [n, K]
        if on == "softmax":
            fused = _log(fused) if first.truth is None else _log(fused) - _log(1 - fused)
        logits[rows] = fused
    return dataclasses.replace(first, model=" + ".join(member.model for member in scores), logits=logits)


def sweep_weights(scores: Sequence[Scores], *, steps: int = 10, on: FuseOn = "softmax") -> tuple[float, ...]:
    """Weights with the best top-1 on validation clips, from a grid over all shares that are multiples of 1/steps.

    Among equally good weights the most even ones win, so that a sweep on few clips does not drop a model by chance.

    Args:
        scores: Of the models to be fused, on the validation split. Weights chosen on test clips would make the
            fused test accuracy a training accuracy, so scores that say they are of the test split are refused.
        steps: Fineness of the grid, at least 1.
        on: As in :func:`fuse`.

    Raises:
        KineflowError: The scores are of the test split, or not of the same labelled clips.
    """
    align(scores)
    if any(member.split == "test" for member in scores):
        raise KineflowError(
            "fusion weights must not be chosen on the test split", remedy="give the scores of the validation split"
        )
    if not len(scores[0]) or (scores[0].labels < 0).any():
        raise KineflowError("fusion weights need labelled clips", remedy="give the scores of the validation split")
    grid = list(_grid(len(scores), steps))
    right = [0] * len(grid)
    for rows in scores[0].parts():
        addends = _addends(scores, on, rows)
        for number, parts in enumerate(grid):
            fused = np.tensordot(np.array(parts) / steps, addends, axes=1)
            right[number] += _hits(fused, scores[0], rows)
    best = max(range(len(grid)), key=lambda number: (right[number], -sum(part**2 for part in grid[number])))
    return tuple(part / steps for part in grid[best])


def _hits(fused: NDArray[np.float64], scores: Scores, rows: slice) -> int:
    """How many of some clips have their class, or one of their classes, first."""
    if scores.truth is None:
        return int((ranks_of_truth(fused, scores.labels[rows]) == 0).sum())
    return int(scores.truth[rows][np.arange(len(fused)), fused.argmax(axis=1)].sum())


def _addends(scores: Sequence[Scores], on: FuseOn, rows: slice) -> NDArray[np.float64]:
    """What is averaged, of some clips, float64 [M, n, K]."""
    if on == "softmax":
        return np.stack([member.probabilities(rows) for member in scores])
    return np.stack([member.logits[rows].astype(np.float64) for member in scores])


def _log(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    # The floor is float32's smallest normal number: far below any score that matters, and its logarithm is finite.
    logarithms: NDArray[np.float64] = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    return logarithms


def _shares(weights: Sequence[float] | None, count: int) -> NDArray[np.float64]:
    values = np.ones(count) if weights is None else np.array(weights, dtype=np.float64)
    if values.shape != (count,):
        raise KineflowError(f"{len(values)} weights for {count} models", remedy="give one weight for each model")
    if not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
        raise KineflowError(
            f"weights {values.tolist()} cannot be used", remedy="give weights of 0 or more, at least one above 0"
        )
    shares: NDArray[np.float64] = values / values.sum()
    return shares


def _grid(models: int, steps: int) -> Iterator[tuple[int, ...]]:
    """All ways to share ``steps`` among ``models``."""
    if models == 1:
        yield (steps,)
        return
    for part in range(steps + 1):
        for rest in _grid(models - 1, steps - part):
            yield (part, *rest)
