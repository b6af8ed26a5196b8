"""Splits by group, with each class in about the same share of every split; equal inputs and seeds give equal splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from kineflow.spec.split import Split

SHARES: Mapping[Split, float] = {Split.TRAIN: 0.7, Split.VAL: 0.1, Split.TEST: 0.2}
_MOST_REFINED = 80  # groups: every pair of them is tried, and with more the first placement is near enough
_ROUNDS = 10
_LEAST_GAIN = 1e-9
_NONE_AT_ALL = 100.0  # a class with more than its share in a split is better than one with nothing there


def split_by_group(
    labels: Sequence[str], groups: Sequence[str], *, shares: Mapping[Split, float] = SHARES, seed: int
) -> list[Split]:
    """Put whole groups into splits.

    Groups go from the largest to the smallest, ties in an order drawn by the seed, each to the split that it brings
    nearest to what it should hold: the squared distance of every class from its share, each class relative to its
    size, so that a rare class counts as much as a common one. Rare classes go first: their groups have fewest choices.

    Args:
        labels: Class of each clip.
        groups: Group of each clip; a group is never parted, and may hold several classes.
        shares: Of the clips, summing to 1.
        seed: Draws the order of equal groups.

    Returns:
        The split of each clip. Where a class has fewer groups than there are splits, some split has none of it.
    """
    total = Counter(labels)
    classes_of: dict[str, Counter[str]] = {}
    for label, group in zip(labels, groups, strict=True):
        classes_of.setdefault(group, Counter())[label] += 1
    number_of = Counter(label for counts in classes_of.values() for label in counts)
    names = sorted(classes_of)
    drawn = dict(zip(names, np.random.default_rng(seed).permutation(len(names)).tolist(), strict=True))
    order = sorted(
        names,
        key=lambda name: (
            min(number_of[label] for label in classes_of[name]) >= 2 * len(shares),  # groups of rare classes first
            -sum(count / total[label] for label, count in classes_of[name].items()),
            drawn[name],
        ),
    )
    held: dict[Split, Counter[str]] = {split: Counter() for split in shares}
    chosen = {}
    for group in order:
        counts = classes_of[group]
        best = min(shares, key=lambda split: (_cost(counts, held[split], shares[split], total), -shares[split]))
        held[best].update(counts)
        chosen[group] = best
    if len(order) <= _MOST_REFINED:
        _refine(chosen, classes_of, held, shares, total)
    return [chosen[group] for group in groups]


def _refine(
    chosen: dict[str, Split],
    classes_of: Mapping[str, Counter[str]],
    held: dict[Split, Counter[str]],
    shares: Mapping[Split, float],
    total: Counter[str],
) -> None:
    """Move a group, or exchange two, as long as that brings the splits nearer to what they should hold."""

    def gain(changes: Sequence[tuple[str, Split]]) -> float:
        """The change of the cost by moving groups, which are left moved."""
        cost = 0.0
        for group, split in changes:
            before = held[chosen[group]]
            before.subtract(classes_of[group])
            cost -= _cost(classes_of[group], before, shares[chosen[group]], total)
            cost += _cost(classes_of[group], held[split], shares[split], total)
            held[split].update(classes_of[group])
            chosen[group] = split
        return cost

    for _ in range(_ROUNDS):
        better = False
        for one in chosen:
            moves = [[(one, split)] for split in shares if split is not chosen[one]]
            moves += [[(one, chosen[other]), (other, chosen[one])] for other in chosen if chosen[other] != chosen[one]]
            for changes in moves:
                back = [(group, chosen[group]) for group, _ in changes]
                if back[0][1] == changes[0][1]:  # an earlier move of this round brought it there
                    continue
                if gain(changes) < -_LEAST_GAIN:
                    better = True
                else:
                    gain(back[::-1])
        if not better:
            return


def _cost(counts: Counter[str], held: Counter[str], share: float, total: Counter[str]) -> float:
    """How much farther a split gets from its share, in squares, by taking a group in."""
    return sum(
        _distance(held[label] + count, share * total[label]) - _distance(held[label], share * total[label])
        for label, count in counts.items()
    )


def _distance(held: int, wanted: float) -> float:
    return (held / wanted - 1) ** 2 + (0 if held else _NONE_AT_ALL)


def absences(labels: Sequence[str], splits: Sequence[Split]) -> list[str]:
    """A sentence for each class that some split lacks, for people."""
    there = Counter(zip(labels, splits, strict=True))
    used = [split for split in Split if split in set(splits)]
    lacks = {label: [str(split) for split in used if not there[label, split]] for label in sorted(set(labels))}
    return [f"{label} has no clip in {' and '.join(names)}" for label, names in lacks.items() if names]
