"""Golden figures come from Cadene's BN-Inception, run on the same weights and the same images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from kineflow.models.bn_inception import bn_inception, max_pool
from kineflow.models.weights import load_weights


def test_keys_are_those_of_the_public_checkpoint(layout: Callable[[nn.Module], str]) -> None:
    with torch.device("meta"):
        network = bn_inception(num_classes=1000)
    assert layout(network) == "116aa245debd2fb41c14d08c23015a67720bd3fc2e68f44250aed256d643ca43"


def test_parameters_for_ucf101() -> None:
    with torch.device("meta"):
        network = bn_inception(num_classes=101)
    layers = list(network.modules())
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    assert len(convolutions) == len(norms) == 69
    assert sum(p.numel() for layer in norms for p in layer.parameters()) == 20_032
    assert sum(p.numel() for p in network.parameters()) == 10_353_733 + 20_032


def test_shapes_at_paper_scale_are_those_of_the_table() -> None:
    seen: dict[str, tuple[int, ...]] = {}
    with torch.device("meta"):
        network = bn_inception(num_classes=0).eval()
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(
                    lambda _, inputs, output, name=name: seen.update({name: tuple(inputs[0].shape[1:])})
                )
        x = network.forward_features(torch.empty(1, 3, 224, 224))
    assert x.shape == (1, 1024, 7, 7)
    assert seen["conv2_3x3_reduce"] == (64, 56, 56)
    reduced = (name for name in seen if name.endswith("_3x3_reduce") and "double" not in name)
    into = {name.split("_")[1]: seen[name] for name in reduced if name.startswith("inception")}
    assert into == {
        "3a": (192, 28, 28), "3b": (256, 28, 28), "3c": (320, 28, 28), "4a": (576, 14, 14), "4b": (576, 14, 14),
        "4c": (576, 14, 14), "4d": (608, 14, 14), "4e": (608, 14, 14), "5a": (1056, 7, 7), "5b": (1024, 7, 7),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((224, 224), [1.89075, 11.25436, 17.51159, 0.29538, -3.4805, 3.75799]),
        ((96, 160), [3.02398, 9.5405, 11.57761, 2.16556, 0.03141, 2.56941]),
    ],
)
def test_scores_are_those_of_the_public_network(
    filled: Callable[[nn.Module], None],
    by_formula: Callable[[str, tuple[int, ...]], torch.Tensor],
    size: tuple[int, int],
    expected: list[float],
) -> None:
    network = bn_inception(num_classes=1000).eval()
    filled(network)
    with torch.inference_mode():
        scores = network(by_formula("input", (1, 3, *size)))
    torch.testing.assert_close(scores[0, :6], torch.tensor(expected), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("classifier", ["last_linear", "fc"])
@pytest.mark.parametrize("rows", [False, True])
def test_both_ports_files_load(classifier: str, rows: bool) -> None:
    torch.manual_seed(0)
    source, target = (bn_inception(num_classes=4, width=0.125) for _ in range(2))
    published = {}
    for name, tensor in source.state_dict().items():
        if rows and name.endswith("num_batches_tracked"):
            continue  # files with rows are older than the counters
        published[name.replace("last_linear", classifier)] = tensor[None] if rows and "_bn." in name else tensor
    report = load_weights(target, published, where="bn_inception.pth")
    assert report.classifier_loaded
    theirs = source.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in target.state_dict().items())


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2]))
def test_a_pool_gives_the_size_of_the_convolution_beside_it(height: int, width: int, stride: int) -> None:
    x = torch.randn(1, 2, height, width, generator=torch.Generator().manual_seed(0)) - 10
    pooled = max_pool(x, stride=stride)
    beside = F.conv2d(x, torch.zeros(1, 2, 3, 3), stride=stride, padding=1)
    assert pooled.shape[2:] == beside.shape[2:]
    assert pooled.isfinite().all()
    assert pooled.max() == x.max()


def test_on_even_maps_the_pool_is_caffe_s() -> None:
    x = torch.randn(1, 2, 14, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(max_pool(x, stride=2), F.max_pool2d(x, 3, stride=2, ceil_mode=True))
