"""From descriptions to a network and what it has shown: the blend, every family, and trivial baselines on equal terms.

Where the clip set has labelled test clips, they judge, and training clips choose. Where it has none, nested folds
judge: every clip is scored by a model that was chosen and fitted without its group.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kineflow.evaluation.baselines.classifier import class_prior, fit_baseline, one_thread, probabilities_of
from kineflow.evaluation.baselines.features import baseline_features
from kineflow.evaluation.baselines.trivial import CLASS_PRIOR, trivial_baselines
from kineflow.evaluation.label_efficiency import label_efficiency
from kineflow.evaluation.results import FOLDS, Evaluated, Evaluation
from kineflow.evaluation.scores import Scores
from kineflow.evaluation.view_protocol import ViewProtocol
from kineflow.models.card import ModelCard
from kineflow.models.clip_descriptor import ClipDescriptor
from kineflow.selection.blending import Model, folds_of
from kineflow.selection.described import Described, Matrix
from kineflow.selection.description import read_described
from kineflow.selection.fitting import described_clips, fit_blend_on, input_of_family
from kineflow.selection.judging import judge_by_folds
from kineflow.selection.label_shares import judged_by_share, shares_by_folds
from kineflow.selection.settings import SelectSettings
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.feature_set import FeatureSet
from kineflow.spec.split import Split

_LEAST_LOG = np.log(1e-12)


@dataclass(frozen=True)
class Outcome:
    """What was chosen, and what it has shown.

    Attributes:
        network: With the classifier.
        card: Its card.
        evaluation: The blend is its student.
        judged: The clips of the evaluation.
        members: Names of the families whose mean the network is.
        views: By which a video is judged as these clips were.
    """

    network: ClipDescriptor
    card: ModelCard
    evaluation: Evaluation
    judged: tuple[Clip, ...]
    members: tuple[str, ...]
    views: ViewProtocol


def select(
    clip_set: ClipSet, features: FeatureSet, descriptor: Path, settings: SelectSettings, *, seed: int
) -> Outcome:
    """Choose a model on the labelled clips, and judge the choice.

    Args:
        clip_set: Labels, groups and splits.
        features: Descriptions of its clips.
        descriptor: Bundle of the network that made them.
        settings: Families, folds.
        seed: Decides the folds.

    Raises:
        KineflowError: Descriptions are another network's, or of clips at another rate; a class cannot be judged, or no
            family can be used.
    """
    known = described_clips(clip_set, features)
    learnt_from = [clip for clip in known if clip.split is not Split.TEST]
    tested = [clip for clip in known if clip.split is Split.TEST]
    fitted = fit_blend_on(learnt_from, clip_set, features, descriptor, settings, name=settings.name, seed=seed)
    clips, choice, card, families = fitted.learnt_from, fitted.choice, fitted.card, fitted.families
    how = {"members": settings.members, "folds": settings.folds, "seed": seed}
    if tested:
        on_test = read_described(features, tested, clip_set, clips.blocks)
        like = _unscored(tested, clip_set, Split.TEST.value)
        blend, single = choice.model.scores(on_test), {f: model.scores(on_test) for f, model in choice.single.items()}
        trivial = trivial_baselines(clip_set, like, seed=seed)
        with one_thread():
            shares = judged_by_share(clips, choice, on_test, seed=seed)
    else:
        with one_thread():
            judged = judge_by_folds(clips, families, settings.strengths, **how)
            shares = shares_by_folds(clips, judged.folds, seed=seed)
        like = _unscored(learnt_from, clip_set, FOLDS)
        blend, single = judged.blend, judged.families
        trivial = _baselines_by_folds(clip_set, learnt_from, clips, like, folds=settings.folds, seed=seed)
    groups = tuple(clip.group for clip in (tested or learnt_from))
    evaluation = Evaluation(
        models=(
            _evaluated(settings.name, blend, like, choice.model, card),
            *(
                _evaluated(_name(f), single[f], like, choice.single[f], card)
                for f in choice.single
                if len(families) > 1
            ),
        ),
        fusions=(),
        student=settings.name,
        trivial=trivial,
        groups=groups,
        label_efficiency=label_efficiency(shares, groups),
    )
    views = ViewProtocol(max(entry.time_steps for entry in features.entries.values()), "covering")
    return Outcome(fitted.network, card, evaluation, tuple(tested or learnt_from), fitted.members, views)


def _evaluated(name: str, scores: Matrix, like: Scores, model: Model, card: ModelCard) -> Evaluated:
    sees = input_of_family(model.family, card.preprocessing, card.preprocessing.fps)
    return Evaluated(
        scores=_scored(like, name, scores),
        modality=sees.modality,
        parameters=model.linear.weight.size + model.linear.bias.size,
        preprocessing=sees,
    )


def _unscored(clips: Sequence[Clip], clip_set: ClipSet, split: str) -> Scores:
    return Scores(
        model="",
        clip_ids=tuple(clip.clip_id for clip in clips),
        labels=np.array([clip_set.label_index(clip) for clip in clips], dtype=np.int64),
        classes=clip_set.classes,
        logits=np.zeros((len(clips), len(clip_set.classes)), dtype=np.float32),
        split=split,
    )


def _baselines_by_folds(
    clip_set: ClipSet, clips: Sequence[Clip], described: Described, like: Scores, *, folds: int, seed: int
) -> tuple[Scores, ...]:
    """Trivial baselines in the same folds as the models."""
    classes = len(like.classes)
    seen = baseline_features(clip_set, clips)
    answers = {name: np.zeros((len(clips), classes)) for name in (CLASS_PRIOR, *seen)}
    for train, held_out in folds_of(described, folds, seed):
        labels = described.labels[train]
        answers[CLASS_PRIOR][held_out] = class_prior(labels, classes)
        for name, columns in seen.items():
            fitted = fit_baseline(columns[train], labels, [described.groups[clip] for clip in train], seed)
            answers[name][held_out] = probabilities_of(fitted, columns[held_out], classes)
    return tuple(_scored(like, name, np.log(np.maximum(shares, 1e-12))) for name, shares in answers.items())


def _scored(like: Scores, name: str, scores: Matrix) -> Scores:
    return dataclasses.replace(like, model=name, logits=np.maximum(scores, _LEAST_LOG).astype(np.float32))


def _name(family: tuple[str, ...]) -> str:
    return " and ".join(family)
