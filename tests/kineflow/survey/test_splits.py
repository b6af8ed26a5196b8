"""Groups are never parted, classes are spread evenly, and a seed says it all."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kineflow.spec.split import Split
from kineflow.survey.splits import SHARES, absences, split_by_group

CLIPS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12).map(str)), min_size=1, max_size=60)


@given(CLIPS, st.integers(0, 3))
def test_a_group_is_in_one_split(clips: list[tuple[str, str]], seed: int) -> None:
    labels, groups = [label for label, _ in clips], [group for _, group in clips]
    splits = split_by_group(labels, groups, seed=seed)
    assert len({*zip(groups, splits, strict=True)}) == len(set(groups))
    assert splits == split_by_group(labels, groups, seed=seed)


def test_every_class_has_its_share_of_every_split() -> None:
    generator = np.random.default_rng(0)
    labels, groups = [], []
    for group in range(60):
        for label, most in (("common", 12), ("rare", 3)):
            count = int(generator.integers(0, most))
            labels += [label] * count
            groups += [f"g{group}"] * count
    splits = split_by_group(labels, groups, seed=1)
    counts, total = Counter(zip(labels, splits, strict=True)), Counter(labels)
    for (label, split), count in counts.items():
        assert abs(count / total[label] - SHARES[split]) < 0.03, (label, split)
    assert absences(labels, splits) == []


def test_a_class_of_three_groups_is_in_all_three_splits() -> None:
    labels = ["common"] * 300 + ["rare"] * 3
    groups = [f"c{n // 5}" for n in range(300)] + ["r0", "r1", "r2"]
    splits = split_by_group(labels, groups, seed=0)
    assert {split for label, split in zip(labels, splits, strict=True) if label == "rare"} == set(SHARES)


def test_a_class_that_a_split_lacks_is_named() -> None:
    assert absences(["a", "b"], [Split.TRAIN, Split.TEST]) == ["a has no clip in test", "b has no clip in train"]
