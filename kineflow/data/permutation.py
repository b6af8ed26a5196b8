"""A shuffled order of any length, of which a part is worked out when it is asked for.

Up to a million things are shuffled and kept, 8 MB. More are never laid out: a place in the order is led to a thing by
a Feistel network (Luby and Rackoff 1988), which is one to one on the numbers of so many bits, and what it leads outside
is led on until it is inside (cycle walking; Black and Rogaway 2002).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

MOST_SHUFFLED = 2**20
_ROUNDS = 8
_AT_ONCE = 2**12
# The finaliser of SplitMix64 (Steele, Lea and Flood 2014)
_SHIFTS = np.array([30, 27, 31], np.uint64)
_FACTORS = np.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)


def shuffled(count: int, key: tuple[int, ...], *, first: int = 0) -> Iterator[int]:
    """The numbers 0 to ``count`` - 1, each once, from place ``first`` of their order on.

    Args:
        count: At least 1.
        key: Decides the order.
        first: From 0.
    """
    if count <= MOST_SHUFFLED:
        yield from np.random.default_rng(key).permutation(count)[first:].tolist()
        return
    for start in range(first, count, _AT_ONCE):
        yield from permuted(np.arange(start, min(start + _AT_ONCE, count)), count, key).tolist()


def permuted(places: NDArray[np.int64], count: int, key: tuple[int, ...]) -> NDArray[np.int64]:
    """What stands at these places of an order of ``count``; one to one.

    Args:
        places: 0 to ``count`` - 1, int64 of any shape.
        count: At least 1.
        key: Decides the order.
    """
    bits = (count - 1).bit_length()
    low = bits // 2
    keys = np.random.default_rng(key).integers(0, 2**64, _ROUNDS, np.uint64, endpoint=False)
    values = _network(places.astype(np.uint64), low, bits - low, keys)
    while (outside := values >= count).any():
        values[outside] = _network(values[outside], low, bits - low, keys)
    return values.astype(np.int64)


def _network(values: NDArray[np.uint64], low: int, high: int, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    shift = np.uint64(low)
    masks = np.array([2**low - 1, 2**high - 1], np.uint64)
    halves = [values & masks[0], values >> shift]
    for number, key in enumerate(keys):
        changed = number % 2
        halves[changed] = (halves[changed] ^ _mixed(halves[1 - changed] ^ key)) & masks[changed]
    together: NDArray[np.uint64] = halves[0] | halves[1] << shift
    return together


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values ^ values >> _SHIFTS[0]) * _FACTORS[0]
    values = (values ^ values >> _SHIFTS[1]) * _FACTORS[1]
    mixed: NDArray[np.uint64] = values ^ values >> _SHIFTS[2]
    return mixed
