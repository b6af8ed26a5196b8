from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from kineflow.models.learnt_flow import LearntFlow
from kineflow.models.pwc_net import PWCNet, cost_volume, warp
from kineflow.models.registry import create_model


@pytest.fixture(scope="module")
def network() -> PWCNet:
    torch.manual_seed(0)
    return PWCNet().eval()


def images(height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (2, 2, 3, height, width))).float()
    return drawn[0], drawn[1]


def test_parameters_and_names(network: PWCNet) -> None:
    assert sum(parameter.numel() for parameter in network.parameters()) == 9_374_274 + 66
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    expected = {
        "conv1a.0.weight": (16, 3, 3, 3),
        "conv2aa.0.weight": (32, 32, 3, 3),
        "conv6aa.0.weight": (196, 128, 3, 3),
        "conv6a.0.weight": (196, 196, 3, 3),
        "conv6_0.0.weight": (128, 81, 3, 3),
        "conv5_4.0.weight": (32, 81 + 128 + 4 + 416, 3, 3),
        "predict_flow2.weight": (2, 565, 3, 3),
        "upfeat3.weight": (81 + 64 + 4 + 448, 2, 4, 4),
        "deconv2.weight": (2, 2, 4, 4),
        "dc_conv1.0.weight": (128, 565, 3, 3),
        "dc_conv7.bias": (2,),
    }
    assert {name: shapes[name] for name in expected} == expected
    assert len(shapes) == 2 * (3 * 6 + 5 * 5 + 5 + 5 + 4 + 7)


def test_golden_figures(
    filled: Callable[[nn.Module], None], by_formula: Callable[[str, tuple[int, ...]], torch.Tensor]
) -> None:
    """Of a public PyTorch PWC-Net (that of ptlflow), with the same weights and images."""
    network = PWCNet().eval()
    filled(network)
    first, second = by_formula("images", (2, 2, 3, 128, 192)) / 3**0.5 * 127.5 + 127.5
    with torch.no_grad():
        flow = network(first, second)
    torch.testing.assert_close(
        flow[:, :, 64, 64].flatten(), torch.tensor([-172.6245, -134.18097, -113.13783, -104.77227]), rtol=1e-4, atol=0
    )
    assert flow.abs().mean().item() == pytest.approx(69.83982780984691, rel=1e-4)


def test_cost_volume_is_the_mean_product_with_each_neighbour() -> None:
    first, second = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    costs = cost_volume(first, second, reach=2)
    assert costs.shape == (2, 25, 4, 5)
    for place, (down, right) in enumerate((down, right) for down in range(-2, 3) for right in range(-2, 3)):
        for row in range(4):
            for column in range(5):
                inside = 0 <= row + down < 4 and 0 <= column + right < 5
                expected = (
                    (first[:, :, row, column] * second[:, :, row + down, column + right]).mean(1) if inside else 0
                )
                torch.testing.assert_close(costs[:, place, row, column], torch.zeros(2) + expected)


def test_warping_fetches_from_where_the_flow_leads() -> None:
    features = torch.randn(1, 3, 6, 7)
    flow = torch.zeros(1, 2, 6, 7)
    flow[:, 0], flow[:, 1] = 2.0, -1.0
    warped = warp(features, flow)
    torch.testing.assert_close(warped[:, :, 1:, :-2], features[:, :, :-1, 2:], atol=1e-5, rtol=0)
    assert not warped[:, :, 0].any()  # beyond the border
    assert not warped[:, :, :, -2:].any()
    half = warp(features, torch.full((1, 2, 6, 7), 0.5))
    torch.testing.assert_close(half[0, :, 2, 2], features[0, :, 2:4, 2:4].mean(dim=(1, 2)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(64, 128), (50, 100), (17, 64)])
def test_flow_has_the_size_of_the_images(network: PWCNet, height: int, width: int) -> None:
    with torch.no_grad():
        flow = network(*images(height, width))
    assert flow.shape == (2, 2, height, width)
    assert flow.isfinite().all()


def test_flow_of_resized_images_is_in_px_of_those_given(network: PWCNet) -> None:
    first, second = (torch.full((1, 3, 64, 32), value) for value in (60.0, 180.0))  # flat: resizing changes nothing
    with torch.no_grad():
        whole, halved = network(*(image.repeat(1, 1, 1, 2) for image in (first, second))), network(first, second)
    assert whole.abs().max() > 0.01
    assert halved[:, 1].mean().item() == pytest.approx(whole[:, 1].mean().item(), rel=0.05)
    assert halved[:, 0].mean().item() == pytest.approx(whole[:, 0].mean().item() / 2, rel=0.05)


@pytest.mark.slow
def test_full_size() -> None:
    with torch.device("meta"):
        flow = PWCNet()(torch.empty(2, 3, 224, 224), torch.empty(2, 3, 224, 224))
    assert flow.shape == (2, 2, 224, 224)


def test_levels_are_in_px_of_the_images_and_the_last_is_the_answer(network: PWCNet) -> None:
    first, second = images(64, 128)
    with torch.no_grad():
        levels = network.estimates(first, second)
        flow = network(first, second)
    assert [tuple(level.shape[2:]) for level in levels] == [(1, 2), (2, 4), (4, 8), (8, 16), (16, 32)]
    expected = nn.functional.interpolate(levels[-1], (64, 128), mode="bilinear", align_corners=False)
    torch.testing.assert_close(flow, expected)


def test_a_narrow_one_has_fewer_channels_and_the_same_layers(network: PWCNet) -> None:
    narrow = PWCNet(0.25)
    assert narrow.state_dict().keys() == network.state_dict().keys()
    assert narrow.get_submodule("conv6b")[0].out_channels == 49
    assert narrow.get_submodule("conv1a")[0].out_channels == 8  # no fewer
    with torch.no_grad():
        assert narrow(*images(64, 64)).shape == (2, 2, 64, 64)


@pytest.mark.slow
def test_labels_teach_it_within_a_flow_stream(network: PWCNet) -> None:
    stream = create_model("s3d", num_classes=3, in_channels=2, width=0.125, dropout=0.0, last_stage="Mixed3b")
    learnt = LearntFlow(stream, network, bound_px=1e4, flow_mean=128.0, flow_std=32.0)
    learnt(torch.rand(2, 3, 3, 64, 64) * 255).square().sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == [name for name, p in network.named_parameters() if not p.requires_grad]
    assert silent == ["deconv2.weight", "deconv2.bias"]
    network.zero_grad(set_to_none=True)
