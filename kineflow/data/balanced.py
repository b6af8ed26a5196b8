"""Drawing rare classes as often as common ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np

from kineflow.spec.arrays import Indices


def balanced_walk(groups: Sequence[Sequence[int]], first: int, seed: tuple[int, ...]) -> Iterator[int]:
    """Members of groups without end: each group once before any twice, in each each member once before any twice.

    What comes at a place depends on the seed and the place alone.

    Args:
        groups: None of them empty.
        first: The place to begin at, from 0.
        seed: Of all orders.
    """
    orders: dict[int, tuple[int, Indices]] = {}  # of each group, its present pass and the order of that
    done, place = divmod(first, len(groups))
    for group_pass in count(done):
        for group in np.random.default_rng((*seed, group_pass)).permutation(len(groups))[place:].tolist():
            members = groups[group]
            member_pass, within = divmod(group_pass, len(members))
            if orders.get(group, (-1,))[0] != member_pass:
                order = np.random.default_rng((*seed, group, member_pass)).permutation(len(members))
                orders[group] = member_pass, order
            yield members[orders[group][1][within]]
        place = 0
