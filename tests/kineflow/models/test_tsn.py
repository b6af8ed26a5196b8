from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from kineflow.models.cross_modality import initialise_across_modality
from kineflow.models.network import VideoNetwork
from kineflow.models.registry import create_backbone, create_model
from kineflow.models.weights import load_weights
from kineflow.storage.errors import KineflowError

K = 4


def build(*, seed: int = 0, **hyper) -> VideoNetwork:
    torch.manual_seed(seed)
    given = {"num_classes": K, "backbone": "resnet50", "width": 0.125, "dropout": 0.0} | hyper
    return create_model("tsn", **given)


def clips(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_parameters_are_the_paper_s() -> None:
    with torch.device("meta"):
        network = create_model("tsn", num_classes=101)
    assert sum(parameter.numel() for parameter in network.parameters()) == 10_353_733 + 20_032


@pytest.mark.parametrize(("channels", "length", "planes"), [(3, 1, 3), (2, 5, 10), (3, 5, 15)])
def test_a_snippet_is_laid_out_as_channels_step_by_step(channels: int, length: int, planes: int) -> None:
    network = build(in_channels=channels, snippet_frames=length).eval()
    assert network.stem.in_channels == planes
    seen: list[torch.Tensor] = []
    network.stem.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    x = clips(2, channels, 3 * length, 32, 32)
    network(x)
    assert seen[0].shape == (2 * 3, planes, 32, 32)  # the snippets of all videos are one batch
    for video in range(2):
        for snippet in range(3):
            steps = [x[video, :, snippet * length + step] for step in range(length)]  # u₁ v₁ u₂ v₂ …
            torch.testing.assert_close(seen[0][video * 3 + snippet], torch.cat(steps))


def test_all_snippets_share_one_network() -> None:
    network = build().eval()
    x = clips(2, 3, 3, 32, 32)
    with torch.no_grad():
        apart = [network(x[:, :, place : place + 1]) for place in range(3)]
        torch.testing.assert_close(network(x), torch.stack(apart).mean(dim=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("consensus", ["average", "max", "weighted"])
def test_the_consensus_is_over_scores_before_the_softmax(consensus: str) -> None:
    network = build(consensus=consensus).eval()
    with torch.no_grad():
        network.get_submodule(network.classifier_name).weight.mul_(1000)
        x = clips(1, 3, 3, 32, 32)
        scores = torch.cat([network.backbone(x[:, :, place]) for place in range(3)])
        expected = scores.amax(dim=0) if consensus == "max" else scores.mean(dim=0)
        torch.testing.assert_close(network(x)[0], expected, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(scores.softmax(dim=1).mean(dim=0), network(x)[0].softmax(dim=0), atol=1e-3)


def test_snippets_vote_without_order_and_their_frames_have_one() -> None:
    network = build(snippet_frames=2, in_channels=2).eval()
    x = clips(1, 2, 6, 32, 32)
    with torch.no_grad():
        network.get_submodule(network.classifier_name).weight.mul_(1000)
        torch.testing.assert_close(network(x[:, :, [4, 5, 0, 1, 2, 3]]), network(x), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(network(x[:, :, [1, 0, 3, 2, 5, 4]]), network(x), rtol=1e-3)


def test_the_gradient_of_the_loss_is_equation_3() -> None:
    network = build().eval()
    x, label = clips(1, 3, 3, 32, 32), torch.tensor([2])
    F.cross_entropy(network(x), label).backward()
    bias = network.get_submodule(network.classifier_name).bias
    with torch.no_grad():
        expected = network(x)[0].softmax(dim=0) - F.one_hot(label[0], K)  # Σ_k ∂L/∂G · 1/n
    torch.testing.assert_close(bias.grad, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "backbone",
    ["bn_inception", "efficientnet_lite0", "googlenet", "googlenet_caffe", "resnet50", "resnet50_caffe", "vgg16"],
)
def test_every_backbone_makes_a_tsn(backbone: str) -> None:
    network = build(backbone=backbone, in_channels=2, snippet_frames=5, output_stride=16).eval()
    with torch.no_grad():
        x = clips(1, 2, 10, 64, 64)
        features = network.forward_features(x)
        assert features.shape[:3] == (1, network.num_features, 2)
        assert network.forward_head(features, pre_logits=True).shape == (1, network.head_hidden_size)
        assert network(x).shape == (1, K)


def test_the_classifier_is_drawn_as_published() -> None:
    network = build(num_classes=400, width=1.0)
    scores = network.get_submodule(network.classifier_name)
    assert scores.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert not scores.bias.any()


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "planes"), [(2, 10), (3, 15)])
def test_other_modalities_start_from_rgb_by_the_rule(channels: int, planes: int) -> None:
    rgb = build(backbone="bn_inception")
    other = build(backbone="bn_inception", in_channels=channels, snippet_frames=5, seed=1)
    initialise_across_modality(other, rgb)
    mean = rgb.stem.weight.mean(dim=1)
    assert other.stem.weight.shape[1] == planes
    for plane in range(planes):
        assert torch.equal(other.stem.weight[:, plane], mean)  # identical channels
    assert torch.equal(other.stem.bias, rgb.stem.bias)
    stem = f"{rgb.stem_name}.weight"
    same = {name: value for name, value in rgb.state_dict().items() if name != stem}
    assert all(torch.equal(other.state_dict()[name], value) for name, value in same.items())
    # Nothing is rescaled: a constant input answers planes / 3 times as strongly, before the bias.
    with torch.no_grad():
        flat = F.conv2d(torch.ones(1, planes, 16, 16), other.stem.weight)
        expected = planes / 3 * F.conv2d(torch.ones(1, 3, 16, 16), rgb.stem.weight)
        torch.testing.assert_close(flat, expected, rtol=1e-4, atol=1e-3)


def test_a_checkpoint_of_the_backbone_is_where_it_starts() -> None:
    published = create_backbone("resnet50", num_classes=10, width=0.125)
    for consensus in ("average", "weighted"):
        network = build(consensus=consensus, num_classes=0)
        load_weights(network, published.state_dict(), where="test")
        given = published.state_dict()
        assert all(torch.equal(value, given[name]) for name, value in network.backbone.state_dict().items())


def test_what_is_no_whole_snippet_is_refused() -> None:
    with pytest.raises(KineflowError, match="12 time steps are no snippets of 5"):
        build(snippet_frames=5)(clips(1, 3, 12, 32, 32))


@pytest.mark.parametrize("hyper", [{"segments": 0}, {"snippet_frames": 0}, {"consensus": "mean"}, {"backbone": "s3d"}])
def test_impossible_values(hyper: dict) -> None:
    with pytest.raises(KineflowError):
        build(**hyper)


@pytest.mark.long
@pytest.mark.parametrize(("channels", "length"), [(3, 1), (2, 5), (3, 5)])
def test_a_batch_at_full_size_learns(channels: int, length: int) -> None:
    torch.manual_seed(0)
    network = create_model("tsn", num_classes=101, in_channels=channels, snippet_frames=length)
    x = clips(2, channels, 3 * length, 224, 224)
    features = network.forward_features(x)
    assert features.shape == (2, 1024, 3, 7, 7)
    logits = network.forward_head(features)
    F.cross_entropy(logits, torch.tensor([5, 100])).backward()
    assert logits.shape == (2, 101)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
