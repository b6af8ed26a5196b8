"""Descriptions in which one group of columns tells the class and another tells the group of clips."""

import numpy as np

from kineflow.selection.described import Described

FAMILIES = [("motion",), ("flow",), ("motion", "flow")]
HOW = {"members": 2, "folds": 4, "seed": 3}


def described(signal: float, *, clips: int = 96, per_group: int = 4, seed: int = 0) -> Described:
    """Two windows a clip; ``motion`` tells the class by as much as ``signal``, ``flow`` tells the group alone."""
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, 2, clips), np.arange(clips) // per_group
    motion = rng.normal(size=(clips, 4)) + signal * labels[:, None]
    flow = rng.normal(size=(len(set(groups)), 12))[groups] * 5 + rng.normal(size=(clips, 12)) * 0.1
    rows = np.repeat(np.concatenate([motion, flow], axis=1), 2, axis=0) + rng.normal(size=(2 * clips, 16)) * 0.1
    return Described(
        rows, np.repeat(np.arange(clips), 2), labels, tuple(f"g{group}" for group in groups),
        {"motion": slice(0, 4), "flow": slice(4, 16)}, 2,
    )  # fmt: skip


def accuracy(scores: np.ndarray, of: Described) -> float:
    return float((scores.argmax(axis=1) == of.labels).mean())
