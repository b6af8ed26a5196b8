"""A frozen network for images, and the features that it has given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kineflow.models.bundle import load_bundle, weights_digest
from kineflow.models.card import ModelCard
from kineflow.models.network import ImageNetwork, VideoNetwork
from kineflow.models.tsn import TSN
from kineflow.sets.feature_set import FeatureSet
from kineflow.storage.errors import KineflowError


@dataclass(frozen=True)
class Stream:
    """A frozen backbone and what it has seen.

    Attributes:
        features: Of the clips.
        network: The backbone.
        card: Of the model that it comes from.
    """

    features: FeatureSet
    network: ImageNetwork
    card: ModelCard


def load_image_network(bundle: Path) -> tuple[ImageNetwork, ModelCard]:
    """The network for images inside a TSN, and the TSN's card.

    Raises:
        KineflowError: The bundle cannot be read, or holds no such network.
    """
    network, card = load_bundle(bundle)
    return image_network_of(network, where=bundle), card


def image_network_of(network: VideoNetwork, *, where: Path) -> ImageNetwork:
    """The network for images inside a TSN, from the bundle ``where``.

    Raises:
        KineflowError: It is another network, or looks at several frames at once.
    """
    if not isinstance(network, TSN) or network.snippet_frames != 1:
        raise KineflowError(
            "no network that looks at one frame",
            where=where,
            remedy="give a TSN with snippets of one frame (flow_frames: 1, difference_frames: 1 in pretraining)",
        )
    return network.backbone


def load_stream(features: Path, backbone: Path) -> Stream:
    """A feature set, and the network that has made it.

    Raises:
        KineflowError: One of them cannot be read, or the features are those of another network.
    """
    network, card = load_image_network(backbone)
    feature_set = FeatureSet.load(features)
    if feature_set.source.backbone != weights_digest(backbone):
        raise KineflowError(
            f"these are features of another network than {card.name!r} in {backbone}",
            where=features,
            remedy="give the backbone that extract_features was given, or extract the features again",
        )
    return Stream(feature_set, network, card)
