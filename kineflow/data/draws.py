"""Which clips a training step sees: batches drawn from one seed, the same after a resume as without one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import NamedTuple

import numpy as np

from kineflow.storage.errors import KineflowError


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
        share: Which share of every batch is drawn, and of how many; see :meth:`shared`.
    """

    def __init__(self, pools: list[Pool], *, steps: int, seed: int, share: tuple[int, int] = (0, 1)) -> None:
        self.pools, self.steps, self.seed, self.share = pools, steps, seed, share
        self.round = 0

    def shared(self, number: int, shares: int) -> Draws:
        """The draws of one of several processes that train on every batch together.

        Each gets as many of every pool, so that each process's part is composed as the whole batch is. All shares of a
        batch together are the batch.

        Args:
            number: Of the process, from 0.
            shares: How many processes there are.

        Raises:
            KineflowError: A pool's part of a batch cannot be shared evenly.
        """
        for pool in self.pools:
            if pool.per_batch % shares:
                raise KineflowError(
                    f"{pool.per_batch} clips a step cannot be shared evenly by {shares} processes",
                    remedy="make batch_size, and unlabelled_batch_size where it is used, a multiple of the number of "
                    "processes (nodes × devices): both count the clips of all processes together",
                )
        return Draws(self.pools, steps=self.steps, seed=self.seed, share=(number, shares))

    def set_epoch(self, epoch: int) -> None:
        """Choose the round."""
        self.round = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Draw]]:
        walks = [self._walk(number, pool) for number, pool in enumerate(self.pools)]
        for _ in range(self.steps):
            drawn = [list(islice(walk, pool.per_batch)) for pool, walk in zip(self.pools, walks, strict=True)]
            yield [draw for of_pool in drawn for draw in self._mine(of_pool)]

    def _mine(self, drawn: list[Draw]) -> list[Draw]:
        number, shares = self.share
        size = len(drawn) // shares
        return drawn[number * size : (number + 1) * size]

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
