"""What a choice is worth: made anew in every fold, and judged on groups that it has not seen (nested folds)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kineflow.selection.blending import Candidate, Model, fit_blend, fit_family, folds_of, rank_families, temperature_of
from kineflow.selection.described import Described, Labels, Matrix
from kineflow.storage.progress import track


@dataclass(frozen=True)
class Choice:
    """What labelled clips chose.

    Attributes:
        model: The calibrated mean of the best families.
        members: Those families, the best one first.
        temperature: Of their mean.
        single: The calibrated classifier of every family, the best one first.
    """

    model: Model
    members: tuple[Candidate, ...]
    temperature: float
    single: dict[tuple[str, ...], Model]


@dataclass(frozen=True)
class Fold:
    """A choice that was made without some of the clips.

    Attributes:
        learnt_from: Places of the clips that chose, [n].
        held_out: Places of those that judge, [m].
        choice: What was chosen.
    """

    learnt_from: Labels
    held_out: Labels
    choice: Choice


@dataclass(frozen=True)
class Judged:
    """Scores of the blend and of every family.

    Attributes:
        blend: [N, K], log probabilities of each judged clip.
        families: The same by family, each at the strength that the training clips chose.
        folds: What was chosen in each.
    """

    blend: Matrix
    families: dict[tuple[str, ...], Matrix]
    folds: tuple[Fold, ...]


def choose(
    described: Described,
    families: Sequence[tuple[str, ...]],
    strengths: Sequence[float],
    *,
    members: int,
    folds: int,
    seed: int,
) -> Choice:
    """Rank families on labelled clips, and fit the mean of the best and each by itself.

    Args:
        described: The clips.
        families: Groups of each.
        strengths: Values of C.
        members: How many families are averaged, at most.
        folds: Parts of the clips.
        seed: Decides the folds.
    """
    ranked = rank_families(described, families, strengths, folds=folds, seed=seed)
    best = tuple(ranked[:members])
    temperature = temperature_of(described, best)
    return Choice(
        fit_blend(described, best, temperature),
        best,
        temperature,
        {candidate.family: fit_family(described, candidate) for candidate in ranked},
    )


def judge_by_folds(
    described: Described,
    families: Sequence[tuple[str, ...]],
    strengths: Sequence[float],
    *,
    members: int,
    folds: int,
    seed: int,
) -> Judged:
    """Choose in every fold's training clips alone, and score the clips held out: each clip once.

    The arguments are those of :func:`choose`.
    """
    blend = np.zeros((len(described), described.classes))
    single = {family: np.zeros_like(blend) for family in families}
    made = []
    splits = list(folds_of(described, folds, seed))
    for train, held_out in track(splits, total=len(splits), what="folds", unit="fold"):
        choice = choose(described.subset(train), families, strengths, members=members, folds=folds, seed=seed + 1)
        held = described.subset(held_out)
        blend[held_out] = choice.model.scores(held)
        for family, model in choice.single.items():
            single[family][held_out] = model.scores(held)
        made.append(Fold(train, held_out, choice))
    return Judged(blend, single, tuple(made))
