"""The network is held to its equations, written down once more, frame by frame, in :func:`by_the_equations`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from kineflow.models.cross_modality import initialise_across_modality
from kineflow.models.resnet import Bottleneck, ResNet50, resnet50
from kineflow.models.st_resnet import (
    StreamScores,
    STResNet,
    TemporalBottleneck,
    inflate,
    st_resnet,
    warm_start,
    warm_start_star,
)
from kineflow.storage.errors import KineflowError

CLASSES = 5
UNITS = (3, 4, 6, 3)
STREAMS = ("appearance", "motion")
SUMMING = ("average", "centre", "difference")

Fill = Callable[[nn.Module], None]


def narrow(*, seed: int = 0, **hyper: Any) -> STResNet:
    torch.manual_seed(seed)
    return st_resnet(**{"num_classes": CLASSES, "width": 0.125, "in_channels": 7, **hyper}).eval()


def trained_streams(fill: Fill, *, channels: int = 7, **hyper: Any) -> dict[str, ResNet50]:
    """Two ResNet-50 with responses of moderate size, and statistics other than 0 and 1."""
    streams = {}
    for name, seen in (("appearance", 3), ("motion", channels - 3)):
        streams[name] = resnet50(**{"num_classes": CLASSES, "width": 0.125, "in_channels": seen, **hyper}).eval()
        fill(streams[name])
    return streams


def started(fill: Fill, *, dtype: torch.dtype = torch.float32, **hyper: Any) -> STResNet:
    network = narrow(**hyper).to(dtype)
    warm_start(network, **{name: stream.to(dtype) for name, stream in trained_streams(fill).items()})
    return network


def clips(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_the_equations(
    network: STResNet, clip: Tensor, *, mistake: str = "", direction: str = "", injection: str = ""
) -> tuple[Tensor, Tensor]:
    """Both streams' last maps, [T,F,h,w], of one clip [3+M,T,H,W], by eq. 1 to 5 and tables alone."""
    state = network.state_dict()
    direction, injection = direction or network.direction, injection or network.injection

    def conv(x: Tensor, key: str, stride: int = 1) -> Tensor:
        weight = state[f"{key}.weight"]
        if weight.shape[2:] != (3, 1):
            return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        taps = weight[..., None].unbind(2)
        return torch.stack(
            [
                torch.stack(
                    [F.conv2d(x[t + k - 1][None], taps[k])[0] for k in range(3) if 0 <= t + k - 1 < len(x)]
                ).sum(dim=0)
                for t in range(len(x))
            ]
        )

    def norm(x: Tensor, key: str) -> Tensor:
        mean, var, scale, offset = (
            state[f"{key}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        y: Tensor = (x - mean) / (var + 1e-5).sqrt() * scale + offset
        return y

    def residual(x: Tensor, unit: str, stride: int) -> Tensor:
        x = norm(conv(x, f"{unit}.conv1"), f"{unit}.bn1").clamp(min=0)
        x = norm(conv(x, f"{unit}.conv2", stride), f"{unit}.bn2").clamp(min=0)
        return norm(conv(x, f"{unit}.conv3"), f"{unit}.bn3")

    def shortcut(x: Tensor, unit: str, stride: int) -> Tensor:
        if f"{unit}.downsample.0.weight" not in state:
            return x
        return norm(conv(x, f"{unit}.downsample.0", stride), f"{unit}.downsample.1")

    def joined(own: Tensor, other: Tensor) -> Tensor:
        return own + other if injection == "add" else own * other

    frames = clip.transpose(0, 1)
    x = {"appearance": frames[:, :3], "motion": frames[:, 3:]}
    for name in STREAMS:
        x[name] = norm(conv(x[name], f"{name}.conv1", 2), f"{name}.bn1").clamp(min=0)
        x[name] = F.max_pool2d(x[name], 3, stride=2, padding=1)
    for stage, units in enumerate(UNITS, start=1):
        stride = 1 if stage == 1 else 2
        before = {}
        for name in STREAMS:
            unit = f"{name}.layer{stage}.0"
            before[name] = shortcut(x[name], unit, stride) + residual(x[name], unit, stride)
        after = {name: before[name].clamp(min=0) for name in STREAMS}
        sees, carries = dict(after), dict(after)
        for into, source in (STREAMS, STREAMS[::-1]):
            if direction in (f"{source}_to_{into}", "both"):
                own = after[into] if mistake == "after the ReLU" else before[into]
                other = before[source] if mistake == "before the motion's ReLU" else after[source]
                sees[into] = joined(own, other)
                if mistake == "in the shortcut":
                    carries[into] = joined(after[into], after[source])
                if mistake == "shortcut before the ReLU":
                    carries[into] = before[into]
        for name in STREAMS:
            x[name] = (carries[name] + residual(sees[name], f"{name}.layer{stage}.1", 1)).clamp(min=0)
            for number in range(2, units):
                unit = f"{name}.layer{stage}.{number}"
                x[name] = (x[name] + residual(x[name], unit, 1)).clamp(min=0)
    return x["appearance"], x["motion"]


def last_maps(network: STResNet, clip: Tensor) -> tuple[Tensor, Tensor]:
    """Both streams' last maps of one clip, [T,F,h,w] each, as the network has them."""
    with torch.no_grad():
        appearance, motion = network.forward_features(clip[None])[0].transpose(0, 1).chunk(2, dim=1)
    return appearance, motion


# Size and shape


def test_parameters_are_the_published_count() -> None:
    with torch.device("meta"):
        network = st_resnet(num_classes=101)
        plain = resnet50(num_classes=0)
    assert sum(parameter.numel() for parameter in network.parameters()) == 58_624_394
    in_stream = sum(parameter.numel() for parameter in network.appearance.parameters())
    assert in_stream - sum(parameter.numel() for parameter in plain.parameters()) == 5_570_560


def test_the_first_three_channels_are_the_frame_and_the_others_its_flow() -> None:
    with torch.device("meta"):
        network = st_resnet(num_classes=0)
    assert (network.appearance.stem.in_channels, network.motion.stem.in_channels) == (3, 20)
    small = narrow(direction="none")
    clip = clips(7, 3, 32, 32)
    appearance, motion = last_maps(small, clip)
    moved_appearance, moved_motion = last_maps(small, torch.cat((clip[:3], clips(4, 3, 32, 32, seed=2))))
    assert torch.equal(appearance, moved_appearance)
    assert not torch.allclose(motion, moved_motion)


@pytest.mark.slow
def test_shapes_at_paper_scale_are_those_of_the_table() -> None:
    seen: dict[str, tuple[int, ...]] = {}

    def watch(name: str, layer: nn.Module) -> None:
        layer.register_forward_hook(lambda _layer, _inputs, output: seen.update({name: tuple(output.shape)}))

    with torch.device("meta"):
        network = st_resnet(num_classes=101).eval()
        for stream in STREAMS:
            for name in ("conv1", "maxpool", "layer1.2", "layer2.3", "layer3.5", "layer4.2"):
                watch(f"{stream} {name}", network.get_submodule(f"{stream}.{name}"))
        x = torch.empty(2, 23, 5, 224, 224)
        features = network.forward_features(x)
        scores = network.forward_streams(x)
        prediction = network(x)
    for stream in STREAMS:
        assert [shape for name, shape in seen.items() if name.startswith(stream)] == [
            (2 * 5, 64, 112, 112),
            (2 * 5, 64, 56, 56),
            (2 * 5, 256, 56, 56),
            (2 * 5, 512, 28, 28),
            (2 * 5, 1024, 14, 14),
            (2 * 5, 2048, 7, 7),
        ]
    assert features.shape == (2, 2 * 2048, 5, 7, 7)
    assert network.num_features == 2 * 2048
    assert (scores.appearance.shape, scores.motion.shape) == ((2, 5, 101), (2, 5, 101))
    assert prediction.shape == (2, 101)


@pytest.mark.parametrize(("steps", "expected"), [(11, 4), (25, 11)])
def test_the_star_at_paper_scale_answers_at_fewer_steps(steps: int, expected: int) -> None:
    """Whole frames of 256 px on the shorter side, as at test."""
    with torch.device("meta"):
        network = st_resnet(num_classes=101, temporal_pool=True).eval()
        features = network.forward_features(torch.empty(1, 23, steps, 256, 340))
        scores = network.score_streams(features)
    assert features.shape == (1, 4096, expected, 8, 11)
    assert scores.motion.shape == (1, expected, 101)


@pytest.mark.parametrize("stream", STREAMS)
def test_temporal_convolutions_stand_in_the_second_unit_of_each_stage(stream: str) -> None:
    layers = narrow().get_submodule(stream)
    kernels = {name: weight.shape[2:] for name, weight in layers.state_dict().items() if weight.ndim > 1}
    assert [name for name, kernel in kernels.items() if kernel not in [(1, 1), (3, 3), (7, 7)]] == [
        f"layer{stage}.1.conv{number}.weight" for stage in (1, 2, 3, 4) for number in (1, 3)
    ]
    assert {kernel for name, kernel in kernels.items() if ".1.conv1" in name or ".1.conv3" in name} == {(3, 1)}


def test_weights_are_called_as_in_resnet50() -> None:
    network = narrow()
    plain = resnet50(num_classes=0, width=0.125).state_dict()
    for stream in STREAMS:
        assert set(network.get_submodule(stream).state_dict()) == set(plain)
    heads = {name for name in network.state_dict() if not name.startswith(tuple(f"{stream}." for stream in STREAMS))}
    assert heads == {f"classifier.{stream}.{part}" for stream in STREAMS for part in ("weight", "bias")}


# Motion residuals


@pytest.mark.slow
@pytest.mark.parametrize("injection", ["add", "multiply"])
@pytest.mark.parametrize("direction", ["motion_to_appearance", "appearance_to_motion", "both", "none"])
def test_the_network_follows_its_equations(filled: Fill, injection: Any, direction: Any) -> None:
    network = narrow(injection=injection, direction=direction, temporal_init="random")
    filled(network)
    clip = clips(7, 4, 40, 33)
    for found, expected in zip(last_maps(network, clip), by_the_equations(network, clip), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("injection", ["add", "multiply"])
@pytest.mark.parametrize(
    "mistake", ["in the shortcut", "after the ReLU", "before the motion's ReLU", "shortcut before the ReLU"]
)
def test_the_common_mistakes_give_something_else(filled: Fill, injection: Any, mistake: str) -> None:
    network = narrow(injection=injection)
    filled(network)
    clip = clips(7, 3, 32, 32)
    appearance, motion = last_maps(network, clip)
    wrong_appearance, wrong_motion = by_the_equations(network, clip, mistake=mistake)
    assert (appearance - wrong_appearance).abs().max() > 0.01 * appearance.abs().max()
    torch.testing.assert_close(motion, wrong_motion, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_each_direction_changes_its_own_stream(filled: Fill) -> None:
    clip = clips(7, 3, 32, 32)
    maps: dict[str, tuple[Tensor, Tensor]] = {}
    directions: tuple[Any, ...] = ("none", "motion_to_appearance", "appearance_to_motion", "both")
    for direction in directions:
        maps[direction] = last_maps(started(filled, direction=direction), clip)

    def differ(direction: str) -> list[bool]:
        pairs = zip(maps[direction], maps["none"], strict=True)
        return [not torch.allclose(found, alone, rtol=1e-3, atol=1e-3) for found, alone in pairs]

    assert differ("motion_to_appearance") == [True, False]
    assert differ("appearance_to_motion") == [False, True]
    assert differ("both") == [True, True]


def reached(network: STResNet, scores: Tensor, stream: str) -> set[str]:
    """Top-level layers and units of ``stream`` that learn from ``scores``."""
    network.zero_grad()
    (scores * clips(*scores.shape, seed=3)).sum().backward(retain_graph=True)
    return {
        ".".join(name.split(".")[: 2 if name.startswith("layer") else 1])
        for name, parameter in network.get_submodule(stream).named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }


@pytest.mark.parametrize("injection", ["add", "multiply"])
def test_gradients_flow_through_the_injection_into_the_motion_stream(injection: Any) -> None:
    network = narrow(injection=injection)
    x = clips(2, 7, 3, 32, 32)
    units = {f"layer{stage}.{unit}" for stage, count in enumerate(UNITS, start=1) for unit in range(count)}
    # What comes after the last injection, the motion stream keeps for its own loss.
    assert reached(network, network.forward_streams(x).appearance, "motion") == {"conv1", "bn1"} | units - {
        "layer4.1",
        "layer4.2",
    }
    assert reached(network, network.forward_streams(x).motion, "appearance") == set()


def test_without_injection_no_stream_learns_from_the_other() -> None:
    network = narrow(direction="none")
    scores = network.forward_streams(clips(2, 7, 3, 32, 32))
    assert reached(network, scores.appearance, "motion") == set()
    assert reached(network, scores.motion, "appearance") == set()


# Temporal convolutions


def test_taps_by_hand() -> None:
    kernel = torch.tensor([[3.0, -6.0]])[..., None, None]  # one output of two inputs
    taps = {init: inflate(kernel, init)[0, ..., 0].tolist() for init in SUMMING}  # type: ignore[arg-type]
    assert taps == {
        "average": [[1, 1, 1], [-2, -2, -2]],
        "centre": [[0, 3, 0], [0, -6, 0]],
        "difference": [[-3, 9, -3], [6, -18, 6]],
    }


@given(outputs=st.integers(1, 9), inputs=st.integers(1, 9), init=st.sampled_from(SUMMING), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_taps_sum_to_the_kernel(outputs: int, inputs: int, init: Any, seed: int) -> None:
    kernel = clips(outputs, inputs, 1, 1, seed=seed)
    taps = inflate(kernel, init)
    assert taps.shape == (outputs, inputs, 3, 1)
    torch.testing.assert_close(taps.sum(dim=2, keepdim=True), kernel)


def test_random_taps_know_nothing_of_the_kernel() -> None:
    kernel = torch.ones(64, 256, 1, 1)
    torch.manual_seed(0)
    taps = inflate(kernel, "random")
    assert taps.shape == (64, 256, 3, 1)
    assert abs(taps.mean()) < 0.01
    assert taps.var().item() == pytest.approx(2 / (3 * 64), rel=0.05)
    assert torch.equal(kernel, torch.ones_like(kernel))


@pytest.mark.parametrize(("init", "exact"), [("average", [2]), ("difference", [2]), ("centre", [0, 1, 2, 3, 4])])
def test_a_unit_gives_a_still_clip_the_response_of_the_image_unit(filled: Fill, init: Any, exact: list[int]) -> None:
    plain = Bottleneck(16, 8, 16).eval()
    filled(plain)
    unit = TemporalBottleneck(plain, init).eval()
    image = clips(1, 16, 5, 6).relu()
    with torch.no_grad():
        expected = plain(image)[0]
        found = unit(image.expand(5, -1, -1, -1), 5)
    assert [t for t in range(5) if torch.allclose(found[t], expected, rtol=1e-5, atol=1e-5)] == exact


def test_at_a_clips_end_the_averaging_taps_keep_two_thirds(filled: Fill) -> None:
    plain = Bottleneck(16, 8, 16)
    filled(plain)
    unit = TemporalBottleneck(plain, "average")
    pixel = clips(1, 16, 1, 1)
    with torch.no_grad():
        ratio = unit.conv1(pixel.expand(-1, -1, 5, -1)) / plain.conv1(pixel)
    torch.testing.assert_close(ratio[0, ..., 0], torch.tensor([2 / 3, 1, 1, 1, 2 / 3]).expand(8, 5))


def test_clips_of_a_batch_do_not_run_into_each_other(filled: Fill) -> None:
    network = started(filled)
    x = clips(3, 7, 4, 32, 32)
    with torch.no_grad():
        together = network.forward_features(x)
        alone = torch.cat([network.forward_features(clip[None]) for clip in x])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["motion_to_appearance", "none"])
def test_a_still_clip_of_17_gives_the_image_networks_activations_in_its_middle(filled: Fill, direction: Any) -> None:
    """Eight temporal convolutions reach eight steps: with fewer than 17 no step is out of the reach of both ends."""
    network, images = (  # a single step sees no time
        started(filled, dtype=torch.float64, direction=direction, temporal_init=init) for init in ("average", "centre")
    )
    image = clips(7, 1, 32, 32).double()
    for found, expected in zip(last_maps(network, image.expand(-1, 17, -1, -1)), last_maps(images, image), strict=True):
        size = expected.abs().max()
        errors = [((step - expected[0]).abs().max() / size).item() for step in found]
        assert errors[8] < 1e-12
        assert min(errors[:8] + errors[9:]) > 1e-10


def test_without_injection_and_time_the_streams_are_two_resnets(filled: Fill) -> None:
    network = started(filled, direction="none", temporal_init="centre")
    streams = trained_streams(filled)
    clip = clips(7, 2, 40, 32)
    frames = clip.transpose(0, 1)
    with torch.no_grad():
        expected = (
            streams["appearance"].forward_features(frames[:, :3]),
            streams["motion"].forward_features(frames[:, 3:]),
        )
        scores = (streams["appearance"](frames[:, :3]) + streams["motion"](frames[:, 3:])).mean(dim=0) / 2
        torch.testing.assert_close(network(clip[None])[0], scores, rtol=1e-4, atol=1e-5)
    for found, map_ in zip(last_maps(network, clip), expected, strict=True):
        torch.testing.assert_close(found, map_, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("init", "same"), [("average", True), ("random", False)])
def test_before_training_time_has_no_direction(filled: Fill, init: Any, same: bool) -> None:
    network = started(filled, temporal_init=init)
    x = clips(1, 7, 6, 32, 32)
    with torch.no_grad():
        assert torch.allclose(network(x), network(x.flip(2)), rtol=1e-4, atol=1e-5) == same


# Head


def test_the_prediction_is_the_mean_over_streams_steps_and_places_before_the_softmax() -> None:
    network = narrow(temporal_pool=True)
    x = clips(2, 7, 9, 70, 40)
    with torch.no_grad():
        features = network.forward_features(x)
        scores = network.score_streams(features)
        torch.testing.assert_close(network(x), torch.stack(tuple(scores)).mean(dim=(0, 2)))
        assert features.shape[2:] == (3, 3, 2)
        at_each_place = [
            network.classifier[stream](part.movedim(1, -1))
            for stream, part in zip(STREAMS, features.chunk(2, dim=1), strict=True)
        ]
        torch.testing.assert_close(network(x), torch.stack(at_each_place).mean(dim=(0, 2, 3, 4)))


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "windows"), [(11, [0, 2, 4, 6]), (6, [0]), (5, [0]), (3, [0]), (1, [0])])
def test_the_star_takes_the_maximum_over_five_steps_at_every_other(
    filled: Fill, steps: int, windows: list[int]
) -> None:
    star, before = started(filled, temporal_pool=True), started(filled)
    x = clips(1, 7, steps, 32, 32)
    with torch.no_grad():
        maps = before.forward_features(x)
        expected = torch.stack([maps[:, :, start : start + 5].amax(dim=2) for start in windows], dim=2)
        torch.testing.assert_close(star.forward_features(x), expected, rtol=1e-4, atol=1e-5)


def test_headless_the_streams_give_their_features() -> None:
    network = narrow(num_classes=0)
    x = clips(2, 7, 3, 32, 32)
    with torch.no_grad():
        features = network.forward_features(x)
        scores = network.score_streams(features)
        torch.testing.assert_close(network(x), features.mean(dim=(2, 3, 4)))
    assert scores.appearance.shape == (2, 3, network.num_features // 2)
    network.reset_classifier(4)
    assert network(x).shape == (2, 4)


def test_dropout_stands_before_the_classifiers() -> None:
    network = narrow(dropout=0.5)
    features = torch.ones(1, network.num_features, 1, 1, 1)
    seen: list[Tensor] = []
    for stream in STREAMS:
        network.classifier[stream].register_forward_hook(lambda _layer, inputs, _output: seen.append(inputs[0]))
    network.score_streams(features)
    network.train().score_streams(features)
    assert [sorted(set(values.flatten().tolist())) for values in seen] == [[1.0], [1.0], [0.0, 2.0], [0.0, 2.0]]


# Normalisation with small batches


def test_normalisation_sees_all_steps_of_all_clips() -> None:
    network = narrow().train()
    layer, stem = network.appearance.bn1, network.appearance.conv1
    layer.momentum = 1.0
    x = clips(2, 7, 3, 32, 32)
    network(x)
    with torch.no_grad():
        responses = stem(x[:, :3].transpose(1, 2).flatten(0, 1))
    torch.testing.assert_close(layer.running_mean, responses.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_normalisation_keeps_its_statistics_and_learns_its_scale(frozen: bool) -> None:
    network = narrow(freeze_norm=frozen).train()
    before = {name: value.clone() for name, value in network.named_buffers()}
    network(clips(2, 7, 3, 32, 32)).square().sum().backward()
    assert all(torch.equal(before[name], value) for name, value in network.named_buffers()) == frozen
    scale = network.appearance.bn1.weight.grad
    assert scale is not None
    assert scale.abs().sum() > 0
    assert network.training
    assert network.dropout.training


# Warm starts


@pytest.mark.slow
@pytest.mark.parametrize("init", SUMMING)
def test_step_two_starts_from_the_two_streams(filled: Fill, init: Any) -> None:
    network = narrow(temporal_init=init, seed=3)
    streams = trained_streams(filled)
    assert warm_start(network, **streams) == ()
    own = network.state_dict()
    for stream, trained in streams.items():
        for key, tensor in trained.state_dict().items():
            name = f"classifier.{stream}.{key[3:]}" if key.startswith("fc.") else f"{stream}.{key}"
            found = own[name].sum(dim=2, keepdim=True) if own[name].shape[2:] == (3, 1) else own[name]
            torch.testing.assert_close(found, tensor, msg=name)


def test_random_taps_outlive_the_warm_start(filled: Fill) -> None:
    network = narrow(temporal_init="random", seed=3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fresh = warm_start(network, **trained_streams(filled))
    assert sorted(fresh) == sorted(name for name, tensor in before.items() if tensor.shape[2:] == (3, 1))
    assert len(fresh) == 16
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in fresh)


def test_the_streams_stay_as_they_are_when_the_network_learns(filled: Fill) -> None:
    network, streams = narrow(), trained_streams(filled)
    warm_start(network, **streams)
    before = {key: value.clone() for key, value in streams["motion"].state_dict().items()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    assert all(torch.equal(before[key], value) for key, value in streams["motion"].state_dict().items())


def test_the_motion_stream_may_come_from_an_image_network_of_its_kind(filled: Fill) -> None:
    """Step 1: the mean of the RGB kernels in every flow channel."""
    streams = trained_streams(filled)
    initialise_across_modality(streams["motion"], streams["appearance"])
    network = narrow()
    warm_start(network, **streams)
    mean = network.appearance.conv1.weight.mean(dim=1, keepdim=True)
    torch.testing.assert_close(network.motion.conv1.weight, mean.expand(-1, 4, -1, -1))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"width": 0.25}, "of another shape"),
        ({"num_classes": 4}, r"classifier\.appearance\.bias"),
        ({"num_classes": 0}, r"missing(.|\n)*classifier\.appearance\.bias"),
        ({"channels": 8}, r"motion\.conv1\.weight"),
        ({"caffe": True}, "strides(.|\n)*caffe"),
        ({"output_stride": 8}, "strides(.|\n)*output_stride"),
    ],
)
def test_streams_that_do_not_fit_are_refused(filled: Fill, other: dict[str, Any], message: str) -> None:
    with pytest.raises(KineflowError, match=message):
        warm_start(narrow(), **trained_streams(filled, **other))


@pytest.mark.slow
def test_step_three_starts_from_step_two(filled: Fill) -> None:
    before = started(filled, dropout=0.5)
    star = narrow(temporal_pool=True, temporal_init="random", seed=4)
    warm_start_star(star, before=before)
    x = clips(1, 7, 5, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(star.forward_features(x)[:, :, 0], before.forward_features(x).amax(dim=2))
        scores = star.score_streams(before.forward_features(x))
        torch.testing.assert_close(scores.motion, before.forward_streams(x).motion)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"injection": "multiply"}, "injection is 'multiply' and was 'add'"),
        ({"direction": "none"}, "direction is 'none' and was 'motion_to_appearance'"),
        ({"caffe": True}, "strides"),
        ({"num_classes": 4}, "classifier"),
        ({"in_channels": 5}, r"motion\.conv1\.weight"),
    ],
)
def test_step_three_refuses_another_network(other: dict[str, Any], message: str) -> None:
    with pytest.raises(KineflowError, match=message):
        warm_start_star(narrow(temporal_pool=True, **other), before=narrow())


# What it takes


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"in_channels": 3}, "3 channels(.|\n)*23 for the paper"),
        ({"injection": "concat"}, "injection(.|\n)*add, multiply"),
        ({"direction": "up"}, "direction(.|\n)*motion_to_appearance"),
        ({"temporal_init": "avg"}, "temporal_init(.|\n)*average, centre"),
        ({"dropout": 1.0}, "dropout"),
        ({"width": 0}, "width"),
        ({"output_stride": 4}, "output_stride"),
    ],
)
def test_impossible_values_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(KineflowError, match=message):
        narrow(**wrong)


@pytest.mark.slow
def test_layout_in_memory_changes_no_score(filled: Fill) -> None:
    network = started(filled)
    x = clips(2, 7, 3, 33, 40)
    with torch.no_grad():
        expected = network(x)
        found = network(x.contiguous(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_scores_unpack_appearance_first() -> None:
    appearance, motion = StreamScores(torch.zeros(1), torch.ones(1))
    assert (appearance.item(), motion.item()) == (0, 1)
