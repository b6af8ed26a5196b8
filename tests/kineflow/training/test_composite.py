"""Frame networks are put together from streams that fit, and from parents that fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from kineflow.models.bundle import load_bundle, save_bundle, weights_digest
from kineflow.models.card import ModelCard, splits_learnt
from kineflow.models.registry import create_backbone
from kineflow.sets.feature_set import FeatureSet, FeatureSource, Tap
from kineflow.spec.flow_source import FlowSource
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError
from kineflow.training.composite import Parents, composite_input, network_over, start_from
from kineflow.training.recurrent_settings import RecurrentSettings
from kineflow.training.streams import Stream

pytestmark = pytest.mark.slow

CLASSES = ("x", "y", "z")
FLOW = FlowSource(bound_px=5.0)
SMALL = {"hidden": 4, "head_width": 8}


def seen(modality: str = "rgb", **changes: object) -> Preprocessing:
    channels = 2 if modality == "flow" else 3
    mean = tuple(float(number + 1) for number in range(channels))
    plain = Preprocessing(modality, 1, 1, short_side=20, crop=16, mean=mean, std=(50.0,) * channels)
    return dataclasses.replace(plain, **changes)


def stream(modality: str = "rgb", tap: Tap = "map", *, side: int = 2, width: float = 0.125, **changes) -> Stream:
    torch.manual_seed(len(modality))
    source = FeatureSource(modality * 9, modality, tap, seen(modality, **changes), FLOW if modality == "flow" else None)
    network = create_backbone("googlenet", in_channels=2 if modality == "flow" else 3, width=width, output_stride=8)
    hyperparameters = {"backbone": "googlenet", "width": width, "output_stride": 8, "snippet_frames": 1, "dropout": 0.5}
    card = ModelCard(modality, "tsn", hyperparameters, (), source.preprocessing, {"initialised": f"from {modality}"})
    shape = (network.num_features, side, side) if tap == "map" else (network.num_features,)
    return Stream(FeatureSet(source, shape, {}, ""), network, card)


def settings(name: str, *, frames: int = 5, **network: object) -> RecurrentSettings:
    return RecurrentSettings(network={"name": name, **network}, frames=frames, stride_frames=2)


def build(streams: list[Stream], wanted: RecurrentSettings, *, seed: int = 0):
    return network_over(streams, wanted, CLASSES, name="made", seed=seed)


@pytest.mark.parametrize(
    ("name", "taps", "own"),
    [
        ("alstm", ["map"], {**SMALL, "layers": 2}),
        ("cube_regression", ["map"], {}),
        ("vgg_lstm", ["vector"], SMALL),
        ("vgg_alstm", ["map"], SMALL),
        ("conv_lstm", ["map"], SMALL),
        ("conv_alstm", ["map"], {**SMALL, "rescale": True}),
        ("motion_alstm", ["map", "vector"], SMALL),
        ("videolstm", ["map", "map"], {**SMALL, "bottom_kernel": 3}),
    ],
)
def test_each_network_becomes_a_bundle(name: str, taps: list[Tap], own: dict[str, object], tmp_path: Path) -> None:
    streams = [stream(modality, tap) for modality, tap in zip(("rgb", "flow"), taps, strict=False)]
    network, card = build(streams, settings(name, **own))
    save_bundle(tmp_path / "model", network.eval(), card)
    loaded, read = load_bundle(tmp_path / "model")
    assert read == card
    clips = torch.rand(2, len(card.preprocessing.mean), 5, 16, 16)
    with torch.no_grad():
        scores = loaded(clips)
        assert scores.shape == (2, 3)
        assert torch.equal(scores, network(clips))
        # The backbones are those of the streams, and not fresh ones.
        features = network.frame_features(clips)[0]
        frame = clips[:1, : len(streams[0].features.source.preprocessing.mean), 0]
        own_map = streams[0].network.eval().forward_features(frame)
        expected = own_map if taps[0] == "map" else streams[0].network.forward_head(own_map, pre_logits=True)
    torch.testing.assert_close(features[0, 0], expected[0])
    assert card.flow == (FLOW if len(taps) == 2 else None)
    lineage = {"backbone": "rgb" * 9, "initialised": "from rgb"}
    if len(taps) == 2:
        lineage = {f"appearance_{key}": value for key, value in lineage.items()}
        lineage |= {"motion_backbone": "flow" * 9, "motion_initialised": "from flow"}
    assert card.lineage == lineage


def test_a_flow_network_knows_how_its_flow_was_made() -> None:
    _, card = build([stream("flow")], settings("conv_lstm", **SMALL))
    assert (card.flow, card.preprocessing.modality) == (FLOW, "flow")


def test_weights_follow_from_the_seed() -> None:
    first, again, other = (build([stream()], settings("alstm", **SMALL), seed=seed)[0] for seed in (0, 0, 1))
    weights = [torch.cat([p.flatten() for p in network.sequence.parameters()]) for network in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_clips_of_one_stream() -> None:
    made = composite_input([seen(fit="squash", channel_order="bgr")], settings("alstm"))
    assert made == seen(frames=5, stride_frames=2, fit="squash", channel_order="bgr")


def test_the_clips_of_frames_and_flow() -> None:
    made = composite_input([seen(channel_order="bgr"), seen("flow")], settings("videolstm"))
    assert (made.modality, made.flow_frames, made.frames, made.stride_frames) == ("rgb_flow", 1, 5, 2)
    assert made.mean == (1.0, 2.0, 3.0, 1.0, 2.0)
    assert made.channel_order == "bgr"


@pytest.mark.parametrize(
    ("streams", "name", "message"),
    [
        ([stream(), stream("flow")], "alstm", "alstm reads features of 1 backbones, and was given those of 2"),
        ([stream()], "videolstm", "reads features of 2"),
        ([stream(tap="vector")], "alstm", "alstm reads a map .* one vector"),
        ([stream()], "vgg_lstm", "vgg_lstm reads a vector"),
        ([stream("flow"), stream()], "videolstm", "features of flow and rgb"),
        ([stream(), stream("flow", crop=12)], "videolstm", "crop is 16 for the frames and 12"),
        ([stream(), stream("flow", fit="squash")], "videolstm", "fit is crop"),
        ([stream(), stream("flow", width=0.25)], "videolstm", "two kinds"),
    ],
)
def test_streams_that_do_not_fit(streams: list[Stream], name: str, message: str) -> None:
    with pytest.raises(KineflowError, match=message):
        build(streams, settings(name))


def test_maps_that_are_not_square() -> None:
    wide = stream()
    wide = dataclasses.replace(wide, features=dataclasses.replace(wide.features, shape=(128, 2, 3)))
    with pytest.raises(KineflowError, match="2x3"):
        build([wide], settings("conv_lstm"))


@pytest.fixture
def parents(tmp_path: Path) -> Parents:
    for role, modality, name in (("appearance", "rgb", "conv_alstm"), ("motion", "flow", "conv_lstm")):
        network, card = build([stream(modality)], settings(name, **SMALL), seed=7)
        save_bundle(tmp_path / role, network, card)
    return Parents(tmp_path / "appearance", tmp_path / "motion")


@pytest.fixture
def wanted() -> RecurrentSettings:
    return settings("videolstm", bottom_kernel=3, **SMALL)


def test_what_parents_and_streams_have_learnt_is_known(parents: Parents, wanted: RecurrentSettings) -> None:
    network, card = load_bundle(parents.motion)
    save_bundle(parents.motion, network, dataclasses.replace(card, lineage={**card.lineage, "fitted_on": "train, val"}))
    assert splits_learnt(start_from(parents, *build([stream(), stream("flow")], wanted)).lineage) == ("train", "val")
    moving = stream("flow")
    moving = dataclasses.replace(moving, card=dataclasses.replace(moving.card, lineage={"fitted_on": "val"}))
    assert splits_learnt(build([stream(), moving], wanted)[1].lineage) == ("val",)


def test_a_warm_start(parents: Parents, wanted: RecurrentSettings) -> None:
    network, card = build([stream(), stream("flow")], wanted)
    card = start_from(parents, network, card)
    top, bottom = (load_bundle(folder)[0].sequence for folder in (parents.appearance, parents.motion))
    assert torch.equal(network.sequence.top.input.weight, top.cell.input.weight)
    assert torch.equal(network.sequence.bottom.input.weight, bottom.cell.input.weight)
    assert torch.equal(network.sequence.head.classifier.weight, top.head.classifier.weight)
    assert card.lineage["appearance_parent"] == weights_digest(parents.appearance)
    assert card.lineage["motion_parent"] == weights_digest(parents.motion)


def test_parents_of_another_kind(parents: Parents, wanted: RecurrentSettings) -> None:
    swapped = Parents(parents.motion, parents.appearance)
    network, card = build([stream("rgb"), stream("flow")], wanted)
    with pytest.raises(KineflowError, match="another backbone"):
        start_from(swapped, network, card)
    twice, other = build([stream("flow")], settings("conv_alstm", **SMALL))
    save_bundle(parents.motion, twice, other)
    with pytest.raises(KineflowError, match="ConvALSTM on frames and ConvALSTM on flow"):
        start_from(parents, network, card)
    single, card = build([stream()], settings("conv_alstm", **SMALL))
    with pytest.raises(KineflowError, match="conv_alstm starts from no parents"):
        start_from(parents, single, card)


def test_parents_with_other_backbones(parents: Parents, wanted: RecurrentSettings) -> None:
    network, card = build([stream(), stream("flow")], wanted)
    with torch.no_grad():
        next(network.motion.parameters()).add_(1.0)
    with pytest.raises(KineflowError, match="features of another backbone"):
        start_from(parents, network, card)


def test_parents_with_other_classes(parents: Parents, wanted: RecurrentSettings) -> None:
    network, card = build([stream(), stream("flow")], wanted)
    with pytest.raises(KineflowError, match="other classes"):
        start_from(parents, network, dataclasses.replace(card, classes=("x", "y", "w")))


def test_parents_that_are_no_recurrent_networks(
    parents: Parents, wanted: RecurrentSettings, tiny_initial: dict[str, Path]
) -> None:
    network, card = build([stream(), stream("flow")], wanted)
    with pytest.raises(KineflowError, match="frames of one stream"):
        start_from(dataclasses.replace(parents, motion=tiny_initial["flow"]), network, card)
