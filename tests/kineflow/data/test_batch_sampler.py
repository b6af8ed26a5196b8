from collections import Counter
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kineflow.data.batch_sampler import BatchSampler, Pool
from kineflow.storage.errors import KineflowError


def batches(sampler: BatchSampler, rounds: int) -> list[list]:
    collected = []
    for number in range(rounds):
        sampler.set_epoch(number)
        collected += list(sampler)
    return collected


@given(
    clips=st.integers(1, 12), per_batch=st.integers(1, 5), steps=st.integers(1, 4), rounds=st.integers(1, 5),
    seed=st.integers(0, 2**40),
)  # fmt: skip
def test_every_clip_is_seen_once_before_any_is_seen_twice(clips, per_batch, steps, rounds, seed):
    drawn = [
        sample.clip
        for batch in batches(BatchSampler([Pool(tuple(range(clips)), per_batch)], steps=steps, seed=seed), rounds)
        for sample in batch
    ]
    for first in range(0, len(drawn), clips):
        assert max(Counter(drawn[first : first + clips]).values()) == 1


@given(st.integers(0, 2**40), st.integers(1, 4), st.integers(0, 6))
def test_a_round_depends_on_seed_and_number_alone(seed, steps, number):
    """What a resumed run draws is what an undisturbed one would have drawn."""
    pools = [Pool(tuple(range(7)), 3), Pool(tuple(range(7, 12)), 2)]
    undisturbed = batches(BatchSampler(pools, steps=steps, seed=seed), number + 1)[-steps:]
    resumed = BatchSampler(pools, steps=steps, seed=seed)
    resumed.set_epoch(number)
    assert list(resumed) == undisturbed == list(resumed)


def test_rounds_and_seeds_differ():
    pool = [Pool(tuple(range(30)), 5)]
    first, second = (batches(BatchSampler(pool, steps=3, seed=seed), 2) for seed in (0, 1))
    assert first[:3] != first[3:]
    assert first != second


def test_passes_are_shuffled_anew():
    drawn = [sample.clip for (sample,) in batches(BatchSampler([Pool(tuple(range(20)), 1)], steps=20, seed=0), 2)]
    assert drawn[:20] != list(range(20))
    assert drawn[:20] != drawn[20:]


def test_each_pool_keeps_its_share_of_every_batch():
    pools = [Pool((0, 1, 2), 2), Pool((3, 4, 5, 6, 7), 4)]
    for batch in batches(BatchSampler(pools, steps=5, seed=0), 3):
        assert [sample.clip in pools[0].clips for sample in batch] == [True] * 2 + [False] * 4


def test_no_two_samples_share_the_seed_of_their_window():
    pools = [Pool((0, 1), 2), Pool((2, 3), 2)]
    seeds = [sample.seed for batch in batches(BatchSampler(pools, steps=4, seed=9), 4) for sample in batch]
    assert len(set(seeds)) == len(seeds)


def test_length_is_the_batches_of_a_round():
    sampler = BatchSampler([Pool((0,), 1)], steps=4, seed=0)
    assert len(sampler) == len(list(sampler)) == 4


@pytest.mark.parametrize("number", [0, 3])
def test_a_pool_smaller_than_its_share_is_walked_again_within_a_batch(number):
    sampler = BatchSampler([Pool((5, 6), 5)], steps=1, seed=0)
    sampler.set_epoch(number)
    (batch,) = sampler
    assert sorted(Counter(sample.clip for sample in batch)) == [5, 6]
    assert len(batch) == 5


pools_of_batches = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4)), min_size=1, max_size=3)


@given(sizes=pools_of_batches, shares=st.integers(1, 5), seed=st.integers(0, 99))
@settings(deadline=None)
def test_the_shards_of_all_processes_are_the_batch_in_every_pool(sizes, shares, seed):
    """Whatever the sizes: each sample of a batch is in exactly one shard, and shards are composed as the batch is."""
    starts = [100 * number for number in range(len(sizes))]
    pools = [
        Pool(tuple(range(start, start + clips)), a_share * shares)
        for start, (clips, a_share) in zip(starts, sizes, strict=True)
    ]
    whole = BatchSampler(pools, steps=3, seed=seed)
    parts = [whole.shard(number, shares) for number in range(shares)]
    of_parts = zip(*(batches(part, 2) for part in parts), strict=True)
    for batch, of_shards in zip(batches(whole, 2), of_parts, strict=True):
        assert Counter(sample for shard in of_shards for sample in shard) == Counter(batch)
        for shard in of_shards:
            for pool, (_, a_share) in zip(pools, sizes, strict=True):
                assert sum(sample.clip in pool.clips for sample in shard) == a_share


@given(per_batch=st.integers(1, 30), shares=st.integers(1, 9))
def test_a_pool_that_cannot_be_shared_evenly_is_refused(per_batch, shares):
    sampler = BatchSampler([Pool((0, 1), shares), Pool((2, 3), per_batch)], steps=1, seed=0)
    if per_batch % shares == 0:
        assert len(sampler.shard(0, shares)) == 1
        return
    with pytest.raises(KineflowError, match=f"{per_batch} clips a step cannot be shared evenly by {shares} processes"):
        sampler.shard(0, shares)


@pytest.mark.parametrize("world_size", [1, 2])
def test_parts_of_a_batch_are_composed_as_it_is_and_the_same_clips_however_many_processes(world_size):
    pools = [Pool(tuple(range(20)), 8), Pool(tuple(range(20, 30)), 4)]
    whole = BatchSampler(pools, steps=3, seed=1)
    shards = [whole.shard(rank, world_size, micro_batches=2) for rank in range(world_size)]
    assert len(shards[0]) == 6
    parts = [list(chain(*of_part)) for of_part in zip(*shards, strict=True)]
    for number, batch in enumerate(whole):
        for part in (0, 1):
            expected = batch[part * 4 : part * 4 + 4] + batch[8 + part * 2 : 10 + part * 2]
            assert sorted(parts[2 * number + part]) == sorted(expected)
    with pytest.raises(KineflowError, match="8 clips a step cannot be shared evenly by 1 process, each in 3 parts"):
        whole.shard(0, 1, micro_batches=3)
