"""Which clips a training step sees: batches drawn from one seed, the same after a resume as without one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import NamedTuple

from kineflow.data.balanced import balanced_walk
from kineflow.data.permutation import shuffled
from kineflow.storage.errors import KineflowError


class SampleRef(NamedTuple):
    """One item of a batch: which clip, and the seed of its random window and view."""

    clip: int
    seed: tuple[int, ...]


@dataclass(frozen=True)
class Pool:
    """Clips (indices into a data set, best as a range) of which every batch takes ``per_batch``.

    Where there are ``groups`` of them, classes say, each group is drawn as often as any other.
    """

    clips: Sequence[int]
    per_batch: int
    groups: tuple[tuple[int, ...], ...] = ()


class BatchSampler:
    """Batches of one round of training, drawn from one or several pools.

    Each pool is walked in shuffled passes, so that every clip is seen once before any is seen twice; of a pool in
    groups that holds within each group (:func:`kineflow.data.balanced.balanced_walk`). A round is what lies between two
    validations; round ``n`` depends on (seed, n) only, so training resumed at a round boundary sees
    what it would have seen. The loop sets ``round`` before it iterates.

    Args:
        pools: E.g. the labelled clips, and the unlabelled ones.
        steps: Batches a round.
        seed: Of all draws.
        rank, world_size: Which shard of every batch is drawn, and of how many; see :meth:`shard`.
        micro_batches: Parts that a batch comes in, one after the other; see :meth:`shard`.
    """

    def __init__(
        self,
        pools: list[Pool],
        *,
        steps: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        micro_batches: int = 1,
    ) -> None:
        self.pools, self.steps, self.seed = pools, steps, seed
        self.rank, self.world_size, self.micro_batches = rank, world_size, micro_batches
        self.round = 0

    def shard(self, rank: int, world_size: int, *, micro_batches: int = 1) -> BatchSampler:
        """The batches of one of several processes that train on every batch together, in parts if so wanted.

        Each part has as many of every pool, so that it is composed as the whole batch is. All processes' parts of a
        batch together are the batch, and their n-th parts are the same clips however many processes there are.

        Args:
            rank: Of the process, from 0.
            world_size: How many processes there are.
            micro_batches: Parts of a batch that each process gets one after the other.

        Raises:
            KineflowError: A pool's part of a batch cannot be shared evenly.
        """
        for pool in self.pools:
            if pool.per_batch % (world_size * micro_batches):
                in_parts = f", each in {micro_batches} parts" if micro_batches > 1 else ""
                processes = "1 process" if world_size == 1 else f"{world_size} processes"
                raise KineflowError(
                    f"{pool.per_batch} clips a step cannot be shared evenly by {processes}{in_parts}",
                    remedy="make batch_size, and unlabelled_batch_size where it is used, a multiple of the number of "
                    "processes and parts (nodes × devices × accumulate): both count the clips of all of them together",
                )
        return BatchSampler(
            self.pools,
            steps=self.steps,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            micro_batches=micro_batches,
        )

    def set_epoch(self, epoch: int) -> None:
        """Choose the round."""
        self.round = epoch

    def __len__(self) -> int:
        return self.steps * self.micro_batches

    def __iter__(self) -> Iterator[list[SampleRef]]:
        walks = [self._walk(number, pool) for number, pool in enumerate(self.pools)]
        for _ in range(self.steps):
            batch = [list(islice(walk, pool.per_batch)) for pool, walk in zip(self.pools, walks, strict=True)]
            for part in range(self.micro_batches):
                yield [sample for of_pool in batch for sample in self._own(of_pool, part)]

    def _own(self, samples: list[SampleRef], part: int) -> list[SampleRef]:
        size = len(samples) // (self.micro_batches * self.world_size)
        first = (part * self.world_size + self.rank) * size
        return samples[first : first + size]

    def _walk(self, number: int, pool: Pool) -> Iterator[SampleRef]:
        """Samples of one pool from the round's first on, pass after pass without end."""
        serial = self.round * self.steps * pool.per_batch
        if pool.groups:
            for clip in balanced_walk(pool.groups, serial, (self.seed, number)):
                yield SampleRef(clip, (self.seed, number, serial))
                serial += 1
        first_pass, done = divmod(serial, len(pool.clips))
        for shuffled_pass in count(first_pass):
            for index in shuffled(len(pool.clips), (self.seed, number, shuffled_pass), first=done):
                yield SampleRef(pool.clips[index], (self.seed, number, serial))
                serial += 1
            done = 0
