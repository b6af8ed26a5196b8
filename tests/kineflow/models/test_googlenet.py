"""Golden figures come from torchvision's GoogLeNet, run on the same weights and the same images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from kineflow.models.googlenet import GoogLeNet, googlenet
from kineflow.models.weights import load_weights


def test_parameters_and_keys_are_those_of_the_public_checkpoint(layout: Callable[[nn.Module], str]) -> None:
    with torch.device("meta"):
        network = googlenet(num_classes=1000)
    assert sum(parameter.numel() for parameter in network.parameters()) == 6_624_904
    assert layout(network) == "fa3d44cfc0caf5571cbd42bfbe28247497c47309ed718b95218f4c2515825cab"


def test_shapes_at_paper_scale_are_those_of_the_table() -> None:
    with torch.device("meta"):
        network = googlenet(num_classes=1000).eval()
        seen = shapes_of(network, torch.empty(1, 3, 224, 224))
    assert seen == {
        "conv1": (64, 112, 112), "maxpool1": (64, 56, 56), "conv2": (64, 56, 56), "conv3": (192, 56, 56),
        "maxpool2": (192, 28, 28), "inception3a": (256, 28, 28), "inception3b": (480, 28, 28),
        "maxpool3": (480, 14, 14), "inception4a": (512, 14, 14), "inception4b": (512, 14, 14),
        "inception4c": (512, 14, 14), "inception4d": (528, 14, 14), "inception4e": (832, 14, 14),
        "maxpool4": (832, 7, 7), "inception5a": (832, 7, 7), "inception5b": (1024, 7, 7),
    }  # fmt: skip


def shapes_of(network: GoogLeNet, x: torch.Tensor) -> dict[str, tuple[int, ...]]:
    seen: dict[str, tuple[int, ...]] = {}
    for name, layer in network.named_children():
        layer.register_forward_hook(lambda _, inputs, output, name=name: seen.update({name: tuple(output.shape[1:])}))
    network.forward_features(x)
    return seen


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((224, 224), [3.82104, 13.31295, -12.29625, 27.7347, -6.69067, -1.37778]),
        ((96, 160), [4.18429, 12.40672, -10.44717, 24.69242, -9.12356, -3.92747]),
    ],
)
def test_scores_are_those_of_the_public_network(
    filled: Callable[[nn.Module], None],
    by_formula: Callable[[str, tuple[int, ...]], torch.Tensor],
    size: tuple[int, int],
    expected: list[float],
) -> None:
    network = googlenet(num_classes=1000).eval()
    filled(network)
    with torch.inference_mode():
        scores = network(by_formula("input", (1, 3, *size)))
    torch.testing.assert_close(scores[0, :6], torch.tensor(expected), rtol=1e-3, atol=1e-3)


def test_auxiliary_classifiers_of_a_checkpoint_are_left_out() -> None:
    source, target = (googlenet(num_classes=4, width=0.125) for _ in range(2))
    auxiliary = {"aux1.conv.conv.weight": torch.ones(1), "aux2.fc2.bias": torch.ones(4)}
    report = load_weights(target, {**source.state_dict(), **auxiliary}, where="googlenet.pth")
    assert report.tensors == len(source.state_dict())
    assert report.classifier_loaded


def test_odd_maps_are_halved_upwards() -> None:
    network = googlenet(num_classes=0, width=0.125).eval()
    assert network.forward_features(torch.zeros(1, 3, 240, 15)).shape[2:] == (8, 1)  # 120, 60, 30, 15, 8
