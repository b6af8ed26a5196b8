"""Golden figures come from efficientnet_lite_pytorch 0.1.0, run on the same weights and the same images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kineflow.models.efficientnet_lite import SameConv, efficientnet_lite0


def test_keys_are_those_of_the_public_checkpoint(layout: Callable[[nn.Module], str]) -> None:
    with torch.device("meta"):
        network = efficientnet_lite0(num_classes=1000)
    assert layout(network) == "96fe585d8042bfbd071d339255a3211c98039ca71630c469e223861d9d0e42df"
    assert sum(p.numel() for p in network.parameters()) == 4_652_008


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((224, 224), [-2.62555, 3.68570, 8.08922, -2.57986, -3.17556, 0.51355]),
        ((96, 160), [-2.51819, 2.53535, 7.12897, -2.81627, -2.82797, 0.47063]),
    ],
)
def test_scores_are_those_of_the_public_network(
    filled: Callable[[nn.Module], None],
    by_formula: Callable[[str, tuple[int, ...]], torch.Tensor],
    size: tuple[int, int],
    expected: list[float],
) -> None:
    network = efficientnet_lite0(num_classes=1000).eval()
    filled(network)
    with torch.inference_mode():
        scores = network(by_formula("input", (1, 3, *size)))
    torch.testing.assert_close(scores[0, :6], torch.tensor(expected), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("kernel", "stride", "side", "before", "behind"), [
    (3, 2, 8, 0, 1), (3, 2, 7, 1, 1), (5, 2, 8, 1, 2), (5, 2, 7, 2, 2), (5, 1, 8, 2, 2), (1, 1, 5, 0, 0),
])  # fmt: skip
def test_padding_is_tensorflow_s(kernel: int, stride: int, side: int, before: int, behind: int) -> None:
    layer = SameConv(2, 3, kernel, stride=stride)
    images = torch.randn(1, 2, side, side, generator=torch.Generator().manual_seed(0))
    expected = F.conv2d(F.pad(images, (before, behind, before, behind)), layer.weight, stride=stride)
    torch.testing.assert_close(layer(images), expected)
    assert expected.shape[-1] == -(-side // stride)
