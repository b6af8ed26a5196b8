"""Descriptions of clips as arrays: a row a window, and which clip each belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kineflow.evaluation.scores import softmax

Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Described:
    """Clips, and what describes them.

    Attributes:
        rows: [M, F], a window each.
        clip_of: [M], the place of its clip among the clips, ascending.
        labels: [N], class of each clip.
        groups: N, that of each clip; clips of one group are never apart.
        blocks: Columns of each group of descriptors, by its name.
        classes: K.
    """

    rows: Matrix
    clip_of: Labels
    labels: Labels
    groups: tuple[str, ...]
    blocks: Mapping[str, slice]
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, clips: Labels) -> Described:
        """Some of the clips, by their places [n] in ascending order."""
        place = np.full(len(self), -1)
        place[clips] = np.arange(len(clips))
        chosen = place[self.clip_of] >= 0
        return Described(
            self.rows[chosen],
            place[self.clip_of][chosen],
            self.labels[clips],
            tuple(self.groups[clip] for clip in clips),
            self.blocks,
            self.classes,
        )

    def columns(self, family: Sequence[str]) -> Matrix:
        """Those of some groups of descriptors, [M, F']."""
        return np.concatenate([self.rows[:, self.blocks[group]] for group in family], axis=1)

    @property
    def row_labels(self) -> Labels:
        """[M], the class of each window's clip."""
        return self.labels[self.clip_of]

    @property
    def row_weights(self) -> Matrix:
        """[M]: the windows of a clip count as one together."""
        weights: Matrix = 1.0 / np.bincount(self.clip_of, minlength=len(self))[self.clip_of]
        return weights

    def scores(self, logits: Matrix) -> Matrix:
        """Of each clip, [N, K]: logarithm of the mean probability of its windows, whose logits are [M, K]."""
        total = np.zeros((len(self), self.classes))
        np.add.at(total, self.clip_of, softmax(logits) * self.row_weights[:, None])
        scores: Matrix = np.log(np.maximum(total, 1e-12))
        return scores
