"""Clips as the models of a run see them: features to tell them apart by, and probabilities."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kineflow.evaluation.scores import softmax
from kineflow.models.bundle import load_bundle
from kineflow.models.clip_descriptor import ClipDescriptor
from kineflow.models.network import VideoNetwork
from kineflow.selection.description import Descriptions, blocks_of, describe, read_described
from kineflow.selection.linear import Linear, Whitening, joined
from kineflow.selection.settings import DescribeSettings
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.feature_set import FeatureSet
from kineflow.sets.flow_set import FlowSet
from kineflow.sets.media import SetMedia
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Shown:
    """What models are shown.

    Attributes:
        clip_set: Where the clips lie.
        flow_set: Their flow; None where no model reads any.
        clips: Usable ones.
        media: Where what is computed of a clip is put, to be found again.
    """

    clip_set: ClipSet
    flow_set: FlowSet | None
    clips: Sequence[Clip]
    media: SetMedia


@dataclass(frozen=True)
class Seen:
    """Clips as a model sees them.

    Attributes:
        clips: N, those that could be read.
        features: [N, D], of one scale: distances mean something.
        probabilities: [N, K].
    """

    clips: tuple[Clip, ...]
    features: Matrix
    probabilities: Matrix


def seen_by_selection(shown: Shown, descriptor: Path, model: Path, settings: DescribeSettings) -> Seen:
    """Clips by what describes them and the linear model that was chosen on that.

    The descriptions are those of the step describe: what that has done is not done again, and what is done here is
    there for that step when the clips have labels.

    Args:
        shown: The clips.
        descriptor: Bundle of the network that describes clips.
        model: Bundle of the chosen model.
        settings: As the step describe has them.

    Raises:
        KineflowError: A bundle is damaged or of another kind, or no clip can be described.
    """
    network, card = load_bundle(descriptor)
    chosen, _ = load_bundle(model)
    if not isinstance(network, ClipDescriptor) or not isinstance(chosen, ClipDescriptor):
        raise KineflowError("no linear model on descriptions", where=model, remedy="pass the outputs of one run")
    made = describe(network, card, descriptor, *_parts(shown), settings)
    clips = _described(made, shown)
    features = _feature_set(made, network.num_features, shown.media)
    described = read_described(features, clips, shown.clip_set, blocks_of(network))
    classifier = chosen.classifier
    assert isinstance(classifier, nn.Linear)
    weight, bias = (tensor.detach().numpy().astype(np.float64) for tensor in (classifier.weight, classifier.bias))
    linear = Linear(weight.T, bias)
    columns = described.columns(chosen.groups)
    whitening = joined([Whitening.of(described.columns([group]), described.row_weights) for group in chosen.groups])
    return Seen(
        clips,
        _mean_by_clip(whitening.apply(columns), described.clip_of, len(clips)),
        softmax(described.scores(linear.logits(columns))),
    )


def seen_by_network(shown: Shown, model: Path, *, temperature: float, batch_size: int) -> Seen:
    """Clips by a trained network: what its classifier sees, and what that says.

    Args:
        shown: The clips.
        model: Its bundle.
        temperature: That makes its logits those of probabilities.
        batch_size: Windows a forward pass.

    Raises:
        KineflowError: The bundle is damaged or has no classifier, or no clip can be read.
    """
    network, card = load_bundle(model)
    if not card.classes:
        raise KineflowError(f"model {card.name!r} has no classes", where=model, remedy="name a recipe that trains one")
    card = dataclasses.replace(card, hyperparameters={**card.hyperparameters, "gives": "features and logits"})
    settings = DescribeSettings(windows=_WINDOWS, batch_size=batch_size, workers=0)
    made = describe(_FeaturesAndLogits(network), card, model, *_parts(shown), settings)
    clips = _described(made, shown)
    width = network.head_hidden_size + len(card.classes)
    described = read_described(
        _feature_set(made, width, shown.media), clips, shown.clip_set, {"features": slice(0, network.head_hidden_size)}
    )
    features = described.columns(["features"])
    whitening = Whitening.of(features, described.row_weights)
    logits = described.rows[:, network.head_hidden_size :] / temperature
    return Seen(
        clips,
        _mean_by_clip(whitening.apply(features), described.clip_of, len(clips)),
        softmax(described.scores(logits)),
    )


_WINDOWS = 4


class _FeaturesAndLogits(VideoNetwork):
    """A network that gives what its classifier sees, and then the logits, [B, D + K]."""

    def __init__(self, network: VideoNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        features = self.network.forward_features(x)
        seen, logits = (self.network.forward_head(features, pre_logits=only) for only in (True, False))
        return torch.cat([seen.flatten(1), logits], dim=1)


def _parts(shown: Shown) -> tuple[ClipSet, FlowSet | None, Sequence[Clip], SetMedia]:
    return shown.clip_set, shown.flow_set, shown.clips, shown.media


def _described(made: Descriptions, shown: Shown) -> tuple[Clip, ...]:
    good = {entry.clip_id for entry in made.entries if entry.status is Status.OK}
    if not good:
        raise KineflowError(
            f"no clip could be described, for the first of them: {made.entries[0].reason}",
            remedy="run the recipe again",
        )
    return tuple(clip for clip in shown.clips if clip.clip_id in good)


def _feature_set(made: Descriptions, width: int, media: SetMedia) -> FeatureSet:
    return FeatureSet(made.source, (width,), {entry.clip_id: entry for entry in made.entries}, media.store.root)


def _mean_by_clip(rows: Matrix, clip_of: NDArray[np.int64], clips: int) -> Matrix:
    total = np.zeros((clips, rows.shape[1]))
    np.add.at(total, clip_of, rows)
    mean: Matrix = total / np.bincount(clip_of, minlength=clips)[:, None]
    return mean
