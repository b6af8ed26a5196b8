"""The trivial baselines of one evaluation, as scores of the clips that its models were scored on."""

from __future__ import annotations

import dataclasses

import numpy as np

from kineflow.evaluation.baselines.classifier import class_prior, fit_baseline, probabilities_of
from kineflow.evaluation.baselines.features import baseline_features
from kineflow.evaluation.scores import Scores
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.split import Split

CLASS_PRIOR = "class prior"
MOST_TRAINING_CLIPS = 2000

_LEAST = 1e-12  # a probability of 0 has no logarithm


def trivial_baselines(clip_set: ClipSet, like: Scores, *, seed: int = 0) -> tuple[Scores, ...]:
    """Score trivial baselines on the clips of ``like``, once fitted on labelled clips of ``train`` and ``val``.

    The evaluated split is left out of what they learn from; of more than 2,000 clips some are drawn.

    Args:
        clip_set: Where all clips are.
        like: Any scores of the evaluated clips: their classes and labels are taken from it.
        seed: Of the draw and of folds.

    Returns:
        Scores named ``class prior``, ``motion energy``, ``single frame`` and ``length, rate and size``; logarithms of
        probabilities. Of clips of several classes the first alone. Empty where there is no clip to learn from.
    """
    index = {name: number for number, name in enumerate(like.classes)}
    learnt_from = _drawn(clip_set, like, seed)
    if not learnt_from:
        return ()
    if like.truth is not None:
        shares = np.mean([[name in clip.labels for name in like.classes] for clip in learnt_from], axis=0)
        odds = np.log(np.maximum(shares, _LEAST)) - np.log(np.maximum(1 - shares, _LEAST))
        logits = np.broadcast_to(odds, like.logits.shape).astype(np.float32)
        return (dataclasses.replace(like, model=CLASS_PRIOR, logits=logits),)
    labels = np.array([index[clip.label] for clip in learnt_from if clip.label is not None], dtype=np.int64)
    prior = np.broadcast_to(class_prior(labels, len(like.classes)), (len(like), len(like.classes)))
    answers = {CLASS_PRIOR: prior}
    by_id = {clip.clip_id: clip for clip in clip_set.clips}
    seen = baseline_features(clip_set, [*learnt_from, *(by_id[clip_id] for clip_id in like.clip_ids)])
    groups = [clip.group for clip in learnt_from]
    for name, features in seen.items():
        fitted = fit_baseline(features[: len(labels)], labels, groups, seed)
        answers[name] = probabilities_of(fitted, features[len(labels) :], len(like.classes))
    return tuple(
        dataclasses.replace(like, model=name, logits=np.log(np.maximum(shares, _LEAST)).astype(np.float32))
        for name, shares in answers.items()
    )


def _drawn(clip_set: ClipSet, like: Scores, seed: int) -> list[Clip]:
    """Labelled clips of ``train`` and ``val``, of the classes of ``like``, in order."""
    splits = [split for split in (Split.TRAIN, Split.VAL) if split.value != like.split]
    labelled = [clip for clip in clip_set.usable(*splits) if clip.label in like.classes]
    if len(labelled) <= MOST_TRAINING_CLIPS:
        return labelled
    drawn = np.random.default_rng(seed).choice(len(labelled), MOST_TRAINING_CLIPS, replace=False)
    return [labelled[place] for place in np.sort(drawn)]
