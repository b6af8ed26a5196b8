"""What every registered network must do; a new one is tested by being registered."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kineflow.models.network import VideoNetwork
from kineflow.models.registry import create_model, hyperparameters_of, list_models

CLASSES = 5

pytestmark = pytest.mark.parametrize("name", list_models())


def build(name: str, *, num_classes: int = CLASSES, in_channels: int = 3, seed: int = 0) -> VideoNetwork:
    torch.manual_seed(seed)
    narrow = {"width": 0.125} if "width" in hyperparameters_of(name) else {}
    return create_model(name, num_classes=num_classes, in_channels=in_channels, **narrow)


def clips(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("size", [(12, 64, 64), (16, 64, 80), (17, 57, 43), (33, 128, 128)])
def test_forward_gives_finite_logits_of_any_clip(name: str, channels: int, size: tuple[int, int, int]) -> None:
    network = build(name, in_channels=channels)
    for mode in (True, False):
        with torch.no_grad():
            logits = network.train(mode)(clips(2, channels, *size))
        assert logits.shape == (2, CLASSES)
        assert logits.isfinite().all()


@pytest.mark.parametrize("size", [(1, 64, 64), (2, 32, 32), (4, 16, 16), (1, 1, 1)])
def test_tiny_clips_pass_through(name: str, size: tuple[int, int, int]) -> None:
    if name == "tsn" and size[1] == 1:
        pytest.skip("its backbone needs images of 7 px, and says so")
    network = build(name).eval()
    with torch.no_grad():
        assert network(clips(1, 3, *size)).isfinite().all()


def test_every_parameter_learns(name: str) -> None:
    network = build(name)
    nn.functional.cross_entropy(network(clips(4, 3, 12, 64, 64)), torch.tensor([0, 1, 2, 3])).backward()
    idle = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


def test_forward_is_features_then_head(name: str) -> None:
    network = build(name).eval()
    x = clips(2, 3, 16, 64, 64)
    with torch.no_grad():
        features = network.forward_features(x)
        pooled = network.forward_head(features, pre_logits=True)
        torch.testing.assert_close(network.forward_head(features), network(x))
    assert features.ndim == 5
    assert features.shape[:2] == (2, network.num_features)
    assert pooled.shape == (2, network.num_features)


def test_clips_of_a_batch_do_not_see_each_other(name: str) -> None:
    network = build(name).eval()
    x = clips(3, 3, 12, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1:2], network(x[1:2]), rtol=1e-4, atol=1e-5)


def test_the_order_of_frames_matters(name: str) -> None:
    if name == "tsn":
        pytest.skip("snippets vote, and votes have no order; that of a snippet's frames is tested with TSN")
    network = build(name).eval()
    x = clips(1, 3, 16, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(network(x), network(x.flip(2)), rtol=1e-3)


def test_reset_classifier_changes_the_classes_and_nothing_else(name: str) -> None:
    network = build(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.reset_classifier(7)
    assert network.num_classes == 7
    assert network(clips(2, 3, 12, 64, 64)).shape == (2, 7)
    changed = {key for key, value in network.state_dict().items() if before[key].shape != value.shape}
    assert changed
    assert all(key.startswith(f"{network.classifier_name}.") for key in changed)


def test_headless_it_gives_pooled_features(name: str) -> None:
    network = build(name, num_classes=0).eval()
    assert network.num_classes == 0
    assert not [key for key in network.state_dict() if key.startswith(network.classifier_name)]
    x = clips(2, 3, 12, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(x), network.forward_head(network.forward_features(x), pre_logits=True))
    network.reset_classifier(CLASSES)
    with torch.no_grad():
        assert network(x).shape == (2, CLASSES)


def test_the_seed_decides_the_weights(name: str) -> None:
    first, again, other = (build(name, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_state_dict_round_trip(name: str) -> None:
    source, target = build(name, seed=0).eval(), build(name, seed=1).eval()
    target.load_state_dict(source.state_dict(), strict=True)
    x = clips(1, 3, 12, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(source(x), target(x), rtol=0, atol=0)


def test_the_stem_is_the_layer_that_sees_the_pixels(name: str) -> None:
    network = build(name, in_channels=6)
    assert network.stem.in_channels == 6
    seen: list[torch.Tensor] = []
    network.stem.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    x = clips(2, 6, 12, 64, 64)
    network(x)
    assert seen[0].numel() == x.numel()


def test_dropout_is_idle_in_evaluation(name: str) -> None:
    network = build(name).eval()
    x = clips(1, 3, 12, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(x), network(x), rtol=0, atol=0)
