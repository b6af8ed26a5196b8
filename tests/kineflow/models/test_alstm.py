from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kineflow.models.alstm import ALSTM, AdditiveAttention, CubeRegression, LocationAttention
from kineflow.models.recurrent import LSTMCell
from kineflow.storage.errors import KineflowError

B, T, N, C, H, D, K = 2, 4, 9, 6, 5, 7, 3


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def build(**keywords: object) -> ALSTM:
    torch.manual_seed(0)
    network = ALSTM(**{"num_classes": K, "in_channels": C, "cells": N, "hidden": H, "head_width": D, **keywords})  # type: ignore[arg-type]
    for parameter in network.parameters():  # large enough for every path to show
        nn.init.normal_(parameter, std=0.5)
    return network.eval()


def regions(*, seed: int = 1) -> Tensor:
    return torch.randn(B, T, N, C, generator=torch.Generator().manual_seed(seed))


def lstm_step(cell: LSTMCell, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f, o, g = (cell.input.weight @ x + cell.recurrent.weight @ h + cell.input.bias).view(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def naive(network: ALSTM, clip: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [T,K] and attention [T,N] of one clip [T,N,C], from the equations, region by region."""
    m = sum(clip[t, i] for t in range(T) for i in range(N)) / (T * N)
    h = [torch.tanh(f.weight @ m + f.bias) for f in network.initial_hidden]
    c = [torch.tanh(f.weight @ m + f.bias) for f in network.initial_memory]
    logits, attention = [], []
    for t in range(T):
        if isinstance(network.attention, LocationAttention):
            e = [network.attention.location.weight[i] @ h[-1] for i in range(N)]
        elif isinstance(network.attention, AdditiveAttention):
            a = network.attention
            e = []
            for i in range(N):
                key = a.from_region.weight @ clip[t, i] + a.from_region.bias
                for layer in a.deeper:
                    key = layer(key)
                e.append(a.score.weight[0] @ torch.tanh(key + a.from_state.weight @ h[-1]) + a.score.bias[0])
        else:
            e = [torch.zeros(())] * N
        l = torch.stack(e).exp() / sum(score.exp() for score in e)  # noqa: E741
        x = sum(l[i] * clip[t, i] for i in range(N))
        if network.kind == "max":
            x = clip[t].amax(dim=0)
        for layer, cell in enumerate(network.lstm):
            h[layer], c[layer] = lstm_step(cell, x, h[layer], c[layer])
            x = h[layer]
        first = network.head.hidden[0]
        logits.append(network.head.classifier(torch.tanh(first.weight @ h[-1] + first.bias)))
        attention.append(l)
    return torch.stack(logits), torch.stack(attention)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("attention", ["location", "additive", "average", "max"])
def test_it_is_the_equations(attention: str, layers: int) -> None:
    network = build(attention=attention, layers=layers)
    x = regions()
    logits, weights = network.forward_steps(x)
    for clip in range(B):
        expected, attended = naive(network, x[clip])
        torch.testing.assert_close(logits[clip], expected)
        if weights is not None:
            torch.testing.assert_close(weights[clip], attended)
    assert (weights is None) == (attention in ("average", "max"))


def test_deeper_attention_is_the_equations() -> None:
    network = build(attention="additive", attention_layers=3, layers=1)
    x = regions()
    kinds = [type(layer) for layer in network.attention.deeper]  # type: ignore[union-attr]
    assert kinds == [nn.Linear, nn.Tanh, nn.Linear]
    torch.testing.assert_close(network.forward_steps(x).logits[0], naive(network, x[0])[0])


def test_parameters_of_the_released_configurations() -> None:
    with torch.device("meta"):
        ucf11 = ALSTM(num_classes=11, layers=1, attention="additive")
        hmdb51 = ALSTM(num_classes=51, layers=1, attention="additive", attention_layers=3, hidden=1024, head_width=1024)
    assert parameters(ucf11) == 6_040_588
    assert parameters(hmdb51) == 15_792_180


def test_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        network = ALSTM(num_classes=11)
    assert [parameters(cell) for cell in network.lstm] == [3_147_776, 2_099_200, 2_099_200]
    assert parameters(network.lstm) == 7_346_176
    assert parameters(network.attention) == 25_088  # type: ignore[arg-type]
    assert parameters(network.head.hidden) == 262_656
    assert parameters(network.head.classifier) == 5_643
    maps = [*network.initial_hidden, *network.initial_memory]
    assert [parameters(f) for f in maps] == [524_800] * 6
    assert parameters(network) == 7_346_176 + 25_088 + 262_656 + 5_643 + 6 * 524_800


def test_parameters_of_the_regression_on_the_whole_cube() -> None:
    with torch.device("meta"):
        network = CubeRegression(num_classes=11)
    assert network.head_hidden_size == 50_176
    assert parameters(network) == 11 * 50_176 + 11


def test_pooled_baselines_differ_from_attention_in_the_pooling_alone() -> None:
    sizes = {kind: parameters(build(attention=kind)) for kind in ("location", "average", "max")}
    assert sizes["average"] == sizes["max"] == sizes["location"] - N * H


def test_even_attention_is_the_average_pooled_baseline() -> None:
    network, baseline = build(), build(attention="average")
    nn.init.zeros_(network.attention.location.weight)  # type: ignore[union-attr, arg-type]
    baseline.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("attention.")})
    logits, attention = network.forward_steps(regions())
    assert attention is not None
    torch.testing.assert_close(attention, torch.full((B, T, N), 1 / N))
    torch.testing.assert_close(logits, baseline.forward_steps(regions()).logits)


def test_the_regression_sees_each_step_by_itself() -> None:
    torch.manual_seed(0)
    network = CubeRegression(num_classes=K, in_channels=C, cells=N)
    x = regions()
    scores = network.head.classifier
    assert isinstance(scores, nn.Linear)
    torch.testing.assert_close(network.forward_steps(x).logits, x.flatten(2) @ scores.weight.T + scores.bias)


def test_maps_are_regions_row_by_row() -> None:
    network = build()
    x = regions()
    as_maps = x.transpose(2, 3).view(B, T, C, 3, 3)
    of_regions, of_maps = network.forward_steps(x), network.forward_steps(as_maps)
    torch.testing.assert_close(of_maps.logits, of_regions.logits)
    assert of_maps.attention is not None
    assert of_regions.attention is not None
    torch.testing.assert_close(of_maps.attention, of_regions.attention.view(B, T, 3, 3))


def without_initial_states(network: ALSTM) -> ALSTM:
    """The initial states see the mean of the whole clip; without them only what runs step by step is left."""
    for f in [*network.initial_hidden, *network.initial_memory]:
        nn.init.zeros_(f.weight)
    return network


@pytest.mark.parametrize("attention", ["location", "additive"])
def test_attention_sees_the_past_and_in_the_released_form_the_present(attention: str) -> None:
    network = without_initial_states(build(attention=attention, layers=2))
    x = regions().requires_grad_()
    logits, weights = network.forward_steps(x)
    assert weights is not None
    probe = torch.randn(N, generator=torch.Generator().manual_seed(2))  # the sum itself is constant
    for step in range(T):
        (looked,) = torch.autograd.grad((weights[:, step] @ probe).sum(), x, retain_graph=True, allow_unused=True)
        seen = torch.zeros(T, dtype=torch.bool) if looked is None else looked.abs().sum(dim=(0, 2, 3)) > 1e-12
        last = step if attention == "additive" else step - 1
        assert seen.tolist() == [earlier <= last for earlier in range(T)]
        (answered,) = torch.autograd.grad(logits[:, step].sum(), x, retain_graph=True)
        assert (answered.abs().sum(dim=(0, 2, 3)) > 0).tolist() == [earlier <= step for earlier in range(T)]


def test_the_first_attention_depends_on_the_initial_state_and_so_on_the_whole_clip() -> None:
    network = build()
    x = regions().requires_grad_()
    weights = network.forward_steps(x).attention
    assert weights is not None
    (gradient,) = torch.autograd.grad(weights[:, 0, 0].sum(), x)
    torch.testing.assert_close(gradient, gradient[:, :1, :1].expand_as(gradient))  # by the mean over steps and cells
    assert gradient.abs().sum() > 0


def test_location_attention_reads_the_top_layer() -> None:
    network = build(layers=3)
    seen: list[Tensor] = []
    assert network.attention is not None
    network.attention.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[1]))
    hidden = network.unroll(regions()).hidden
    for step in range(1, T):
        assert torch.equal(seen[step], hidden[:, step - 1])


def test_dropout_lies_between_layers_and_not_on_recurrent_connections() -> None:
    network = build(layers=2, dropout=0.5).train()
    inputs: list[Tensor] = []
    states: list[Tensor] = []
    network.lstm[1].register_forward_hook(lambda layer, given, output: inputs.append(given[0]))
    network.lstm[1].register_forward_hook(lambda layer, given, output: states.append(given[1].hidden))
    network.forward_steps(regions())
    assert 0.2 < (torch.stack(inputs) == 0).float().mean() < 0.8
    assert not (torch.stack(states) == 0).any()


def test_published_rates_of_dropout() -> None:
    with torch.device("meta"):
        network = ALSTM(num_classes=11)
    assert [network.dropout.p, network.head.dropout_state.p, network.head.dropout.p] == [0.5, 0.5, 0.5]


def test_weights_are_drawn_as_released() -> None:
    torch.manual_seed(0)
    network = ALSTM(num_classes=K, in_channels=64, cells=N, hidden=64, head_width=32, layers=1, attention="additive",
                    attention_layers=2)  # fmt: skip
    attention = network.attention
    assert isinstance(attention, AdditiveAttention)
    cell = network.lstm[0]
    square = [*cell.recurrent.weight.chunk(4), *cell.input.weight.chunk(4), network.initial_hidden[0].weight,
              attention.from_state.weight, attention.deeper[0].weight]  # fmt: skip
    for weight in square:
        torch.testing.assert_close(weight @ weight.T, torch.eye(64), rtol=0, atol=1e-4)
    assert not torch.equal(square[0], square[1])
    for weight in (attention.from_region.weight, network.head.hidden[0].weight, attention.score.weight):
        assert 0.007 < weight.std() < 0.013
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name  # the forget gate's too


def test_a_multi_label_network_scores_classes_one_by_one() -> None:
    network = build(multi_label=True)
    x = regions()
    expected = network.forward_steps(x).logits.sigmoid().mean(dim=1)
    torch.testing.assert_close(network(x).sigmoid(), expected)


@pytest.mark.parametrize("wrong", [{"cells": 0}, {"scored_steps": -1}])
def test_impossible_values_of_the_regression_are_named(wrong: dict[str, int]) -> None:
    with pytest.raises(KineflowError, match=next(iter(wrong))):
        CubeRegression(num_classes=K, in_channels=C, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"layers": 0},
        {"cells": 0},
        {"attention": "hard"},
        {"attention_layers": 0},
        {"dropout": 1.0},
        {"scored_steps": -1},
    ],
)
def test_impossible_values_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(KineflowError, match=next(iter(wrong))):
        build(**wrong)


@pytest.mark.slow
def test_a_real_batch_of_paper_scale_passes_through() -> None:
    network = ALSTM(num_classes=11)
    logits, attention = network.forward_steps(torch.rand(2, 30, 49, 1024))
    assert logits.shape == (2, 30, 11)
    assert attention is not None
    assert attention.shape == (2, 30, 49)
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
