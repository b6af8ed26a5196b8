from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kineflow.models.bundle import load_bundle, save_bundle
from kineflow.models.card import ModelCard
from kineflow.models.learnt_flow import LearntFlow, learnt_flow
from kineflow.models.network import VideoNetwork
from kineflow.models.registry import create_model
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.quantise import quantise
from kineflow.storage.errors import KineflowError

BOUND_PX = 20.0


class Difference(nn.Module):
    """An estimator whose answer is easily computed: u from red, v from blue, twelve grey values to a px."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1 / 12))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return (second - first)[:, ::2] * self.scale


def stream() -> VideoNetwork:
    torch.manual_seed(0)
    return create_model("s3d", num_classes=3, in_channels=2, width=0.125, dropout=0.0, stem_temporal_stride=1).eval()


def network(*, frozen: bool = False) -> LearntFlow:
    estimator = Difference()
    return LearntFlow(stream(), estimator, bound_px=BOUND_PX, flow_mean=128.0, flow_std=32.0, frozen=frozen)  # type: ignore[arg-type]


def images(seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (2, 3, 5, 16, 16))).float()


def test_each_field_leads_from_its_frame_to_the_next_and_images_are_in_grey_values() -> None:
    clips = images()
    with torch.no_grad():
        flow = network().estimate(clips)
    expected = (clips[:, ::2, 1:] - clips[:, ::2, :-1]) / 12
    torch.testing.assert_close(flow, expected, atol=1e-4, rtol=0)


def test_a_single_frame_does_not_move() -> None:
    with torch.no_grad():
        flow = network().estimate(images()[:, :, :1])
    assert flow.shape == (2, 2, 1, 16, 16)
    assert not flow.any()


def test_the_stream_sees_what_it_would_see_of_a_flow_set() -> None:
    clips, learnt = images(), network()
    with torch.no_grad():
        px = learnt.estimate(clips)
        levels = torch.from_numpy(quantise(px.numpy().copy(), BOUND_PX)).float()
        from_flow_set = stream()((levels - 128) / 32)
        assert (px.abs() > BOUND_PX).any()  # clipped, as in the flow set
        torch.testing.assert_close(learnt(clips), from_flow_set, atol=0.02, rtol=0.02)  # no rounding


@pytest.mark.slow
def test_the_labels_gradient_reaches_the_estimator() -> None:
    learnt = network()
    learnt(images()).square().sum().backward()
    assert learnt.estimator.scale.grad.any()
    assert learnt.stream.stem.weight.grad.any()


def test_flow_past_the_bound_has_no_gradient() -> None:
    learnt = network()
    with torch.no_grad():
        learnt.estimator.scale.fill_(1e6)
    clips = images()
    clips[:, :, 1::2], clips[:, :, ::2] = 255, 0  # every pixel changes
    learnt(clips).square().sum().backward()
    assert not learnt.estimator.scale.grad.any()


def test_a_frozen_estimator_stays_as_it_is() -> None:
    learnt = network(frozen=True)
    learnt(images()).square().sum().backward()
    assert learnt.estimator.scale.grad is None
    assert learnt.stream.stem.weight.grad.any()


def test_it_keeps_the_contract_of_networks() -> None:
    learnt = network()
    assert learnt.num_features == learnt.stream.num_features
    learnt.reset_classifier(7)
    assert learnt(images()).shape == (2, 7)
    assert learnt.num_classes == 7
    assert learnt.get_submodule(learnt.classifier_name).out_channels == 7
    features = learnt.forward_features(images())
    assert learnt.forward_head(features, pre_logits=True).shape == (2, learnt.num_features)


class TestRegistered:
    HYPER: ClassVar = {"width": 0.125, "estimator_width": 0.125, "bound_px": 5.0, "flow_mean": 120.0, "flow_std": 16.0}

    def test_parameters_of_the_paper(self) -> None:
        with torch.device("meta"):
            made = learnt_flow(num_classes=400)
            alone = create_model("s3d_g", num_classes=400, in_channels=2)
        count = sum(parameter.numel() for parameter in alone.parameters())
        assert sum(parameter.numel() for parameter in made.parameters()) == count + 9_374_340
        assert (made.bound_px, made.flow_mean, made.flow_std) == (20.0, 127.5, 32.0)

    def test_the_stem_sees_the_pixels(self) -> None:
        made = learnt_flow(num_classes=3, **self.HYPER)
        assert made.stem is made.estimator.conv1a[0]
        assert made.stem.in_channels == 3

    def test_keywords_reach_their_network(self) -> None:
        made = learnt_flow(num_classes=3, stream="s3d", frozen=True, **self.HYPER)
        assert (made.bound_px, made.flow_mean, made.flow_std) == (5.0, 120.0, 16.0)
        assert not any("gate" in name for name, _ in made.named_parameters())
        assert not any(parameter.requires_grad for parameter in made.estimator.parameters())
        assert all(parameter.requires_grad for parameter in made.stream.parameters())

    def test_a_bundle_gives_it_back(self, tmp_path) -> None:
        torch.manual_seed(0)
        made = create_model("learnt_flow", num_classes=3, **self.HYPER).eval()
        preprocessing = Preprocessing("rgb", 5, 1, 32, 32, mean=(0.0,) * 3, std=(1.0,) * 3)
        save_bundle(
            tmp_path / "m", made, ModelCard("m", "learnt_flow", dict(self.HYPER), ("a", "b", "c"), preprocessing)
        )
        again, _ = load_bundle(tmp_path / "m")
        with torch.no_grad():
            torch.testing.assert_close(again(images()), made(images()), rtol=0, atol=0)

    @pytest.mark.parametrize(
        ("keywords", "message"), [({"in_channels": 2}, "not from 2 channels"), ({"stream": "tsn"}, "'tsn'")]
    )
    def test_what_cannot_be(self, keywords, message) -> None:
        with pytest.raises(KineflowError, match=message):
            learnt_flow(num_classes=3, **keywords)
