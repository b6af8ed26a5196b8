"""Clips that show the same, however they were coded: found by their descriptors, without looking at them again.

Two clips are near copies where both scene and movement correlate (:mod:`kineflow.data.clip_contents`). What is a copy
of a copy is one too. Every clip is compared with every other, some thousands at a time: memory grows with the number of
clips (1.1 KB each) and 40 MB, time with its square.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kineflow.data.clip_contents import ClipContent, Vector

_ROWS, _COLUMNS = 1024, 8192  # compared at a time


def find_copies(contents: Sequence[ClipContent | None], *, correlation: float) -> list[int]:
    """Find which clips are near copies of each other.

    Args:
        contents: Of each clip; None where nothing is known. Those and clips that hardly move are copies of none.
        correlation: Least one of scene and of movement, in (0, 1].

    Returns:
        For each clip the place of the first of its copies, which is its own where it is the first, or the only one.
    """
    known = np.array([place for place, each in enumerate(contents) if each is not None and each.movement.any()], int)
    firsts = np.arange(len(contents))
    if not len(known):
        return firsts.tolist()
    scenes = np.stack([each.scene for place in known if (each := contents[place]) is not None])
    movements = np.stack([each.movement for place in known if (each := contents[place]) is not None])
    tree: npt.NDArray[np.int64] = np.arange(len(known))
    for top in range(0, len(known), _ROWS):
        rows = slice(top, top + _ROWS)
        for left in range(top, len(known), _COLUMNS):
            columns = slice(left, left + _COLUMNS)
            alike = movements[rows] @ movements[columns].T >= correlation
            for row in np.flatnonzero(alike.any(axis=1)):
                _join(top + int(row), left + np.flatnonzero(alike[row]), scenes, correlation, tree)
    firsts[known] = known[tree]
    return firsts.tolist()


def _join(
    clip: int, others: npt.NDArray[np.int64], scenes: Vector, correlation: float, tree: npt.NDArray[np.int64]
) -> None:
    """Put those of ``others`` that show the scene of ``clip`` into one tree with it, which has the lowest number."""
    others = others[tree[others] != tree[clip]]
    others = others[scenes[others] @ scenes[clip] >= correlation]
    if len(others):
        joined = np.unique(tree[[clip, *others]])
        tree[np.isin(tree, joined)] = joined[0]


def likeness(one: ClipContent, other: ClipContent) -> float:
    """The lower of the correlations of scene and of movement, in [-1, 1]."""
    return float(min(one.scene @ other.scene, one.movement @ other.movement))
