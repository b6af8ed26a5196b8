"""Which clips a training step sees: batches drawn from one seed, the same after a resume as without one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import NamedTuple

import numpy as np


class Draw(NamedTuple):
    """One item of a batch: which clip, and the seed of its random window and view."""

    clip: int
    seed: tuple[int, ...]


@dataclass(frozen=True)
class Pool:
    """Clips (indices into a data set) of which every batch takes ``per_batch``."""

    clips: tuple[int, ...]
    per_batch: int


class Draws:
    """Batches of one round of training, drawn from one or several pools.

    Each pool is walked in shuffled passes, so that every clip is seen once before any is seen twice. A round is what
    lies between two validations; round ``n`` depends on (seed, n) only, so training resumed at a round boundary sees
    what it would have seen. The loop sets ``round`` before it iterates.

    Args:
        pools: E.g. the labelled clips, and the unlabelled ones.
        steps: Batches a round.
        seed: Of all draws.
    """

    def __init__(self, pools: list[Pool], *, steps: int, seed: int) -> None:
        self.pools, self.steps, self.seed = pools, steps, seed
        self.round = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the round."""
        self.round = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Draw]]:
        walks = [self._walk(number, pool) for number, pool in enumerate(self.pools)]
        for _ in range(self.steps):
            yield [draw for pool, walk in zip(self.pools, walks, strict=True) for draw in islice(walk, pool.per_batch)]

    def _walk(self, number: int, pool: Pool) -> Iterator[Draw]:
        """Draws of one pool from the round's first on, pass after pass without end."""
        serial = self.round * self.steps * pool.per_batch
        first_pass, done = divmod(serial, len(pool.clips))
        for shuffled_pass in count(first_pass):
            order = np.random.default_rng((self.seed, number, shuffled_pass)).permutation(len(pool.clips))
            for place in order[done:].tolist():
                yield Draw(pool.clips[place], (self.seed, number, serial))
                serial += 1
            done = 0
