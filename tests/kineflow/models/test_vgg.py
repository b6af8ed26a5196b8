"""Golden figures come from torchvision's VGG-16, run on the same weights and the same images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from kineflow.models.vgg import VGG16, vgg16
from kineflow.storage.errors import KineflowError


def build(**keywords: float) -> VGG16:
    return vgg16(**{"num_classes": 6, "width": 0.125} | keywords)  # type: ignore[arg-type]


def test_parameters_and_keys_are_those_of_the_public_checkpoint(layout: Callable[[nn.Module], str]) -> None:
    with torch.device("meta"):
        network = vgg16(num_classes=1000)
    assert sum(parameter.numel() for parameter in network.parameters()) == 138_357_544
    assert layout(network) == "26a44a8d3cab16c67a2e446a90410ce627919f48ca28949d4a95f218ccda926f"


def test_pool5_and_fc7_are_what_videolstm_takes() -> None:
    with torch.device("meta"):
        network = vgg16(num_classes=0).eval()
        pool5 = network.forward_features(torch.empty(2, 3, 224, 224))
        assert pool5.shape == (2, 512, 7, 7)
        assert network.forward_head(pool5, pre_logits=True).shape == (2, 4096)
        assert (network.num_features, network.head_hidden_size) == (512, 4096)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "place", "expected"),
    [
        ((224, 224), (3, 3), [1.63741, 0.79622, 1.32398, 0.0, 0.0, 0.0, 6.62179, 1.96068]),
        ((96, 160), (1, 2), [2.17335, 2.27324, 1.04591, 0.0, 0.0, 0.0, 7.12033, 1.41943]),
    ],
)
def test_the_map_is_that_of_the_public_network(
    filled: Callable[[nn.Module], None],
    by_formula: Callable[[str, tuple[int, ...]], torch.Tensor],
    size: tuple[int, int],
    place: tuple[int, int],
    expected: list[float],
) -> None:
    with torch.device("meta"):
        network = vgg16(num_classes=0).eval()
    del network.classifier  # 120 million parameters that the map does not see
    filled(network.to_empty(device="cpu"))
    with torch.inference_mode():
        pool5 = network.forward_features(by_formula("input", (1, 3, *size)))
    torch.testing.assert_close(pool5[0, ::64, *place], torch.tensor(expected), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((224, 224), [-5.72638, -4.01796, -5.28267, -6.98699, 1.85314, 0.35571]),
        ((96, 160), [-6.80977, -5.74724, -5.15186, -3.6245, 2.07141, 3.22774]),
    ],
)
def test_scores_are_those_of_the_public_network_made_narrow(
    filled: Callable[[nn.Module], None],
    by_formula: Callable[[str, tuple[int, ...]], torch.Tensor],
    size: tuple[int, int],
    expected: list[float],
) -> None:
    network = build().eval()
    filled(network)
    with torch.inference_mode():
        scores = network(by_formula("input", (1, 3, *size)))
    torch.testing.assert_close(scores[0], torch.tensor(expected), rtol=1e-3, atol=1e-3)


def test_fc6_has_a_dropout_of_its_own() -> None:
    network = build(num_classes=0, dropout=0.0, dropout_fc6=0.9)
    features = torch.ones(1, network.num_features, 7, 7)
    torch.testing.assert_close(network(torch.ones(1, 3, 64, 64)).shape, (1, 512))
    assert not torch.equal(network.forward_head(features), network.forward_head(features))
    network.eval()
    torch.testing.assert_close(network.forward_head(features), network.forward_head(features), rtol=0, atol=0)


@pytest.mark.parametrize(("output_stride", "least"), [(32, 32), (16, 16), (8, 8)])
def test_a_finer_stride_takes_smaller_images(output_stride: int, least: int) -> None:
    network = build(output_stride=output_stride).eval()
    assert network.forward_features(torch.zeros(1, 3, least, least)).shape[2:] == (1, 1)
    with pytest.raises(KineflowError, match=f"at least {least} px"):
        network(torch.zeros(1, 3, least, least - 1))


def test_impossible_dropout_is_named() -> None:
    with pytest.raises(KineflowError, match="dropout_fc6"):
        build(dropout_fc6=-0.1)
