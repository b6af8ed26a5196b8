"""Which clips a report shows: some of each kind of outcome, the same ones each time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, zip_longest

import numpy as np

from kineflow.evaluation.scores import Scores, align


@dataclass(frozen=True)
class Pick:
    """A clip to show: its place among the scores, and what happened to it."""

    index: int
    verdict: str


def pick_examples(student: Scores, baseline: Scores | None, count: int) -> list[Pick]:
    """Choose clips in turn from each kind of outcome, classes in turn: what went wrong first, and what nearly did.

    Of clips that the student has wrong, those it is surest of come first; of those it has right, the least sure.
    Kinds without clips are left out; a kind with few leaves its places to the others.

    Args:
        student: Scores of labelled clips.
        baseline: Scores of the same clips, or None when there is nothing to compare with.
        count: At most so many.

    Returns:
        Distinct picks, those of one kind side by side.

    Raises:
        KineflowError: The two scores are not of the same clips.
    """
    right = student.predictions() == student.nearest_labels
    if baseline is None:
        kinds = {f"{student.model} wrong": ~right, f"{student.model} right": right}
    else:
        align([student, baseline])
        other = baseline.predictions() == baseline.nearest_labels
        kinds = {
            f"{student.model} wrong, {baseline.model} right": ~right & other,
            "both wrong": ~right & ~other,
            f"{student.model} right, {baseline.model} wrong": right & ~other,
            "both right": right & other,
        }
    queues = [[Pick(index, verdict) for index in _in_turn(student, mask)] for verdict, mask in kinds.items()]
    in_turn = [pick for pick in chain.from_iterable(zip_longest(*queues)) if pick is not None][:count]
    order = list(kinds)
    return sorted(in_turn, key=lambda pick: order.index(pick.verdict))  # stable: turns are kept within a kind


def _in_turn(student: Scores, mask: np.ndarray) -> list[int]:
    """Places where ``mask`` holds: the clip of each true class to look at first, then the second of each, and so on."""
    sure = np.concatenate([student.probabilities(rows).max(axis=1) for rows in student.parts()] or [np.zeros(0)])
    # Wrong answers count against the model by how sure it was; right ones are the closer the less it was.
    looks_bad = np.where(student.predictions() == student.nearest_labels, -sure, sure)
    places = sorted(np.flatnonzero(mask).tolist(), key=lambda row: (-looks_bad[row], row))
    labels = student.nearest_labels
    last_round: dict[int, int] = {}
    rounds = {}
    for row in places:
        label = int(labels[row])
        rounds[row] = last_round[label] = last_round.get(label, -1) + 1
    return sorted(places, key=lambda row: rounds[row])
