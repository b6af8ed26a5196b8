"""What a network gives at the layers where students are compared with teachers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from kineflow.models.stages import channels_of_stage, features_at_each, features_from
from kineflow.storage.errors import KineflowError
from kineflow.training.term_settings import Layer


@dataclass(frozen=True)
class Place:
    """A layer, and whether its map is averaged over time and space.

    What is given there is logits [B,K], features [B,D], a stage's map [B,F,T',H',W'], or that averaged, [B,F].
    """

    layer: Layer
    pooled: bool = False

    @property
    def is_stage(self) -> bool:
        """Whether it is a named stage of S3D."""
        return self.layer not in ("logits", "features")


LOGITS = Place("logits")


def outputs_at(network: Any, clips: Tensor, places: Collection[Place]) -> dict[Place, Tensor]:
    """What ``network`` gives of normalised clips [B,C,T,S,S] at each of the places, by one pass.

    Raises:
        KineflowError: A named stage is asked of a network that has none of this name.
    """
    stages = {place.layer for place in places if place.is_stage}
    by_layer: dict[str, Tensor] = dict(features_at_each(network, clips, stages)) if stages else {}
    if any(not place.is_stage for place in places):
        last = next(reversed(by_layer), None)
        features = features_from(network, by_layer[last], last) if last else network.forward_features(clips)
        if LOGITS in places:
            by_layer["logits"] = network.forward_head(features)
        if any(place.layer == "features" for place in places):
            by_layer["features"] = network.forward_head(features, pre_logits=True)
    return {
        place: by_layer[place.layer].mean(dim=(2, 3, 4)) if place.is_stage and place.pooled else by_layer[place.layer]
        for place in places
    }


def width_at(network: Any, place: Place, *, of: str) -> int:
    """Channels of what :func:`outputs_at` gives of a network that people know as ``of``.

    Raises:
        KineflowError: As there.
    """
    if place.is_stage:
        try:
            return channels_of_stage(network, place.layer)
        except KineflowError as error:
            raise KineflowError(error.problem, where=of, remedy=error.remedy) from None
    width: int = network.num_classes if place.layer == "logits" else network.head_hidden_size
    return width


def projector(width: int, to: int, *, of_maps: bool) -> nn.Module:
    """A learnt linear map from ``width`` channels to others, at each place of a map alike; nothing where they agree."""
    if width == to:
        return nn.Identity()
    return nn.Conv3d(width, to, 1) if of_maps else nn.Linear(width, to)
