"""The card of a model in training: from that of its initial weights to that of the trained model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from kineflow.models.bundle import load_bundle, weights_digest
from kineflow.models.card import FITTED_ON, TRAINED_CLIP, ModelCard, clip_in_words, splits_learnt
from kineflow.models.network import VideoNetwork
from kineflow.sets.clip_set import ClipSet, clips_digest
from kineflow.sets.flow_set import FlowSet, flow_digest
from kineflow.sets.rows import whole_numbers
from kineflow.spec.flow_source import FlowSource
from kineflow.spec.modality import reads_flow
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.training.clips import Data
from kineflow.training.loop import Fitted
from kineflow.training.settings import RunSettings, TrainSettings


def with_flow_source(card: ModelCard, data: Data) -> ModelCard:
    """The card, with the digest of the flow set, and what it takes to make flow of any video as that was made."""
    if data.flow_set is None or not reads_flow(card.preprocessing.modality):
        return card
    lineage = {**card.lineage, "flow": flow_digest(data.flow_set)}
    return dataclasses.replace(card, flow=flow_source_of(data.flow_set, data.clip_set), lineage=lineage)


def flow_source_of(flow_set: FlowSet | None, clip_set: ClipSet) -> FlowSource | None:
    """How the flow was made; None where there is none, or another tool has made it."""
    if flow_set is None:
        return None
    heights, widths = (whole_numbers(clip_set.usable(), name) for name in ("height", "width"))
    short_side = int(np.minimum(heights, widths).max())
    return FlowSource.of(flow_set.params, bound_px=flow_set.bound_px, short_side=short_side)


def with_clips(card: ModelCard, clip_set: ClipSet) -> ModelCard:
    """The card, with the digest of the clips and labels that its network may have seen: of all splits but test."""
    seen = clips_digest(clip_set.usable(Split.TRAIN, Split.VAL, Split.UNLABELLED))
    return dataclasses.replace(card, lineage={**card.lineage, "clips": seen})


def for_these_classes(
    initial: Path, clip_set: ClipSet, settings: TrainSettings, *, name: str, seed: int
) -> tuple[VideoNetwork, ModelCard]:
    """The network of a bundle, for the classes of the clip set and clips as the settings have them, and its new card.

    Raises:
        KineflowError: The settings do not fit the network, or it has learnt from ``val``, which is to choose.
    """
    network, card = load_bundle(initial)
    check_val_unseen(card, settings)
    if card.preprocessing.segments and not card.preprocessing.frames == settings.frames == settings.tested_frames:
        tested = "" if settings.tested_frames == settings.frames else f" ({settings.tested_frames} in tests)"
        raise KineflowError(
            f"frames is {settings.frames}{tested}, and snippets of {card.name!r} have {card.preprocessing.frames}",
            remedy="give the training of a stream the snippet length that its network was built for",
        )
    for frames in (settings.frames, settings.tested_frames):
        network.require_clip(frames=frames, size=settings.crop)
    _require_learnt(card, settings)
    torch.manual_seed(seed)
    if card.classes != clip_set.classes:
        network.reset_classifier(len(clip_set.classes))
    preprocessing = dataclasses.replace(
        card.preprocessing,
        frames=settings.tested_frames,
        stride_frames=settings.test_stride_frames or settings.stride_frames,
        short_side=settings.short_side,
        crop=settings.crop,
        fit=settings.fit,
        short=settings.short,
        fps=clip_set.fps,
        size=clip_set.size,
    )
    trained_clip = clip_in_words(settings.frames, settings.stride_frames)
    lineage = {**card.lineage, "initial_weights_sha256": weights_digest(initial), TRAINED_CLIP: trained_clip}
    return network, dataclasses.replace(
        card, name=name, classes=clip_set.classes, preprocessing=preprocessing, lineage=lineage
    )


def check_val_unseen(start: ModelCard, settings: RunSettings) -> None:
    """Check that ``val`` can choose the round that is kept.

    Raises:
        KineflowError: What training starts from has learnt from it.
    """
    if settings.needs_val and Split.VAL in splits_learnt(start.lineage):
        raise KineflowError(
            "val is to choose the round that is kept, and weights that training starts from have learnt from it",
            where=f"model {start.name!r}",
            remedy="set keep: last here, or refit: false where those were trained",
        )


def _require_learnt(card: ModelCard, settings: TrainSettings) -> None:
    freezing = {"partial_norms": ("off", settings.partial_norms), "frozen": ("none", settings.frozen)}
    for key, (off, chosen) in freezing.items():
        if chosen != off and card.lineage.get("initialised") == "from scratch" and not card.classes:
            raise KineflowError(
                f"{key} freezes what {card.name!r} has never learnt: it starts from scratch",
                remedy=f'give pretraining a checkpoint, or set {key} to "{off}"',
            )


def with_metrics(card: ModelCard, fitted: Fitted) -> ModelCard:
    """The card, with how it was trained, and the validation figures of the weights that were kept.

    There are none where training started from what had learnt from ``val``.
    """
    before = splits_learnt(card.lineage)
    metrics: Mapping[str, float] = {
        name: value for name, value in fitted.metrics.items() if name.startswith("val/") and Split.VAL not in before
    }
    learnt = [split for split in Split if split in {*before, *fitted.fitted_on}]
    facts = {"kept": fitted.kept, FITTED_ON: ", ".join(learnt)}
    return dataclasses.replace(
        card,
        lineage={**card.lineage, **facts},
        metrics={**metrics, "kept_step": float(fitted.kept_step)},
    )
