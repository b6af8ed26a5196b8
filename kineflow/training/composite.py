"""Putting frame networks together: streams of features, what reads them, and parents to start from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from kineflow.models.bundle import load_bundle, weights_digest
from kineflow.models.card import FITTED_ON, TRAINED_CLIP, ModelCard, Scalar, load_card, splits_learnt
from kineflow.models.frame_networks import FrameNetwork, tap_of
from kineflow.models.network import ImageNetwork
from kineflow.models.recurrent import SequenceNetwork
from kineflow.models.registry import create_model, hyperparameters_of
from kineflow.models.videolstm import ConvALSTM, ConvLSTM, VideoLSTM, warm_start
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError
from kineflow.training.recurrent_settings import RecurrentSettings
from kineflow.training.streams import Stream

_OF_BACKBONE = ("backbone", "width", "output_stride")


@dataclass(frozen=True)
class Parents:
    """Bundles of the trained networks that VideoLSTM starts from.

    Attributes:
        appearance: A ``conv_alstm`` on frames.
        motion: A ``conv_lstm`` on flow.
    """

    appearance: Path
    motion: Path


def network_over(
    streams: Sequence[Stream], settings: RecurrentSettings, classes: tuple[str, ...], *, name: str, seed: int
) -> tuple[FrameNetwork, ModelCard]:
    """A fresh network around the backbones of ``streams``, and its card.

    Args:
        streams: One for each input of the network: appearance first, then motion.
        settings: Which network, and the window that it sees.
        classes: That it is to tell apart.
        name: Of the model.
        seed: Of its weights.

    Raises:
        KineflowError: The streams are not those that the network reads, or do not fit each other.
    """
    architecture = settings.network.name
    _check(streams, architecture)
    preprocessing = composite_input([stream.features.source.preprocessing for stream in streams], settings)
    hyperparameters: dict[str, Scalar] = {
        **{key: streams[0].card.hyperparameters[key] for key in _OF_BACKBONE},
        **_size_of_map(architecture, streams[0].features.shape),
        **settings.network.keywords(),
    }
    torch.manual_seed(seed)
    network = create_model(
        architecture, num_classes=len(classes), in_channels=len(preprocessing.mean), **hyperparameters
    )
    assert isinstance(network, FrameNetwork)
    network.adopt(**{role: stream.network for role, stream in zip(network.streams, streams, strict=True)})
    card = ModelCard(
        name,
        architecture,
        hyperparameters,
        classes,
        preprocessing,
        lineage=_origins(streams),
        flow=streams[-1].features.source.flow,
    )
    return network, card


def composite_input(sources: Sequence[Preprocessing], settings: RecurrentSettings) -> Preprocessing:
    """The clips that the network takes, from how its backbones see a frame; with two, each frame and its flow frame.

    Raises:
        KineflowError: The two do not see a frame and its flow, or not the same square of it.
    """
    if len(sources) == 2:
        _check_pair(*sources)
    return dataclasses.replace(
        sources[0],
        modality=sources[0].modality if len(sources) == 1 else "rgb_flow",
        frames=settings.frames,
        stride_frames=settings.stride_frames,
        mean=tuple(mean for source in sources for mean in source.mean),
        std=tuple(std for source in sources for std in source.std),
        segments=0,
        short="repeat_last",
    )


def start_from(parents: Parents, network: FrameNetwork, card: ModelCard) -> ModelCard:
    """Give VideoLSTM the weights of its parents; the card that comes back says which they were.

    Raises:
        KineflowError: The network or a parent is of another kind, a parent has learnt other classes or from other
            features, or widths differ.
    """
    if not isinstance(network.sequence, VideoLSTM):
        raise KineflowError(
            f"{card.architecture} starts from no parents", remedy="give parents to a videolstm, and to no other network"
        )
    top, bottom = (_parent(bundle, network.streams[role], card) for role, bundle in vars(parents).items())
    if not isinstance(top, ConvALSTM) or not isinstance(bottom, ConvLSTM):
        raise KineflowError(
            f"no videolstm starts from {type(top).__name__} on frames and {type(bottom).__name__} on flow",
            remedy="give a conv_alstm on frames and a conv_lstm on flow",
        )
    warm_start(network.sequence, flow=bottom, appearance=top)
    origins = {}
    for role, bundle in vars(parents).items():
        origins[f"{role}_parent"] = weights_digest(bundle)
        if learnt := splits_learnt(load_card(bundle).lineage):
            origins[f"{role}_parent_{FITTED_ON}"] = ", ".join(learnt)
    return dataclasses.replace(card, lineage={**card.lineage, **origins})


def _check(streams: Sequence[Stream], architecture: str) -> None:
    taps = tap_of(architecture)
    if len(streams) != len(taps):
        raise KineflowError(
            f"{architecture} reads features of {len(taps)} backbones, and was given those of {len(streams)}",
            remedy="give motion_features and motion_backbone to networks that see flow beside frames, and to no others",
        )
    for stream, tap in zip(streams, taps, strict=True):
        if (given := stream.features.source.tap) != tap:
            raise KineflowError(
                f"{architecture} reads a {tap} of each frame, and these features are one {given} each",
                where=stream.features.media_root,
                remedy=f"extract them with tap: {tap}",
            )
    kinds = [{key: stream.card.hyperparameters[key] for key in _OF_BACKBONE} for stream in streams]
    if kinds[0] != kinds[-1]:
        raise KineflowError(
            f"the backbones are of two kinds: {kinds[0]} and {kinds[-1]}", remedy="make both of one kind"
        )


def _check_pair(appearance: Preprocessing, motion: Preprocessing) -> None:
    if (appearance.modality, motion.modality) != ("rgb", "flow"):
        raise KineflowError(
            f"features of {appearance.modality} and {motion.modality}, where rgb and flow are expected",
            remedy="give the features of an RGB backbone, and as motion_features those of a flow backbone",
        )
    for name in ("fit", "crop", "short_side"):
        if (mine := getattr(appearance, name)) != (theirs := getattr(motion, name)):
            raise KineflowError(
                f"{name} is {mine} for the frames and {theirs} for their flow; both must see the same square",
                remedy="train both backbones with the same value",
            )


def _size_of_map(architecture: str, shape: tuple[int, ...]) -> dict[str, Scalar]:
    """What the network has to be told of the map [F, h, w] that it reads."""
    known = hyperparameters_of(architecture)
    height, width = shape[1:] if len(shape) == 3 else (1, 1)
    if "cells" in known:
        return {"cells": height * width}
    if "grid" not in known:
        return {}
    if height != width:
        raise KineflowError(
            f"{architecture} reads square maps, and these are {height}x{width}",
            remedy="give its backbone square frames",
        )
    return {"grid": height}


def _origins(streams: Sequence[Stream]) -> dict[str, str]:
    """The lineage of the backbones, but for their clips; of two, each entry is named for its stream."""
    lineages = [{"backbone": stream.features.source.backbone, **stream.card.lineage} for stream in streams]
    for lineage in lineages:
        lineage.pop(TRAINED_CLIP, None)
    if len(lineages) == 1:
        return lineages[0]
    return {
        f"{role}_{key}": value
        for role, of_stream in zip(("appearance", "motion"), lineages, strict=True)
        for key, value in of_stream.items()
    }


def _parent(bundle: Path, backbone: ImageNetwork, card: ModelCard) -> SequenceNetwork:
    """What a parent has learnt to make of the features of ``backbone``."""
    parent, parent_card = load_bundle(bundle)
    if not isinstance(parent, FrameNetwork) or parent.motion is not None:
        raise KineflowError(
            f"{parent_card.name!r} does not look at the frames of one stream",
            where=bundle,
            remedy="give a model that train_recurrent has made of one set of features",
        )
    if parent_card.classes != card.classes:
        raise KineflowError(
            f"{parent_card.name!r} has learnt other classes", where=bundle, remedy="train it on the same clip set"
        )
    ours, theirs = backbone.state_dict(), parent.appearance.state_dict()
    if ours.keys() != theirs.keys() or not all(torch.equal(ours[key], theirs[key]) for key in ours):
        raise KineflowError(
            f"{parent_card.name!r} has learnt from the features of another backbone",
            where=bundle,
            remedy="train it on the same features",
        )
    return parent.sequence
