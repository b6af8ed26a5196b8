"""What a choice is worth when it is fitted on fewer labels: members and strengths stay, whole groups are left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kineflow.evaluation.label_efficiency import HALF, LabelledShare
from kineflow.selection.blending import fit_blend
from kineflow.selection.described import Described
from kineflow.selection.judging import Choice, Fold

SHARES = (0.125, 0.25, HALF, 1.0)
_DRAWS = 5
_FEWEST_GROUPS = 2


def judged_by_share(
    learnt_from: Described, choice: Choice, judged: Described, *, seed: int
) -> tuple[LabelledShare, ...]:
    """Fit the chosen blend on nested subsets of the groups, drawn a few times, and judge each.

    Args:
        learnt_from: The clips that chose; a share of fewer than two of their groups is left out.
        choice: Their members and strengths.
        judged: Other clips.
        seed: Of the draws.
    """
    groups = np.array(learnt_from.groups)
    names, tried = np.unique(groups), []
    orders = [np.random.default_rng([seed, draw]).permutation(names) for draw in range(_DRAWS)]
    for share in SHARES:
        count = round(share * len(names))
        if share < 1 and count < _FEWEST_GROUPS:
            continue
        clips, right = [], []
        for order in orders if share < 1 else orders[:1]:
            part = learnt_from.subset(np.flatnonzero(np.isin(groups, order[:count])))
            answers = fit_blend(part, choice.members, choice.temperature).scores(judged).argmax(axis=1)
            clips.append(len(part))
            right.append(answers == judged.labels)
        tried.append(LabelledShare(share, float(np.mean(clips)), np.mean(right, axis=0)))
    return tuple(tried)


def shares_by_folds(described: Described, folds: Sequence[Fold], *, seed: int) -> tuple[LabelledShare, ...]:
    """The same of nested folds, each with its own choice: every clip is judged by models of the fold that held it out.

    Args:
        described: Clips of all folds.
        folds: What was chosen in each.
        seed: Of the draws.
    """
    by_fold = [
        judged_by_share(described.subset(fold.learnt_from), fold.choice, described.subset(fold.held_out), seed=seed)
        for fold in folds
    ]
    joined = []
    for share in SHARES:
        parts = [each for tried in by_fold for each in tried if each.share == share]
        if len(parts) < max(1, len(folds)):  # a fold has too few groups
            continue
        right = np.zeros(len(described))
        for fold, each in zip(folds, parts, strict=True):
            right[fold.held_out] = each.right
        joined.append(LabelledShare(share, float(np.mean([each.clips for each in parts])), right))
    return tuple(joined)
