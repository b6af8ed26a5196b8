"""Orders that are worked out: each thing once, another order for another key, and none of them likelier."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.data import permutation
from kineflow.data.permutation import permuted, shuffled

KEYS = st.tuples(st.integers(0, 2**31), st.integers(0, 3), st.integers(0, 2**40))


@given(count=st.integers(1, 5_000), key=KEYS)
def test_each_thing_stands_at_one_place(count: int, key: tuple[int, ...]) -> None:
    order = permuted(np.arange(count), count, key)
    np.testing.assert_array_equal(np.sort(order), np.arange(count))


def test_a_long_order_is_one_to_one_where_it_is_looked_at() -> None:
    count = 2**33 + 12_345
    places = np.random.default_rng(0).choice(count, 100_000, replace=False, shuffle=False)
    order = permuted(places, count, (1, 2, 3))
    assert len(np.unique(order)) == len(places)
    assert order.min() >= 0
    assert order.max() < count


def test_no_thing_is_likelier_at_a_place_nor_beside_another() -> None:
    """Chi-square over 2,000 keys: four tests, each of which chance alone would fail once in a million times."""
    count = 300
    orders = np.stack([permuted(np.arange(count), count, (key,)) for key in range(2_000)])
    seen = [orders[:, 0], orders[:, count // 2], (orders[:, 1] - orders[:, 0]) % count, orders.argmin(axis=1)]
    for values in seen:
        counts = np.bincount(values * 20 // count, minlength=20)
        expected = np.bincount(np.arange(count) * 20 // count) * len(values) / count
        assert ((counts - expected) ** 2 / expected).sum() < 63  # 19 degrees of freedom


def test_all_orders_of_a_few_things_come_as_often() -> None:
    orders = Counter(tuple(shuffled(4, (key,))) for key in range(4_800))
    assert len(orders) == 24
    assert sum((count - 200) ** 2 / 200 for count in orders.values()) < 68  # 23 degrees of freedom, p = 3e-6


@given(count=st.integers(1, 12_000), first=st.integers(0, 12_000), is_long=st.booleans())
def test_an_order_goes_on_from_any_place(count: int, first: int, is_long: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(permutation, "MOST_SHUFFLED", 0 if is_long else 2**20)
        whole = list(shuffled(count, (5, 0, 1)))
        assert list(islice(shuffled(count, (5, 0, 1), first=first), 50)) == whole[first : first + 50]
    assert sorted(whole) == list(range(count))
