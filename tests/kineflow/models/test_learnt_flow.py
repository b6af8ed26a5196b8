from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kineflow.errors import KineflowError
from kineflow.flow.quantise import quantise
from kineflow.models.bundle import Preprocessing
from kineflow.models.learnt_flow import LearntFlow
from kineflow.models.network import VideoNetwork
from kineflow.models.registry import create_model

BOUND_PX = 20.0
RGB = Preprocessing("rgb", 5, 1, 16, 16, mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0))
FLOW = Preprocessing("flow", 4, 1, 16, 16, mean=(128.0,) * 2, std=(32.0,) * 2)


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


def network(rgb: Preprocessing = RGB) -> LearntFlow:
    return LearntFlow(stream(), Difference(), rgb=rgb, flow=FLOW, bound_px=BOUND_PX)


def images(seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (2, 3, 5, 16, 16))).float()


def normalised(clips: Tensor) -> Tensor:
    return (clips - torch.tensor(RGB.mean).view(-1, 1, 1, 1)) / torch.tensor(RGB.std).view(-1, 1, 1, 1)


def test_each_field_leads_from_its_frame_to_the_next_and_images_are_in_grey_values() -> None:
    clips = images()
    with torch.no_grad():
        flow = network().estimate(normalised(clips))
    expected = (clips[:, ::2, 1:] - clips[:, ::2, :-1]) / 12
    torch.testing.assert_close(flow, expected, atol=1e-4, rtol=0)


def test_the_estimator_sees_rgb_whatever_order_the_clips_are_in() -> None:
    clips = images()
    caffe = dataclasses.replace(RGB, mean=RGB.mean[::-1], std=RGB.std[::-1], channel_order="bgr")
    with torch.no_grad():
        torch.testing.assert_close(
            network(caffe).estimate(normalised(clips).flip(1)), network().estimate(normalised(clips))
        )


def test_the_stream_sees_what_it_would_see_of_a_flow_set() -> None:
    clips, learnt = images(), network()
    with torch.no_grad():
        px = learnt.estimate(normalised(clips))
        levels = torch.from_numpy(quantise(px.numpy().copy(), BOUND_PX)).float()
        from_flow_set = stream()((levels - 128) / 32)
        assert (px.abs() > BOUND_PX).any()  # clipped, as in the flow set
        torch.testing.assert_close(learnt(normalised(clips)), from_flow_set, atol=0.02, rtol=0.02)  # no rounding


def test_the_labels_gradient_reaches_the_estimator() -> None:
    learnt = network()
    learnt(normalised(images())).square().sum().backward()
    assert learnt.estimator.scale.grad.any()
    assert learnt.stem.weight.grad.any()


def test_flow_past_the_bound_has_no_gradient() -> None:
    learnt = network()
    with torch.no_grad():
        learnt.estimator.scale.fill_(1e6)
    clips = images()
    clips[:, :, 1::2], clips[:, :, ::2] = 255, 0  # every pixel changes
    learnt(normalised(clips)).square().sum().backward()
    assert not learnt.estimator.scale.grad.any()


def test_a_frozen_estimator_stays_as_it_is() -> None:
    learnt = network()
    learnt.estimator.requires_grad_(False)
    learnt(normalised(images())).square().sum().backward()
    assert learnt.estimator.scale.grad is None
    assert learnt.stem.weight.grad.any()


def test_it_keeps_the_contract_of_networks() -> None:
    learnt = network()
    assert learnt.stem.in_channels == 2
    assert learnt.num_features == learnt.stream.num_features
    learnt.reset_classifier(7)
    assert learnt(normalised(images())).shape == (2, 7)
    assert learnt.num_classes == 7
    features = learnt.forward_features(normalised(images()))
    assert learnt.forward_head(features, pre_logits=True).shape == (2, learnt.num_features)


def test_modalities_must_be_rgb_and_flow() -> None:
    with pytest.raises(KineflowError, match="not flow into flow"):
        LearntFlow(stream(), Difference(), rgb=FLOW, flow=FLOW, bound_px=BOUND_PX)
