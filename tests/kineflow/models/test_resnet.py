"""Golden figures come from torchvision's ResNet-50 and Cadene's CaffeResNet, on the same weights and images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from kineflow.models.resnet import Bottleneck, resnet50


@pytest.mark.parametrize("caffe", [False, True])
def test_parameters_and_keys_are_those_of_the_public_checkpoint(
    layout: Callable[[nn.Module], str], caffe: bool
) -> None:
    with torch.device("meta"):
        network = resnet50(num_classes=1000, caffe=caffe)
    assert sum(parameter.numel() for parameter in network.parameters()) == 25_557_032
    assert layout(network) == "584ee931ad382885ad353fa64c8bf7736b8cd3a2259cc79a8f1e68cb3de2b163"


def test_parameters_of_two_streams_as_st_resnet_has_them() -> None:
    """58,624,394 in all, of which 5,570,560 a stream are temporal convolutions."""
    with torch.device("meta"):
        streams = [resnet50(num_classes=101), resnet50(num_classes=101, in_channels=20)]
    assert sum(p.numel() for stream in streams for p in stream.parameters()) == 58_624_394 - 2 * 5_570_560


@pytest.mark.parametrize("caffe", [False, True])
def test_shapes_at_paper_scale_are_those_of_the_table(caffe: bool) -> None:
    with torch.device("meta"):
        network = resnet50(num_classes=1000, caffe=caffe).eval()
        x = network.forward_stem(torch.empty(1, 3, 224, 224))
        seen = [tuple(x.shape[1:])]
        for stage in network.stages:
            x = stage(x)
            seen.append(tuple(x.shape[1:]))
    assert seen == [(64, 56, 56), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
    assert [len(stage) for stage in network.stages] == [3, 4, 6, 3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("caffe", "size", "expected"),
    [
        (False, (224, 224), [8.53664, 5.32821, 0.56892, 3.73622, -10.07523, 3.19858]),
        (False, (96, 160), [8.25912, 4.60418, -0.66589, 3.2943, -8.50813, 2.71077]),
        (True, (224, 224), [9.35662, 5.14679, 0.44852, 3.80753, -10.15481, 3.4171]),
        (True, (96, 160), [8.71814, 4.38328, -0.04659, 3.0438, -9.62116, 2.81683]),
    ],
)
def test_scores_are_those_of_the_public_network(
    filled: Callable[[nn.Module], None],
    by_formula: Callable[[str, tuple[int, ...]], torch.Tensor],
    caffe: bool,
    size: tuple[int, int],
    expected: list[float],
) -> None:
    network = resnet50(num_classes=1000, caffe=caffe).eval()
    filled(network)
    with torch.inference_mode():
        scores = network(by_formula("input", (1, 3, *size)))
    torch.testing.assert_close(scores[0, :6], torch.tensor(expected), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("caffe", "strides"), [(False, (1, 2)), (True, (2, 1))])
def test_where_a_unit_halves_the_map(caffe: bool, strides: tuple[int, int]) -> None:
    with torch.device("meta"):
        network = resnet50(num_classes=0, caffe=caffe)
    for stage in network.stages[1:]:
        first = stage[0]
        assert isinstance(first, Bottleneck)
        assert (first.conv1.stride[0], first.conv2.stride[0]) == strides


def test_a_unit_is_its_shortcut_and_its_residual_rectified() -> None:
    torch.manual_seed(0)
    network = resnet50(num_classes=0, width=0.125).eval()
    x = torch.randn(2, network.stem.out_channels, 9, 8).relu()
    for unit in network.layer1:
        assert isinstance(unit, Bottleneck)
        with torch.no_grad():
            shortcut, residual = unit.shortcut(x), unit.residual(x)
            assert (shortcut is x) == (unit.downsample is None)
            assert residual.min() < 0
            torch.testing.assert_close(unit(x), (shortcut + residual).clamp(min=0))
            x = unit(x)


def test_a_unit_leaves_its_input_as_it_is() -> None:
    unit = Bottleneck(8, 4, 8)
    x = torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    unit(x)
    assert torch.equal(x, before)
