"""Golden figures come from the public PyTorch S3D, run on the same weights and the same clips."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kineflow.models.registry import create_model
from kineflow.models.s3d import S3D, Halve, SelfGate
from kineflow.storage.errors import KineflowError


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def build(name: str, **keywords: float) -> S3D:
    network = create_model(name, num_classes=keywords.pop("num_classes", 5), **keywords)
    assert isinstance(network, S3D)
    return network


def numpy_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """Weights that no version of torch's generators or initialisers changes."""
    rng = np.random.default_rng(7)
    state = {}
    for name, tensor in sorted(network.state_dict().items()):
        if name.endswith("num_batches_tracked"):
            state[name] = tensor
            continue
        drawn = rng.standard_normal(tuple(tensor.shape)).astype("float32")
        if tensor.ndim > 1:
            drawn *= (2 / drawn[0].size) ** 0.5
        elif name.endswith("running_var"):
            drawn = 1 + 0.5 * np.tanh(drawn)
        else:
            drawn = (1 if name.endswith(".weight") else 0) + 0.1 * drawn
        state[name] = torch.from_numpy(drawn)
    return state


def test_parameter_counts_of_the_paper_scale() -> None:
    with torch.device("meta"):
        ungated, gated = build("s3d", num_classes=400), build("s3d_g", num_classes=400)
    assert parameters(ungated) == 8_320_048
    assert parameters(gated) == 8_320_048 + 1_219_328
    assert ungated.num_features == gated.num_features == 1024


def test_keys_are_those_of_the_public_checkpoint() -> None:
    with torch.device("meta"):
        state = build("s3d").state_dict()
    expected = {
        "features.0.0.0.weight": (64, 3, 1, 7, 7),
        "features.0.1.0.weight": (64, 64, 7, 1, 1),
        "features.0.1.1.running_var": (64,),
        "features.2.0.weight": (64, 64, 1, 1, 1),
        "features.3.1.0.weight": (192, 192, 3, 1, 1),
        "features.5.branch0.0.weight": (64, 192, 1, 1, 1),
        "features.9.branch1.1.0.0.weight": (224, 112, 1, 3, 3),
        "features.12.branch2.1.1.1.bias": (128,),
        "features.15.branch3.1.0.weight": (128, 832, 1, 1, 1),
        "classifier.1.weight": (5, 1024, 1, 1, 1),
        "classifier.1.bias": (5,),
    }
    assert {name: tuple(state[name].shape) for name in expected} == expected
    assert len(state) == 77 * 6 + 2  # convolution and normalisation: one and five tensors


def test_gates_add_keys_and_change_none() -> None:
    with torch.device("meta"):
        ungated, gated = build("s3d").state_dict(), build("s3d_g").state_dict()
    gates = gated.keys() - ungated.keys()
    assert ungated.keys() < gated.keys()
    assert len(gates) == 9 * 4 + 1
    assert all(name.endswith("project.weight") for name in gates)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (16, [-0.056178, 12.519336, 6.624595, -0.259509, -7.541180, 0.512031]),
        pytest.param(32, [-3.468095, 15.134307, 4.711334, -1.423537, -2.991213, 4.550898], marks=pytest.mark.long),
    ],
)
def test_outputs_are_those_of_the_public_network(frames: int, expected: list[float]) -> None:
    network = build("s3d", num_classes=400).eval()
    network.load_state_dict(numpy_weights(network))
    x = np.random.default_rng(11).standard_normal((1, 3, frames, 224, 224)).astype("float32")
    with torch.inference_mode():
        logits = network(torch.from_numpy(x))[0]
    torch.testing.assert_close(logits[:6], torch.tensor(expected), rtol=1e-3, atol=1e-3)


def test_output_of_a_narrow_gated_network() -> None:
    network = build("s3d_g", width=0.125).eval()
    network.load_state_dict(numpy_weights(network))
    x = np.random.default_rng(11).standard_normal((2, 3, 12, 64, 64)).astype("float32")
    expected = [[0.01271, -0.14685, 0.03500, -0.29628, -0.16100], [0.01394, -0.14529, 0.03126, -0.29596, -0.15827]]
    with torch.inference_mode():
        logits = network(torch.from_numpy(x))
    torch.testing.assert_close(logits, torch.tensor(expected), rtol=1e-3, atol=1e-4)


def test_shapes_at_paper_scale_are_those_of_the_table() -> None:
    with torch.device("meta"):
        network = build("s3d_g", num_classes=400).eval()
        x = torch.empty(1, 3, 64, 224, 224)
    seen = []
    for stage in network.features:
        x = stage(x)
        seen.append(tuple(x.shape[1:]))
    assert seen == [
        (64, 32, 112, 112), (64, 32, 56, 56), (64, 32, 56, 56), (192, 32, 56, 56), (192, 32, 28, 28),
        (256, 32, 28, 28), (480, 32, 28, 28), (480, 16, 14, 14),
        (512, 16, 14, 14), (512, 16, 14, 14), (512, 16, 14, 14), (528, 16, 14, 14), (832, 16, 14, 14),
        (832, 8, 7, 7), (832, 8, 7, 7), (1024, 8, 7, 7),
    ]  # fmt: skip
    assert network.forward_head(x).shape == (1, 400)


def test_the_head_averages_scores_over_seven_windows_of_two_steps() -> None:
    network = build("s3d", width=0.125).eval()
    features = torch.randn(1, network.num_features, 8, 7, 7, generator=torch.Generator().manual_seed(0))
    steps = features.mean(dim=(3, 4))  # [1,F,8]
    windows = (steps[:, :, :-1] + steps[:, :, 1:]) / 2
    scores = torch.einsum("bft,kf->bkt", windows, network.classifier[1].weight[:, :, 0, 0, 0])
    expected = scores.mean(dim=2) + network.classifier[1].bias
    with torch.no_grad():
        torch.testing.assert_close(network.forward_head(features), expected)
        torch.testing.assert_close(network.forward_head(features, pre_logits=True), windows.mean(dim=2))


def test_width_scales_channels_in_multiples_of_eight() -> None:
    with torch.device("meta"):
        half, narrow = build("s3d", width=0.5), build("s3d", width=0.01)
    assert half.num_features == 512
    assert half.stem.out_channels == 32
    assert narrow.num_features == 4 * 8
    for network in (half, narrow):
        assert all(layer.num_features % 8 == 0 for layer in network.modules() if isinstance(layer, nn.BatchNorm3d))


@pytest.mark.parametrize(("stride", "expected"), [((2, 2), (1, 2, 2)), ((1, 2), (3, 2, 2)), ((2, 1), (1, 4, 4))])
def test_stem_strides_keep_more_of_small_clips(stride: tuple[int, int], expected: tuple[int, int, int]) -> None:
    network = build("s3d", width=0.125, stem_temporal_stride=stride[0], stem_spatial_stride=stride[1]).eval()
    assert network.forward_features(torch.zeros(1, 3, 12, 64, 64)).shape[2:] == expected


def test_a_gate_weighs_each_channel_by_the_clip_as_a_whole() -> None:
    gate = SelfGate(2)
    weights = torch.tensor([[0.5, -1.0], [2.0, 0.25]])
    gate.project.weight.data = weights[:, :, None, None, None]
    x = torch.randn(1, 2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    mean = x.mean(dim=(2, 3, 4))[0]
    expected = x * torch.sigmoid(weights @ mean)[None, :, None, None, None]
    torch.testing.assert_close(gate(x), expected)


def test_fresh_gates_are_half_open() -> None:
    torch.manual_seed(0)
    gates = [layer for layer in build("s3d_g", width=0.125).modules() if isinstance(layer, SelfGate)]
    assert len(gates) == 9 * 4 + 1
    for gate in gates:
        channels = gate.project.in_channels
        opened = gate(torch.ones(1, channels, 2, 2, 2))
        assert (opened - 0.5).abs().max() < 0.05
        assert opened.std() > 0


@pytest.mark.parametrize("side", [1, 2, 3, 8])
def test_halve_never_asks_for_more_than_there_is(side: int) -> None:
    x = torch.arange(float(side)).expand(1, 1, side, side, side)
    halved = Halve()(x)
    assert halved.shape[2:] == (max(1, side // 2),) * 3
    assert halved[0, 0, 0, 0].tolist() == ([0.0] if side == 1 else list(range(1, side, 2)))


def test_bn_momentum_reaches_every_normalisation() -> None:
    for momentum in (0.001, 0.1):
        network = build("s3d_g", width=0.125, bn_momentum=momentum)
        norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm3d)]
        assert {(layer.momentum, layer.eps) for layer in norms} == {(momentum, 1e-3)}


def test_dropout_acts_in_training_with_its_probability() -> None:
    torch.manual_seed(0)
    network = build("s3d", width=0.125, dropout=0.5)
    network.reset_classifier(0)
    share = (network.forward_head(torch.ones(64, network.num_features, 1, 1, 1)) == 0).float().mean()
    assert 0.45 < share < 0.55


def test_s3d_g_starts_as_the_s3d_it_is_given() -> None:
    torch.manual_seed(0)
    plain, gated = build("s3d", width=0.125), build("s3d_g", width=0.125)
    plain.load_state_dict(numpy_weights(plain))
    gated.load_state_dict(gated.adapt_checkpoint(plain.state_dict()))
    x = torch.randn(2, 3, 12, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(gated.eval()(x), plain.eval()(x))
    gated.train()(x).sum().backward()
    assert all(g.project.weight.grad.abs().sum() > 0 for g in gated.modules() if isinstance(g, SelfGate))


def test_weights_with_gates_are_taken_as_they_are() -> None:
    state = build("s3d_g", width=0.125).state_dict()
    adapted = build("s3d_g", width=0.125).adapt_checkpoint(state)
    assert all(torch.equal(adapted[name], state[name]) for name in state)


@pytest.mark.parametrize(
    "wrong",
    [{"width": 0.0}, {"width": 17.0}, {"dropout": 1.0}, {"stem_temporal_stride": 3}, {"stem_spatial_stride": 0},
     {"bn_momentum": 0.0}],
)  # fmt: skip
def test_impossible_values_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(KineflowError, match=next(iter(wrong))):
        build("s3d", **wrong)


@pytest.mark.long
def test_a_real_clip_of_paper_scale_passes_through() -> None:
    network = build("s3d_g", num_classes=400).eval()
    with torch.inference_mode():
        logits = network(torch.randn(1, 3, 64, 224, 224, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (1, 400)
    assert logits.isfinite().all()


@pytest.mark.slow
def test_an_earlier_last_stage_keeps_the_keys_and_outputs_of_what_is_left() -> None:
    whole = create_model("s3d_g", num_classes=0, width=0.25).eval()
    short = create_model("s3d_g", num_classes=0, width=0.25, last_stage="Mixed3c").eval()
    left = {name: weights for name, weights in whole.state_dict().items() if name in short.state_dict()}
    short.load_state_dict(left)
    clip = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        expected = whole.features[:7](clip)  # type: ignore[index]
        assert torch.equal(short.forward_features(clip), expected)
    assert short.num_features == expected.shape[1]


def test_an_unknown_last_stage_is_refused() -> None:
    with pytest.raises(KineflowError, match=r"last_stage .* Mixed5c"):
        create_model("s3d", num_classes=2, last_stage="Mixed2b")
