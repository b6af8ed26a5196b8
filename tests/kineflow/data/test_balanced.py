"""Rare classes are drawn as often as common ones."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kineflow.data.batch_sampler import BatchSampler, Pool


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4), per_batch=st.integers(1, 5), steps=st.integers(1, 3),
    first=st.integers(0, 30), seed=st.integers(0, 2**40),
)  # fmt: skip
def test_groups_and_their_members_take_turns_and_a_round_depends_on_its_number(sizes, per_batch, steps, first, seed):
    clips = iter(range(sum(sizes)))
    groups = tuple(tuple(next(clips) for _ in range(size)) for size in sizes)
    pool = Pool(tuple(range(sum(sizes))), per_batch, groups)
    sampler, drawn = BatchSampler([pool], steps=steps, seed=seed), []
    for number in range(first + 6):
        sampler.set_epoch(number)
        drawn += [sample.clip for batch in sampler for sample in batch]
    group_of = {clip: group for group in groups for clip in group}
    for start in range(0, len(drawn) - len(groups) + 1, len(groups)):
        assert len({group_of[clip] for clip in drawn[start : start + len(groups)]}) == len(groups)
    for group in groups:
        seen = [clip for clip in drawn if clip in group]
        for start in range(0, len(seen), len(group)):
            assert max(Counter(seen[start : start + len(group)]).values()) == 1
    resumed = BatchSampler([pool], steps=steps, seed=seed)
    resumed.set_epoch(first + 5)
    assert [sample.clip for batch in resumed for sample in batch] == drawn[-steps * per_batch :]
