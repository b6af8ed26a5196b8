"""What every registered backbone must do; a new one is tested by being registered."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kineflow.models.network import ImageNetwork
from kineflow.models.registry import create_backbone, list_backbones
from kineflow.models.weights import load_weights
from kineflow.storage.errors import KineflowError

CLASSES = 5

pytestmark = pytest.mark.parametrize("name", list_backbones())


def build(name: str, *, seed: int = 0, **keywords: Any) -> ImageNetwork:
    torch.manual_seed(seed)
    return create_backbone(name, **{"num_classes": CLASSES, "width": 0.125} | keywords)


def images(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("channels", [1, 2, 3, 10, 20])
def test_any_number_of_channels_comes_in(name: str, channels: int) -> None:
    network = build(name, in_channels=channels)
    assert network.stem.in_channels == channels
    seen: list[torch.Tensor] = []
    network.stem.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    x = images(2, channels, 64, 64)
    assert network(x).shape == (2, CLASSES)
    assert torch.equal(seen[0], x)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 64), (64, 80), (57, 43), (112, 112), (33, 150), (128, 171), (240, 320)])
def test_images_may_have_any_size(name: str, size: tuple[int, int]) -> None:
    network = build(name)
    for mode in (True, False):
        with torch.no_grad():
            logits = network.train(mode)(images(2, 3, *size))
        assert logits.shape == (2, CLASSES)
        assert logits.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_the_output_stride_decides_the_map(name: str, output_stride: int) -> None:
    with torch.device("meta"):
        network = build(name, width=1.0, output_stride=output_stride).eval()
        for side in (64, 224):
            features = network.forward_features(torch.empty(2, 3, side, side))
            assert features.shape == (2, network.num_features, side // output_stride, side // output_stride)


def test_the_output_stride_changes_no_weight(name: str) -> None:
    usual, fine = build(name), build(name, output_stride=8, seed=1)
    assert load_weights(fine, usual.state_dict(), where=name).classifier_loaded


def test_the_map_of_an_image_of_64_px_can_be_8_by_8_and_differs_from_place_to_place(name: str) -> None:
    network = build(name, output_stride=8).eval()
    with torch.no_grad():
        features = network.forward_features(images(1, 3, 64, 64))
    assert features.shape[2:] == (8, 8)
    assert (features.std(dim=(2, 3)) > 0).any()


def test_an_image_too_small_for_its_halvings_is_refused(name: str) -> None:
    with pytest.raises(KineflowError, match="2x2 px are too small"):
        build(name)(images(1, 3, 2, 2))


def test_forward_is_features_then_head(name: str) -> None:
    network = build(name).eval()
    x = images(2, 3, 64, 64)
    with torch.no_grad():
        features = network.forward_features(x)
        seen = network.forward_head(features, pre_logits=True)
        torch.testing.assert_close(network.forward_head(features), network(x))
        torch.testing.assert_close(network.get_submodule(network.classifier_name)(seen), network(x))
    assert features.shape[:2] == (2, network.num_features)
    assert seen.shape == (2, network.head_hidden_size)


def test_features_are_rectified(name: str) -> None:
    with torch.no_grad():
        assert build(name).eval().forward_features(images(1, 3, 64, 64)).min() == 0


def test_headless_the_output_is_what_a_classifier_would_see(name: str) -> None:
    network = build(name, num_classes=0).eval()
    assert network.num_classes == 0
    assert not [key for key in network.state_dict() if key.startswith(f"{network.classifier_name}.")]
    x = images(2, 3, 64, 64)
    with torch.no_grad():
        assert network(x).shape == (2, network.head_hidden_size)
        torch.testing.assert_close(network(x), network.forward_head(network.forward_features(x), pre_logits=True))
    network.reset_classifier(CLASSES)
    with torch.no_grad():
        assert network(x).shape == (2, CLASSES)


def test_reset_classifier_changes_the_classes_and_nothing_else(name: str) -> None:
    network = build(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.reset_classifier(7)
    assert network.num_classes == 7
    after = network.state_dict()
    assert list(after) == list(before)
    changed = {key for key, value in after.items() if not torch.equal(before[key], value)}
    assert changed == {f"{network.classifier_name}.weight", f"{network.classifier_name}.bias"}


def test_a_fresh_classifier_follows_the_network_s_dtype_and_device(name: str) -> None:
    with torch.device("meta"):
        network = build(name).to(torch.float64)
    network.reset_classifier(3)
    head = [value for key, value in network.state_dict().items() if key.startswith(network.classifier_name)]
    assert {(value.dtype, value.device.type) for value in head} == {(torch.float64, "meta")}


def test_a_fresh_classifier_starts_without_a_preference(name: str) -> None:
    state = build(name, num_classes=400).state_dict()
    weight, bias = (state[f"{build(name).classifier_name}.{part}"] for part in ("weight", "bias"))
    assert weight.std() == pytest.approx(0.01, rel=0.1)
    assert not bias.any()


def test_every_parameter_learns(name: str) -> None:
    network = build(name)
    nn.functional.cross_entropy(network(images(4, 3, 64, 64)), torch.tensor([0, 1, 2, 3])).backward()
    idle = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


@pytest.mark.slow
def test_a_narrow_network_fits_a_few_images_in_seconds(name: str) -> None:
    without_norm = {"dropout_fc6": 0.0} if name == "vgg16" else {}
    network = build(name, num_classes=4, dropout=0.0, **without_norm)
    tinted = images(8, 3, 64, 64) + 2 * images(8, 3, 1, 1)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-4 if without_norm else 1e-3)
    for _ in range(30):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(network(tinted), torch.arange(8) % 4)
        loss.backward()
        optimiser.step()
    assert loss < 0.5


@pytest.mark.slow
def test_responses_neither_fade_nor_grow_at_any_width(name: str) -> None:
    for width in (0.125, 0.5):
        with torch.no_grad():
            features = build(name, width=width).train().forward_features(images(4, 3, 64, 64))
        assert 0.05 < features.std() < 20


def test_images_of_a_batch_do_not_see_each_other(name: str) -> None:
    network = build(name).eval()
    x = images(3, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1:2], network(x[1:2]), rtol=1e-4, atol=1e-5)


def test_dropout_acts_before_the_classifier_and_in_training_only(name: str) -> None:
    network = build(name, num_classes=0, width=0.25, dropout=0.8, **({"dropout_fc6": 0.0} if name == "vgg16" else {}))
    features = torch.ones(64, network.num_features, 2, 2)
    kept = network.eval().forward_head(features, pre_logits=True) != 0
    torch.testing.assert_close(network(images(1, 3, 64, 64)), network(images(1, 3, 64, 64)), rtol=0, atol=0)
    dropped = network.train().forward_head(features)[kept] == 0
    assert 0.75 < dropped.float().mean() < 0.85


@pytest.mark.slow
def test_width_scales_channels_in_multiples_of_eight(name: str) -> None:
    with torch.device("meta"):
        whole, half, least = (build(name, width=width, num_classes=0) for width in (1.0, 0.5, 0.001))
    assert half.num_features == whole.num_features // 2
    assert half.stem.out_channels == whole.stem.out_channels // 2
    assert least.stem.out_channels == 8
    layers = [layer for layer in half.modules() if isinstance(layer, nn.Conv2d)]
    assert all(layer.out_channels % 8 == 0 for layer in layers)
    assert sum(p.numel() for p in half.parameters()) < 0.3 * sum(p.numel() for p in whole.parameters())


def test_the_seed_decides_the_weights(name: str) -> None:
    first, again, other = (build(name, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_a_checkpoint_of_other_classes_leaves_the_classifier_out(name: str) -> None:
    source, target = build(name, num_classes=10), build(name, seed=1)
    report = load_weights(target, source.state_dict(), where="published.pth")
    assert (report.classes_in_checkpoint, report.classes_in_network, report.classifier_loaded) == (10, CLASSES, False)
    theirs, ours = source.state_dict(), target.state_dict()
    assert all(torch.equal(theirs[key], ours[key]) for key in ours if not key.startswith(target.classifier_name))


def test_a_checkpoint_that_lacks_a_tensor_is_refused(name: str) -> None:
    network = build(name)
    state = dict(network.state_dict())
    del state[f"{network.stem_name}.weight"]
    with pytest.raises(KineflowError, match=r"missing \(1\)"):
        load_weights(network, state, where="published.pth")


def test_the_first_normalisation_is_the_stem_s(name: str) -> None:
    """Partial batch normalisation (TSN) leaves the first one free, and finds it by the order of the modules."""
    network = build(name)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)]
    assert layers[0] is network.stem
    has_norms = any(isinstance(layer, nn.BatchNorm2d) for layer in layers)
    assert has_norms == (name not in ("vgg16", "googlenet_caffe"))
    assert not has_norms or isinstance(layers[1], nn.BatchNorm2d)


def test_stages_and_the_classifier_are_all_of_the_network(name: str) -> None:
    network = build(name)
    modules = [f"{module}." for stage in network.stage_modules() for module in stage]
    behind = [key for key, _ in network.named_parameters() if not key.startswith(tuple(modules))]
    assert behind == [f"{network.classifier_name}.weight", f"{network.classifier_name}.bias"]
    order = [key for key, _ in network.named_parameters()][:-2]
    firsts = [next(at for at, key in enumerate(order) if key.startswith(module)) for module in modules]
    assert firsts == sorted(firsts)


@pytest.mark.parametrize("wrong", [{"width": 0.0}, {"width": 17.0}, {"dropout": 1.0}, {"output_stride": 4}])
def test_impossible_values_are_named(name: str, wrong: dict[str, float]) -> None:
    with pytest.raises(KineflowError, match=next(iter(wrong))):
        build(name, **wrong)
