"""Models compared on the same clips: everything is checked first, then scored, then fused."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from kineflow.evaluation.baselines.trivial import trivial_baselines
from kineflow.evaluation.choice import choose_by_cards, choose_on_val, has_learnt_val
from kineflow.evaluation.curves import read_curves
from kineflow.evaluation.fusion import fuse, sweep_weights
from kineflow.evaluation.imported import read_imported
from kineflow.evaluation.protocol import check_clips, score_clips, unscored
from kineflow.evaluation.results import Evaluated, Evaluation, Fused, check_names, require_known
from kineflow.evaluation.scores import Scores
from kineflow.evaluation.settings import EvaluateSettings, FusionSettings, keys_that_need_val
from kineflow.evaluation.view_protocol import ONE_VIEW, ViewProtocol
from kineflow.models.bundle import load_bundle
from kineflow.models.card import ModelCard, load_card
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError

_LOG = logging.getLogger(__name__)


def compare_models(
    bundles: Sequence[Path],
    clip_set: ClipSet,
    flow_set: FlowSet | None,
    settings: EvaluateSettings,
    *,
    warped_set: FlowSet | None = None,
) -> Evaluation:
    """Score the models of some bundles, fuse them as asked.

    Args:
        bundles: Folders of models with distinct names and the same classes.
        clip_set: Where the clips are.
        flow_set: Needed when a model takes flow.
        settings: See :class:`~kineflow.evaluation.settings.EvaluateSettings`.
        warped_set: Flow without the camera's motion; needed when a model takes warped flow.

    Raises:
        KineflowError: Two models have one name or differ in their classes, a name in the settings is unknown, or
            clips, labels or flow are missing.
    """
    cards, split = [load_card(bundle) for bundle in bundles], Split(settings.split)
    _check(cards, settings)
    for card in cards:
        clip_set.require_form(card.preprocessing, of=f"model {card.name!r}")
    curves = {card.name: read_curves(bundle) for bundle, card in zip(bundles, cards, strict=True)}
    clips = clip_set.usable(split)
    check_clips(cards[0], clips, split)
    like = unscored(cards[0], clips, split)
    imported = tuple(
        read_imported(Path(source.path), model=source.name, like=like, normalise=source.normalise)
        for source in settings.imported
    )
    compared_on_val = clip_set.usable(Split.VAL)
    weighed_on_val = {name for fusion in settings.fusion if fusion.weights == "val" for name in fusion.models}
    if settings.choose_among or weighed_on_val:
        _require_val(compared_on_val, settings)
        check_clips(cards[0], compared_on_val, Split.VAL)
    learnt_val = {card.name for card in cards if has_learnt_val(card)}
    _check_unseen(weighed_on_val & learnt_val)
    choice = None
    if learnt_val & set(settings.choose_among):
        by_name = {card.name: card for card in cards}
        choice = choose_by_cards([by_name[name] for name in settings.choose_among], clips=len(compared_on_val))
    needed_on_val = weighed_on_val | set(() if choice else settings.choose_among)
    student = choice.winner if choice else settings.student or cards[0].name
    needs_threshold = student not in needed_on_val | learnt_val and _both_classes_in_val(clip_set, cards[0], split)
    models: list[Evaluated] = []
    on_val: dict[str, Scores] = {}
    for bundle in bundles:
        network, card = load_bundle(bundle)
        stored_flow = warped_set if card.preprocessing.modality == "warped_flow" else flow_set
        models.append(
            Evaluated(
                scores=_scores(network, card, clip_set, stored_flow, split, settings),
                by_one_view=None
                if settings.views_of(card.name) == ONE_VIEW
                else _scores(network, card, clip_set, stored_flow, split, settings, views=ONE_VIEW),
                modality=card.preprocessing.modality,
                parameters=sum(parameter.numel() for parameter in network.parameters()),
                curves=curves[card.name],
                lineage=card.lineage,
                preprocessing=card.preprocessing,
            )
        )
        if card.name in needed_on_val:
            on_val[card.name] = _scores(network, card, clip_set, stored_flow, Split.VAL, settings)
        elif card.name == student and needs_threshold:
            try:
                on_val[card.name] = _scores(network, card, clip_set, stored_flow, Split.VAL, settings)
            except KineflowError as error:  # a threshold is worth no failed evaluation
                _LOG.warning("  ! no threshold is chosen on val: %s", error)
    if settings.choose_among and choice is None:
        candidates = [on_val[name] for name in settings.choose_among]
        choice = choose_on_val(candidates)
        student = choice.winner
    scored = {scores.model: scores for scores in (*(model.scores for model in models), *imported)}
    return Evaluation(
        models=tuple(models),
        fusions=tuple(_fused(fusion, scored, on_val) for fusion in settings.fusion),
        student=student,
        baseline=settings.baseline,
        imported=imported,
        trivial=trivial_baselines(clip_set, like) if settings.baselines else (),
        groups=tuple(clip.group for clip in clips),
        student_on_val=on_val.get(student),
        choice=choice,
    )


def _require_val(clips: Sequence[Clip], settings: EvaluateSettings) -> None:
    if not clips:
        keys = " and ".join(keys_that_need_val(settings.model_dump()))
        raise KineflowError(
            f"{keys} cannot go by val: the clip set has no usable clip in it",
            remedy="name evaluation.student, leave choose_among empty and give fusions numbers as weights; "
            "or set ingestion.val_share above 0",
        )


def _check_unseen(models: set[str]) -> None:
    if models:
        raise KineflowError(
            f"fusion.weights cannot be chosen on val: {', '.join(sorted(models))} learnt from it (refit)",
            remedy="give the fusion numbers as weights, or set refit: false",
        )


def _both_classes_in_val(clip_set: ClipSet, card: ModelCard, split: Split) -> bool:
    """Whether ``val`` can choose a threshold between two classes for the clips of ``split``."""
    seen = {clip.label for clip in clip_set.usable(Split.VAL)}
    return len(card.classes) == 2 and not card.multi_label and split is Split.TEST and seen == set(card.classes)


def _scores(
    network: torch.nn.Module,
    card: ModelCard,
    clip_set: ClipSet,
    flow_set: FlowSet | None,
    split: Split,
    settings: EvaluateSettings,
    views: ViewProtocol | None = None,
) -> Scores:
    views = views or settings.views_of(card.name)
    return score_clips(
        network,
        card,
        clip_set,
        flow_set,
        split,
        clips_per_video=views.clips_per_video,
        crops=views.crops,
        layout=views.windows,
        view_aggregation=views.view_aggregation,
        batch_size=settings.batch_size,
        workers=settings.workers,
        device="cuda" if torch.cuda.is_available() else "cpu",
    )


def _fused(fusion: FusionSettings, scores: Mapping[str, Scores], on_val: Mapping[str, Scores]) -> Fused:
    if fusion.weights == "val":
        weights = sweep_weights([on_val[name] for name in fusion.models], on=fusion.average)
    else:
        weights = fusion.weights or (1.0,) * len(fusion.models)
    shares = tuple(weight / sum(weights) for weight in weights)
    fused = fuse([scores[name] for name in fusion.models], shares, on=fusion.average)
    return Fused(fused, fusion.models, shares, tuned=fusion.weights == "val")


def _check(cards: list[ModelCard], settings: EvaluateSettings) -> None:
    names = [card.name for card in cards]
    check_names([*names, *(source.name for source in settings.imported)])
    fused = [name for fusion in settings.fusion for name in fusion.models]
    require_known(fused, [*names, *(source.name for source in settings.imported)], what="model")
    named = [name for name in (settings.student, settings.baseline) if name is not None]
    require_known([*named, *settings.choose_among, *settings.clips_per_video_of], names, what="model")
    for card in cards:
        if card.classes != cards[0].classes:
            raise KineflowError(
                f"models {cards[0].name!r} and {card.name!r} were trained for different classes",
                remedy="compare models that were trained on the same clip set",
            )
        if card.multi_label != cards[0].multi_label:
            raise KineflowError(
                f"{cards[0].name!r} and {card.name!r} differ in whether a clip may be of several classes",
                remedy="give the networks of both multi_label: true, or neither",
            )
