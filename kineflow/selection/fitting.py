"""From descriptions of labelled clips to a network like any other: the blend of the families that they choose."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from kineflow.evaluation.baselines.classifier import one_thread
from kineflow.models.bundle import load_bundle
from kineflow.models.card import ModelCard
from kineflow.models.clip_descriptor import ClipDescriptor, channels_of_groups
from kineflow.selection.blending import Model
from kineflow.selection.described import Described
from kineflow.selection.description import blocks_of, check_same_network, read_described
from kineflow.selection.groups import require_groups
from kineflow.selection.judging import Choice, choose
from kineflow.selection.settings import BlendSettings
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.feature_set import FeatureSet
from kineflow.spec.descriptors import input_of, of_flow
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.training.model_cards import with_clips


@dataclass(frozen=True)
class FittedBlend:
    """A blend, and what it came from.

    Attributes:
        network: With the classifier.
        card: Its card.
        choice: Of the clips.
        learnt_from: Their descriptions.
        families: That were compared.
    """

    network: ClipDescriptor
    card: ModelCard
    choice: Choice
    learnt_from: Described
    families: tuple[tuple[str, ...], ...]

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the families whose mean the network is, the best one first."""
        return tuple(member.name for member in self.choice.members)


def described_clips(clip_set: ClipSet, features: FeatureSet) -> list[Clip]:
    """The labelled clips that there are descriptions of, in the order of the set."""
    described = {clip_id for clip_id, entry in features.entries.items() if entry.status is Status.OK}
    return [clip for clip in clip_set.usable(Split.TRAIN, Split.VAL, Split.TEST) if clip.clip_id in described]


def fit_blend_on(
    clips: Sequence[Clip],
    clip_set: ClipSet,
    features: FeatureSet,
    descriptor: Path,
    settings: BlendSettings,
    *,
    name: str,
    seed: int,
) -> FittedBlend:
    """Choose families and strengths by folds of some clips, and fit the calibrated mean of the best on all of them.

    Args:
        clips: Labelled and described ones.
        clip_set: That they are of.
        features: Its descriptions.
        descriptor: Bundle of the network that made them.
        settings: Families, folds.
        name: Of the model.
        seed: Decides the folds.

    Raises:
        KineflowError: Descriptions are another network's, or of clips at another rate; a class has clips of one group
            only, or no family can be used.
    """
    check_same_network(features, descriptor)
    clip_set.require_form(features.source.preprocessing, of=f"descriptions by {features.source.name!r}")
    network, card = load_bundle(descriptor)
    if not isinstance(network, ClipDescriptor):
        raise KineflowError(
            f"{card.architecture} describes no clips", where=descriptor, remedy="pass the output of pretrain_descriptor"
        )
    blocks = blocks_of(network)
    families = tuple(family for each in settings.families if set(family := tuple(each.split("+"))) <= set(blocks))
    if not families:
        raise KineflowError(
            f"of the families {', '.join(settings.families)} none can be used: there is {', '.join(blocks)}",
            remedy="name families of these, or give pretrain_descriptor a backbone",
        )
    if not clips:
        raise KineflowError("there is no labelled clip to learn from", remedy="give some clips a label and split train")
    require_groups([(clip.label, clip.group) for clip in clips], clip_set.classes)
    described = read_described(features, clips, clip_set, blocks)
    with one_thread():
        choice = choose(
            described, families, settings.strengths, members=settings.members, folds=settings.folds, seed=seed
        )
    return FittedBlend(
        _network(network, choice.model, len(clip_set.classes)),
        _card(card, choice, clip_set, features, name),
        choice,
        described,
        families,
    )


def _network(described_by: ClipDescriptor, model: Model, classes: int) -> ClipDescriptor:
    """The network of the model's groups alone, with its classifier."""
    backbone = described_by.backbone if {"appearance", "change"} & set(model.family) else None
    network = ClipDescriptor(
        model.family, num_classes=classes, in_channels=channels_of_groups(model.family), backbone=backbone
    )
    network.image_mean.copy_(described_by.image_mean)
    network.image_std.copy_(described_by.image_std)
    classifier = network.classifier
    assert isinstance(classifier, nn.Linear)
    with torch.no_grad():
        classifier.weight.copy_(torch.from_numpy(model.linear.weight.T))
        classifier.bias.copy_(torch.from_numpy(model.linear.bias))
    return network


def _card(descriptor: ModelCard, choice: Choice, clip_set: ClipSet, features: FeatureSet, name: str) -> ModelCard:
    family, window = choice.model.family, descriptor.preprocessing
    card = dataclasses.replace(
        descriptor,
        name=name,
        classes=clip_set.classes,
        hyperparameters={**descriptor.hyperparameters, "groups": "+".join(family)},
        preprocessing=input_of_family(family, window, clip_set.fps),
        lineage={**descriptor.lineage, "families": ", ".join(member.name for member in choice.members)},
        flow=features.source.flow if of_flow(family) else None,
    )
    return with_clips(card, clip_set)


def input_of_family(family: tuple[str, ...], window: Preprocessing, fps: float) -> Preprocessing:
    """What a family sees of a window, at a rate."""
    sees = input_of(family, frames=window.frames, stride_frames=window.stride_frames, crop=window.crop)
    return dataclasses.replace(sees, fps=fps)
