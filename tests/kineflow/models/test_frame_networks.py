from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kineflow.models.alstm import ALSTM, CubeRegression
from kineflow.models.bundle import load_bundle, save_bundle
from kineflow.models.card import ModelCard
from kineflow.models.frame_networks import FrameNetwork, head_of, tap_of
from kineflow.models.network import ImageNetwork
from kineflow.models.recurrent import SequenceNetwork
from kineflow.models.registry import create_backbone, create_model, hyperparameters_of, list_backbones, list_models
from kineflow.models.videolstm import (
    AdditiveALSTM,
    ConvALSTM,
    ConvLSTM,
    MotionALSTM,
    VectorLSTM,
    VideoLSTM,
    warm_start,
)
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError

K, B, T, SIDE = 4, 2, 5, 64
WIDTH = 0.125
# Of networks in float64: batches of other sizes are summed in other orders, which in float32 shows from the fifth digit
# on, on some CPUs more than on others.
SAME_SUMS = {"rtol": 0.0, "atol": 1e-9}
SEQUENCES: dict[str, type[SequenceNetwork]] = {
    "alstm": ALSTM,
    "conv_alstm": ConvALSTM,
    "conv_lstm": ConvLSTM,
    "cube_regression": CubeRegression,
    "motion_alstm": MotionALSTM,
    "vgg_alstm": AdditiveALSTM,
    "vgg_lstm": VectorLSTM,
    "videolstm": VideoLSTM,
}
TWO_INPUTS = ("motion_alstm", "videolstm")
SMALL = {"hidden": 8, "head_width": 6, "cells": 4, "grid": 2}  # the map of 64 px is 2×2

every_network = pytest.mark.parametrize("name", SEQUENCES)


def small(name: str, **hyper: Any) -> dict[str, Any]:
    own = {keyword: value for keyword, value in SMALL.items() if keyword in hyperparameters_of(name)}
    return {"num_classes": K, "in_channels": 5 if name in TWO_INPUTS else 3, "width": WIDTH} | own | hyper


def build(name: str, *, seed: int = 0, **hyper: Any) -> FrameNetwork:
    torch.manual_seed(seed)
    network = create_model(name, **small(name, **hyper))
    assert isinstance(network, FrameNetwork)
    return network.eval()


def at_full_size(name: str, **hyper: Any) -> FrameNetwork:
    with torch.device("meta"):
        network = create_model(name, **{"num_classes": 101, "in_channels": 5 if name in TWO_INPUTS else 3} | hyper)
    assert isinstance(network, FrameNetwork)
    return network.eval()


def clips(name: str, *, steps: int = T) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(B, 5 if name in TWO_INPUTS else 3, steps, SIDE, SIDE, generator=generator)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def image_network(backbone: str = "vgg16", *, num_classes: int = 7, seed: int = 9, **hyper: Any) -> ImageNetwork:
    torch.manual_seed(seed)
    return create_backbone(backbone, num_classes=num_classes, **{"width": WIDTH} | hyper)


# What it computes


@pytest.mark.slow
@every_network
def test_features_computed_beforehand_give_the_very_scores(name: str) -> None:
    network, x = build(name), clips(name)
    with torch.no_grad():
        features = network.frame_features(x)
        assert torch.equal(network.sequence(*features), network(x))
        assert torch.equal(network.forward_head(network.forward_features(x)), network(x))
        assert all(part.is_contiguous() for part in features)  # as they are when they come back from a file


@pytest.mark.slow
@every_network
def test_no_frame_sees_another(name: str) -> None:
    network, x = build(name).double(), clips(name).double()
    together = network.frame_features(x)
    for clip in range(B):
        for step in range(T):
            alone = network.frame_features(x[clip : clip + 1, :, step : step + 1])
            for batched, single in zip(together, alone, strict=True):
                torch.testing.assert_close(batched[clip, step], single[0, 0], **SAME_SUMS)


@every_network
def test_features_are_the_taps_of_the_image_networks(name: str) -> None:
    network, x = build(name).double(), clips(name).double()
    parts = x.split([3, 2], dim=1) if name in TWO_INPUTS else [x]
    features = network.frame_features(x)
    taps = tap_of(name)
    assert len(features) == len(taps) == len(network.sequence.inputs)
    streams = network.streams.values()
    for found, tap, stream, part in zip(features, taps, streams, parts, strict=True):
        expected = stream.forward_features(part[:, :, -1])
        if tap == "vector":
            expected = stream.forward_head(expected, pre_logits=True)
        assert expected.ndim == {"map": 4, "vector": 2}[tap]
        torch.testing.assert_close(found[:, -1], expected, **SAME_SUMS)
    assert [part.shape[2] for part in features] == list(network.sequence.inputs.values())


@every_network
def test_the_frames_of_all_clips_are_one_batch(name: str) -> None:
    network = build(name)
    seen: list[Tensor] = []
    for stream in network.streams.values():
        stream.stem.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    network(clips(name))
    assert [tuple(x.shape) for x in seen] == [
        (B * T, channels, SIDE, SIDE) for channels in ((3, 2) if name in TWO_INPUTS else (3,))
    ]


@every_network
def test_attention_is_that_of_the_sequence_network(name: str) -> None:
    network, x = build(name), clips(name)
    attention = network.attention(x)
    if name in ("conv_lstm", "cube_regression", "vgg_lstm"):
        assert attention is None
        return
    assert attention is not None
    assert attention.shape == (B, T, 2, 2)
    torch.testing.assert_close(attention.sum(dim=(2, 3)), torch.ones(B, T))
    expected = network.sequence.forward_steps(*network.frame_features(x)).attention
    assert expected is not None
    assert torch.equal(attention, expected)


def test_pooled_baselines_have_no_attention() -> None:
    assert build("alstm", attention="average").attention(clips("alstm")) is None


def test_the_last_steps_decide_when_only_they_are_scored() -> None:
    every_step, last = (build("alstm", scored_steps=steps) for steps in (0, 2))
    x = clips("alstm")
    logits = every_step.sequence.forward_steps(*every_step.frame_features(x)).logits
    torch.testing.assert_close(last(x).softmax(dim=1), logits[:, -2:].softmax(dim=2).mean(dim=1))
    torch.testing.assert_close(every_step(x).softmax(dim=1), logits.softmax(dim=2).mean(dim=1))


# What it learns


@every_network
def test_image_networks_stay_as_they_are(name: str) -> None:
    network = build(name, backbone="googlenet").train()
    assert network.training
    assert network.sequence.training
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1.0, weight_decay=0.1)
    nn.functional.cross_entropy(network(clips(name)), torch.tensor([0, 1])).backward()
    optimiser.step()
    changed = {key for key, value in network.state_dict().items() if not torch.equal(before[key], value)}
    assert changed
    assert all(key.startswith("sequence.") for key in changed)
    for stream in network.streams.values():
        assert not any(layer.training for layer in stream.modules())
        assert not any(p.requires_grad or p.grad is not None for p in stream.parameters())
    network.eval()
    assert not any(layer.training for layer in network.modules())


@every_network
def test_features_carry_no_gradient(name: str) -> None:
    features = build(name).train().frame_features(clips(name).requires_grad_())
    assert not any(part.requires_grad for part in features)


@pytest.mark.parametrize("backbone", list_backbones())
def test_image_networks_are_taken_over_frozen_and_without_their_classifiers(backbone: str) -> None:
    trained = image_network(backbone).train()
    network = FrameNetwork(VectorLSTM(num_classes=K, in_channels=trained.head_hidden_size), appearance=trained)
    assert network.training
    assert not any(layer.training for layer in trained.modules())
    assert not any(parameter.requires_grad for parameter in trained.parameters())
    assert trained.num_classes == 0
    assert not [key for key in trained.state_dict() if key.startswith(f"{trained.classifier_name}.")]
    x = clips("vgg_lstm")
    assert torch.equal(network.frame_features(x)[0], network.frame_features(x)[0])  # no dropout


# Trained image networks


@every_network
def test_trained_image_networks_are_adopted(name: str) -> None:
    network = build(name, backbone="vgg16")
    before = {key: value.clone() for key, value in network.sequence.state_dict().items()}
    given = {"appearance": image_network()}
    if name in TWO_INPUTS:
        given["motion"] = image_network(in_channels=2, seed=8)
    network.adopt(**given)
    x = clips(name)
    for stream, trained in given.items():
        trained.eval()
        own = network.get_submodule(stream).state_dict()
        assert own
        assert all(torch.equal(value, trained.state_dict()[key]) for key, value in own.items())
    frames = x[:, :3, 0]
    expected = given["appearance"].forward_features(frames)
    if name == "vgg_lstm":
        expected = given["appearance"].forward_head(expected, pre_logits=True)
    # In float32 a batch of another size may be summed otherwise; another network's features differ by 1 and more.
    torch.testing.assert_close(network.frame_features(x)[0][:, 0], expected, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(before[key], value) for key, value in network.sequence.state_dict().items())
    with torch.no_grad():
        for trained in given.values():
            trained.stem.weight.zero_()
    assert network.stem.weight.any()  # a copy, which the other cannot change


def test_what_one_network_has_adopted_serves_another() -> None:
    flow, appearance, network = (
        build("conv_lstm", in_channels=2, kernel=1, seed=1),
        build("conv_alstm", seed=2),
        build("videolstm", seed=3),
    )
    network.adopt(appearance=appearance.appearance, motion=flow.appearance)
    assert isinstance(network.sequence, VideoLSTM)
    assert isinstance(flow.sequence, ConvLSTM)
    assert isinstance(appearance.sequence, ConvALSTM)
    warm_start(network.sequence, flow=flow.sequence, appearance=appearance.sequence)
    x = clips("videolstm")
    found = network.frame_features(x)
    assert torch.equal(found[0], appearance.frame_features(x[:, :3])[0])
    assert torch.equal(found[1], flow.frame_features(x[:, 3:])[0])


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("conv_lstm", {"appearance": {"width": 0.25}}, r"of another shape(.|\n)*same backbone, width"),
        ("conv_lstm", {"appearance": {"in_channels": 2}}, r"features\.0\.weight \[8, 2, 3, 3\]"),
        ("conv_lstm", {"appearance": {"backbone": "resnet50"}}, "missing"),
        ("conv_lstm", {"appearance": {}, "motion": {}}, "appearance and motion, and the network has appearance"),
        ("videolstm", {"appearance": {}}, "weights for appearance, and the network has appearance and motion"),
        ("videolstm", {"appearance": {}, "motion": {}}, r"motion backbone(.|\n)*instead of \[8, 2, 3, 3\]"),
        ("motion_alstm", {"appearance": {}, "motion": {"width": 0.25, "in_channels": 2}}, r"classifier\.0\."),
    ],
)
def test_image_networks_that_do_not_fit_are_refused(name: str, given: dict[str, Any], message: str) -> None:
    network = build(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(KineflowError, match=message):
        network.adopt(**{stream: image_network(**hyper) for stream, hyper in given.items()})
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_a_vector_of_a_network_without_its_layers_is_missed() -> None:
    with pytest.raises(KineflowError, match=r"missing(.|\n)*classifier\.0\.weight"):
        build("vgg_lstm").adopt(appearance=build("conv_lstm").appearance)


@pytest.mark.parametrize("backbone", list_backbones())
def test_of_a_head_only_what_is_read_is_kept(backbone: str) -> None:
    original = image_network(backbone)
    head = head_of(original)
    kept = create_model("conv_lstm", **small("conv_lstm", backbone=backbone)).state_dict()
    expected = {f"appearance.{key}" for key in original.state_dict() if not key.startswith(f"{head}.")}
    assert {key for key in kept if key.startswith("appearance.")} == expected
    kept = create_model("vgg_lstm", **small("vgg_lstm", backbone=backbone)).state_dict()
    scores = f"{original.classifier_name}."
    expected = {f"appearance.{key}" for key in original.state_dict() if not key.startswith(scores)}
    assert {key for key in kept if key.startswith("appearance.")} == expected


# By name


def test_the_networks_are_registered() -> None:
    assert set(SEQUENCES) <= set(list_models())


@every_network
def test_keywords_are_those_of_both_halves_with_the_sequence_network_s_defaults(name: str) -> None:
    own = inspect.signature(SEQUENCES[name]).parameters
    follow = {"num_classes", "in_channels", "motion_channels"}
    assert hyperparameters_of(name) == sorted({"backbone", "width", "output_stride"} | own.keys() - follow)
    builder = getattr(import_module(SEQUENCES[name].__module__), name)
    for keyword, parameter in inspect.signature(builder).parameters.items():
        if keyword != "num_classes":  # which has no default
            assert isinstance(parameter.default, str | int | float | bool), keyword  # as a model card stores it
        if keyword in own.keys() - follow:
            assert parameter.default == own[keyword].default


@every_network
def test_taps_are_known_without_a_network(name: str) -> None:
    expected = {"vgg_lstm": ("vector",), "motion_alstm": ("map", "vector"), "videolstm": ("map", "map")}
    assert tap_of(name) == expected.get(name, ("map",))


def test_other_networks_have_no_taps() -> None:
    with pytest.raises(KineflowError, match=r"'tsn' is no frame network(.|\n)*alstm, conv_alstm"):
        tap_of("tsn")


@pytest.mark.slow
@every_network
def test_a_bundle_brings_it_back(name: str, tmp_path: Path) -> None:
    network = build(name, backbone="resnet50")
    hyper = small(name, backbone="resnet50")
    channels = hyper.pop("in_channels")
    classes = hyper.pop("num_classes")
    modality = "rgb_flow" if name in TWO_INPUTS else "rgb"
    preprocessing = Preprocessing(modality, T, 1, SIDE, SIDE, mean=(110.0,) * channels, std=(58.0,) * channels)
    card = ModelCard(name, name, hyper, tuple(f"class {k}" for k in range(classes)), preprocessing)
    save_bundle(tmp_path / "model", network, card)
    again, found = load_bundle(tmp_path / "model")
    assert found == card
    assert isinstance(again, FrameNetwork)
    with torch.no_grad():
        assert torch.equal(again(clips(name)), network(clips(name)))
    assert not any(p.requires_grad for stream in again.streams.values() for p in stream.parameters())


@pytest.mark.parametrize("name", TWO_INPUTS)
def test_two_inputs_need_channels_for_both(name: str) -> None:
    with pytest.raises(KineflowError, match=r"3 channels are no frame and its flow(.|\n)*in_channels 5"):
        build(name, in_channels=3)


@pytest.mark.parametrize(("name", "message"), [("alstm", "cells"), ("conv_lstm", "grid"), ("cube_regression", "cells")])
def test_frames_of_another_size_than_it_was_built_for_are_named(name: str, message: str) -> None:
    with pytest.raises(KineflowError, match=message):
        build(name)(torch.zeros(1, 3, 2, 3 * SIDE, SIDE))


def test_a_pooled_state_takes_frames_of_any_size() -> None:
    assert build("conv_alstm", pool=True)(torch.zeros(1, 3, 2, 3 * SIDE, SIDE)).shape == (1, K)


# Paper scale


def test_parameters_of_alstm() -> None:
    released = at_full_size("alstm", num_classes=11, layers=1, attention="additive")
    hmdb51 = {"layers": 1, "attention": "additive", "attention_layers": 3, "hidden": 1024, "head_width": 1024}
    assert parameters(released.sequence) == 6_040_588
    assert parameters(at_full_size("alstm", num_classes=51, **hmdb51).sequence) == 15_792_180
    assert parameters(released.appearance) == 6_624_904 - 1_025_000  # GoogLeNet without its classifier


def test_parameters_of_videolstm() -> None:
    assert parameters(at_full_size("conv_lstm").sequence.get_submodule("cell")) == 18_876_416
    sequence = at_full_size("conv_alstm").sequence
    assert parameters(sequence.get_submodule("cell")) + parameters(sequence.get_submodule("attention")) == 19_401_729
    assert parameters(sequence) == 49_916_006
    assert parameters(at_full_size("videolstm").sequence) == 49_916_006 + 3_147_776 + 525_312


def test_of_vgg_16_only_the_vectors_need_the_fully_connected_layers() -> None:
    maps, fc7 = 14_714_688, 134_260_544
    assert parameters(at_full_size("conv_lstm").appearance) == maps
    assert parameters(at_full_size("vgg_lstm").appearance) == fc7
    both = at_full_size("motion_alstm")
    assert isinstance(both.motion, ImageNetwork)
    one_input_less = 64 * 9  # two channels of flow instead of three of colour
    assert [parameters(both.appearance), parameters(both.motion)] == [maps, fc7 - one_input_less]


@pytest.mark.parametrize(
    ("name", "features", "attention"),
    [
        ("alstm", [(1024, 7, 7)], True),
        ("cube_regression", [(1024, 7, 7)], False),
        ("vgg_lstm", [(4096,)], False),
        ("conv_alstm", [(512, 7, 7)], True),
        ("motion_alstm", [(512, 7, 7), (4096,)], True),
        ("videolstm", [(512, 7, 7), (512, 7, 7)], True),
    ],
)
def test_shapes_at_full_size(name: str, features: list[tuple[int, ...]], attention: bool) -> None:
    network = at_full_size(name)
    x = torch.empty(1, 5 if name in TWO_INPUTS else 3, 3, 224, 224, device="meta")
    found = network.frame_features(x)
    assert [tuple(part.shape) for part in found] == [(1, 3, *shape) for shape in features]
    logits, weights = network.sequence.forward_steps(*found)
    assert logits.shape == (1, 3, 101)
    assert (None if weights is None else tuple(weights.shape)) == ((1, 3, 7, 7) if attention else None)
