from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kineflow.models.conv_lstm import ConvLSTMCell
from kineflow.models.map_attention import InitialMaps, MapAttention
from kineflow.models.recurrent import LSTMCell, SequenceNetwork
from kineflow.models.videolstm import (
    AdditiveALSTM,
    ConvALSTM,
    ConvLSTM,
    MotionALSTM,
    VectorLSTM,
    VideoLSTM,
    warm_start,
)
from kineflow.storage.errors import KineflowError

B, T, C, M, G, H, D, K = 2, 4, 5, 3, 4, 6, 7, 3
SMALL = {"num_classes": K, "in_channels": C, "hidden": H, "head_width": D}


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def loud(network: SequenceNetwork) -> None:
    """Weights large enough for every path to show."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.4)
    network.eval()


def a_conv_lstm(**keywords: object) -> ConvLSTM:
    network = ConvLSTM(**{**SMALL, "grid": G, **keywords})  # type: ignore[arg-type]
    loud(network)
    return network


def a_conv_alstm(**keywords: object) -> ConvALSTM:
    network = ConvALSTM(**{**SMALL, "grid": G, **keywords})  # type: ignore[arg-type]
    loud(network)
    return network


def a_videolstm(**keywords: object) -> VideoLSTM:
    network = VideoLSTM(**{**SMALL, "motion_channels": M, "grid": G, **keywords})  # type: ignore[arg-type]
    loud(network)
    return network


def a_motion_alstm(**keywords: object) -> MotionALSTM:
    network = MotionALSTM(**{**SMALL, "motion_channels": M, "cells": G * G, **keywords})  # type: ignore[arg-type]
    loud(network)
    return network


def maps(channels: int, *, seed: int = 1) -> Tensor:
    return torch.randn(B, T, channels, G, G, generator=torch.Generator().manual_seed(seed))


def same(layer: nn.Conv2d, x: Tensor) -> Tensor:
    bias = 0 if layer.bias is None else layer.bias[:, None, None]
    return F.conv2d(F.pad(x, [layer.kernel_size[0] // 2] * 4), layer.weight) + bias


def naive_cell(
    cell: ConvLSTMCell, x: Tensor, h: Tensor, c: Tensor, above: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    gates = same(cell.input, x) + same(cell.recurrent, h)
    if above is not None:
        gates = gates + same(cell.context, above)
    i, f, o, g = gates.chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def naive_attention(attention: MapAttention, x: Tensor, h: Tensor, above: Tensor | None = None) -> Tensor:
    drive = same(attention.from_input, x) + same(attention.from_state, h)
    if above is not None:
        drive = drive + same(attention.from_above, above)
    e = same(attention.score, drive.tanh())
    return e.exp() / e.exp().sum(dim=(2, 3), keepdim=True)


def naive_start(initial: InitialMaps, x: Tensor) -> tuple[Tensor, Tensor]:
    mean = x.mean(dim=1)
    return same(initial.hidden, mean).tanh(), same(initial.memory, mean).tanh()


def naive_head(network: SequenceNetwork, h: Tensor) -> Tensor:
    layer = network.head.hidden[0]  # type: ignore[index]
    return network.head.classifier(torch.tanh(h.flatten(1) @ layer.weight.T + layer.bias))


def test_conv_alstm_is_the_equations() -> None:
    network, x = a_conv_alstm(), maps(C)
    h, c = naive_start(network.initial, x)
    found = network.forward_steps(x)
    for t in range(T):
        attention = naive_attention(network.attention, x[:, t], h)  # by h of the step before
        h, c = naive_cell(network.cell, attention * x[:, t], h, c)
        torch.testing.assert_close(found.attention[:, t], attention[:, 0])  # type: ignore[index]
        torch.testing.assert_close(found.logits[:, t], naive_head(network, h))


@pytest.mark.parametrize("top_feeds", ["bottom", "attention"])
def test_videolstm_is_bottom_then_attention_then_top(top_feeds: str) -> None:
    network, x, motion = a_videolstm(top_feeds=top_feeds), maps(C), maps(M, seed=2)
    to_bottom = top_feeds == "bottom"
    h, c = naive_start(network.initial, x)
    h_b, c_b = naive_start(network.bottom_initial, motion)
    found = network.forward_steps(x, motion)
    for t in range(T):
        h_b, c_b = naive_cell(network.bottom, motion[:, t], h_b, c_b, h if to_bottom else None)
        attention = naive_attention(network.attention, x[:, t], h_b, None if to_bottom else h)
        h, c = naive_cell(network.top, attention * x[:, t], h, c)
        torch.testing.assert_close(found.attention[:, t], attention[:, 0])  # type: ignore[index]
        torch.testing.assert_close(found.logits[:, t], naive_head(network, h))


def test_motion_alstm_is_bottom_then_attention_then_top() -> None:
    network, x = a_motion_alstm(), maps(C)
    motion = torch.randn(B, T, M, generator=torch.Generator().manual_seed(2))

    def start(initial: nn.Module, mean: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.tanh(mean @ f.weight.T + f.bias) for f in (initial.hidden, initial.memory))  # type: ignore[union-attr, operator]

    def step(cell: LSTMCell, x: Tensor, h: Tensor, c: Tensor, above: Tensor | None = None) -> tuple[Tensor, Tensor]:
        gates = x @ cell.input.weight.T + cell.input.bias + h @ cell.recurrent.weight.T
        if above is not None:
            gates = gates + above @ cell.context.weight.T
        i, f, o, g = gates.chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    a = network.attention
    h, c = start(network.initial, x.mean(dim=(1, 3, 4)))
    h_b, c_b = start(network.bottom_initial, motion.mean(dim=1))
    found = network.forward_steps(x, motion)
    for t in range(T):
        h_b, c_b = step(network.bottom, motion[:, t], h_b, c_b, h)
        regions = x[:, t].flatten(2).transpose(1, 2)  # [B,N,C]
        z = torch.tanh(regions @ a.from_region.weight.T + a.from_region.bias + (h_b @ a.from_state.weight.T)[:, None])
        weights = (z @ a.score.weight.T + a.score.bias)[..., 0].softmax(dim=1)
        h, c = step(network.top, (weights[..., None] * regions).sum(dim=1), h, c)
        torch.testing.assert_close(found.attention[:, t].flatten(1), weights)  # type: ignore[index]
        torch.testing.assert_close(found.logits[:, t], naive_head(network, h))


def test_conv_lstm_and_lstm_start_from_zeros() -> None:
    network, x = a_conv_lstm(), maps(C)
    h, _ = naive_cell(network.cell, x[:, 0], torch.zeros(B, H, G, G), torch.zeros(B, H, G, G))
    torch.testing.assert_close(network.forward_steps(x).logits[:, 0], naive_head(network, h))
    vectors = VectorLSTM(**SMALL)  # type: ignore[arg-type]
    loud(vectors)
    fc7 = x[..., 0, 0]
    gates = fc7[:, 0] @ vectors.cell.input.weight.T + vectors.cell.input.bias
    i, _, o, g = gates.chunk(4, dim=1)
    h = o.sigmoid() * (i.sigmoid() * g.tanh()).tanh()
    torch.testing.assert_close(vectors.forward_steps(fc7).logits[:, 0], naive_head(vectors, h))


def test_parameters_of_the_cells() -> None:
    with torch.device("meta"):
        conv, attends, motion = ConvLSTM(num_classes=101), ConvALSTM(num_classes=101), VideoLSTM(num_classes=101)
    assert parameters(conv.cell) == 18_876_416
    assert parameters(attends.cell) + parameters(attends.attention) == 19_401_729
    assert parameters(motion.bottom) == 3_147_776
    assert parameters(motion.bottom_initial) == 525_312
    assert parameters(motion.top) + parameters(motion.attention) == 19_401_729


def test_parameters_of_the_networks() -> None:
    with torch.device("meta"):
        attends, motion = ConvALSTM(num_classes=101), VideoLSTM(num_classes=101)
    assert parameters(attends.initial) == 4_719_616
    assert parameters(attends.head.hidden) == 25_691_136
    assert parameters(attends.head.classifier) == 103_525
    assert parameters(attends) == 49_916_006
    assert parameters(motion) == 49_916_006 + 3_147_776 + 525_312


def test_parameters_of_the_networks_with_vectors() -> None:
    with torch.device("meta"):
        lstm, attends = VectorLSTM(num_classes=101), AdditiveALSTM(num_classes=101)
        motion = MotionALSTM(num_classes=101)
    head = 512 * 1024 + 1024 + 103_525
    assert parameters(lstm) == 4 * (4096 * 512 + 512 * 512 + 512) + head
    attention = 2 * 512 * 512 + 512 + 512 + 1
    assert parameters(attends) == 4 * (2 * 512 * 512 + 512) + attention + 2 * (512 * 512 + 512) + head
    bottom = 4 * (4096 * 512 + 2 * 512 * 512 + 512) + 2 * (4096 * 512 + 512)
    assert parameters(motion) == parameters(attends) + bottom


def test_attention_multiplies_without_rescaling_unless_asked() -> None:
    x = maps(C)
    for rescale, scale in ((False, 1), (True, G * G)):
        network = a_conv_alstm(rescale=rescale)
        seen: list[Tensor] = []
        network.cell.register_forward_hook(lambda layer, inputs, output, seen=seen: seen.append(inputs[0]))
        attention = network.forward_steps(x).attention
        assert attention is not None
        torch.testing.assert_close(attention.sum(dim=(2, 3)), torch.ones(B, T))  # the maps themselves sum to 1
        torch.testing.assert_close(torch.stack(seen, dim=1), scale * attention[:, :, None] * x)


def no_initial_states(*initials: InitialMaps) -> None:
    """Initial states see the mean of the whole clip; without them what is left runs step by step."""
    for initial in initials:
        for layer in (initial.hidden, initial.memory):
            nn.init.zeros_(layer.weight)


def reaches(output: Tensor, x: Tensor) -> list[bool]:
    """Which steps of x [B,T,…] have a gradient from the sum of ``output``, randomly weighted."""
    probe = torch.randn(output.shape, generator=torch.Generator().manual_seed(5))
    (gradient,) = torch.autograd.grad((output * probe).sum(), x, retain_graph=True, allow_unused=True)
    if gradient is None:
        return [False] * T
    return [bool(step.abs().sum() > 1e-12) for step in gradient.unbind(dim=1)]


def up_to(step: int) -> list[bool]:
    return [earlier <= step for earlier in range(T)]


def test_conv_alstm_looks_by_the_present_frame_and_never_by_later_ones() -> None:
    network = a_conv_alstm()
    no_initial_states(network.initial)
    x = maps(C).requires_grad_()
    logits, attention = network.forward_steps(x)
    assert attention is not None
    for step in range(T):
        assert reaches(attention[:, step], x) == up_to(step)
        assert reaches(logits[:, step], x) == up_to(step)


def test_motion_of_this_very_step_decides_where_to_look() -> None:
    network = a_videolstm()
    no_initial_states(network.initial, network.bottom_initial)
    x, motion = maps(C).requires_grad_(), maps(M, seed=2).requires_grad_()
    logits, attention = network.forward_steps(x, motion)
    assert attention is not None
    for step in range(T):
        assert reaches(attention[:, step], motion) == up_to(step)
        assert reaches(attention[:, step], x) == up_to(step)
        assert reaches(logits[:, step], motion) == up_to(step)
        assert reaches(logits[:, step], x) == up_to(step)


def test_the_bottom_sees_appearance_only_through_the_top_of_the_step_before() -> None:
    network = a_videolstm()
    no_initial_states(network.initial, network.bottom_initial)
    bottoms: list[Tensor] = []
    network.attention.register_forward_hook(lambda layer, inputs, output: bottoms.append(inputs[1]))
    x, motion = maps(C).requires_grad_(), maps(M, seed=2).requires_grad_()
    network.forward_steps(x, motion)
    for step, bottom in enumerate(bottoms):
        assert reaches(bottom, motion) == up_to(step)
        assert reaches(bottom, x) == up_to(step - 1)
    network = a_videolstm(top_feeds="attention")
    bottoms.clear()
    network.attention.register_forward_hook(lambda layer, inputs, output: bottoms.append(inputs[1]))
    network.forward_steps(x, motion)
    assert all(reaches(bottom, x) == [False] * T for bottom in bottoms)


def test_the_head_sees_the_top_alone() -> None:
    network = a_videolstm()
    x, motion = maps(C), maps(M, seed=2).requires_grad_()
    nn.init.zeros_(network.attention.from_state.weight)  # attention no longer depends on the bottom
    assert reaches(network.forward_steps(x, motion).logits, motion) == [False] * T


def test_at_the_first_step_the_bottom_sees_the_tops_initial_state() -> None:
    network = a_videolstm()
    seen: list[Tensor] = []
    network.bottom.context.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    x = maps(C)
    hidden = network.unroll(x, maps(M, seed=2)).hidden
    torch.testing.assert_close(seen[0], naive_start(network.initial, x)[0])
    for step in range(1, T):
        assert torch.equal(seen[step], hidden[:, step - 1])


def test_attention_learns_from_the_answers_to_come() -> None:
    network = a_videolstm()
    loss = network.forward_steps(maps(C), maps(M, seed=2)).logits[:, -1].sum()
    loss.backward()
    for layer in (network.attention, network.bottom, network.bottom_initial, network.initial):
        for name, parameter in layer.named_parameters():
            assert name == "score.bias" or parameter.grad.abs().sum() > 0, name  # type: ignore[union-attr]


def test_kernels_are_those_of_the_released_configuration() -> None:
    with torch.device("meta"):
        network = VideoLSTM(num_classes=101)
    layers = {name: m.kernel_size[0] for name, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    assert {name for name, side in layers.items() if side == 3} == {
        "top.input", "top.recurrent", "initial.hidden", "initial.memory",
    }  # fmt: skip
    assert {side for name, side in layers.items() if name.startswith(("bottom", "attention"))} == {1}


def test_published_rates_of_dropout() -> None:
    with torch.device("meta"):
        conv, vectors = ConvALSTM(num_classes=101), VectorLSTM(num_classes=101)
    assert (conv.head.dropout_state.p, conv.head.dropout.p) == (0.0, 0.7)
    assert (vectors.head.dropout_state.p, vectors.head.dropout.p) == (0.5, 0.5)


def test_weights_are_drawn_as_released() -> None:
    torch.manual_seed(0)
    network = ConvALSTM(num_classes=K, in_channels=16, grid=2, hidden=25, head_width=64)

    def bound(weight: Tensor) -> float:
        return float(weight.detach().abs().max())

    assert 0.24 < bound(network.cell.input.weight) <= 1 / 4  # 16 channels come in
    assert 0.19 < bound(network.cell.recurrent.weight) <= 1 / 5
    assert 0.12 < bound(network.head.hidden[0].weight) <= 1 / 8  # type: ignore[index]  # 64 go out
    assert 0.7 < bound(network.attention.score.weight) <= 1
    for name, parameter in network.named_parameters():
        assert not name.endswith("bias") or not parameter.any(), name
    vectors = AdditiveALSTM(num_classes=K, in_channels=64, cells=4, hidden=64, head_width=64)
    for weight in (vectors.lstm[0].recurrent.weight, vectors.head.hidden[0].weight, vectors.initial_hidden[0].weight):
        assert 0.08 < weight.std() < 0.12


def test_warm_start_takes_bottom_from_flow_and_all_else_from_appearance() -> None:
    flow, appearance = a_conv_lstm(in_channels=M), a_conv_alstm()
    network = a_videolstm(bottom_kernel=3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fresh = warm_start(network, flow=flow, appearance=appearance)
    assert set(fresh) == {
        "bottom.context.weight", "bottom_initial.hidden.weight", "bottom_initial.hidden.bias",
        "bottom_initial.memory.weight", "bottom_initial.memory.bias",
    }  # fmt: skip
    after = network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in fresh)
    parents = {f"bottom.{name}": tensor for name, tensor in flow.cell.state_dict().items()}
    parents |= {f"top.{name}": tensor for name, tensor in appearance.cell.state_dict().items()}
    for part in ("attention", "initial", "head"):
        state = appearance.get_submodule(part).state_dict()
        parents |= {f"{part}.{name}": tensor for name, tensor in state.items()}
    assert parents.keys() | set(fresh) == after.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in parents.items())


def test_with_a_bottom_in_the_place_of_its_own_state_it_is_its_appearance_parent() -> None:
    flow, appearance, network = a_conv_lstm(in_channels=M), a_conv_alstm(), a_videolstm(bottom_kernel=3)
    warm_start(network, flow=flow, appearance=appearance)
    x, motion = maps(C), maps(M, seed=2)
    nn.init.zeros_(network.attention.from_state.weight)
    nn.init.zeros_(appearance.attention.from_state.weight)
    torch.testing.assert_close(network(x, motion), appearance(x))


@pytest.mark.parametrize(
    "network", [lambda: a_videolstm(bottom_kernel=1), lambda: a_videolstm(bottom_kernel=3, num_classes=K + 1)]
)
def test_parents_that_do_not_fit_are_refused_and_change_nothing(network: Callable[[], VideoLSTM]) -> None:
    child = network()
    before = {name: tensor.clone() for name, tensor in child.state_dict().items()}
    with pytest.raises(KineflowError, match="bottom_kernel"):
        warm_start(child, flow=a_conv_lstm(in_channels=M), appearance=a_conv_alstm())
    assert all(torch.equal(tensor, before[name]) for name, tensor in child.state_dict().items())


def test_a_flow_parent_with_small_kernels_fits_the_released_bottom() -> None:
    warm_start(a_videolstm(), flow=a_conv_lstm(in_channels=M, kernel=1), appearance=a_conv_alstm())


@pytest.mark.parametrize(
    "wrong",
    [{"kernel": 2}, {"bottom_kernel": 2}, {"grid": 0}, {"dropout": 1.0}, {"normalisation": "hard"}, {"top_feeds": "x"}],
)
def test_impossible_values_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(KineflowError, match=next(iter(wrong)).removeprefix("bottom_")):
        a_videolstm(**wrong)


@pytest.mark.slow
def test_a_real_batch_of_paper_scale_passes_through() -> None:
    network = VideoLSTM(num_classes=101).eval()
    with torch.inference_mode():
        logits, attention = network.forward_steps(torch.rand(1, 30, 512, 7, 7), torch.rand(1, 30, 512, 7, 7))
    assert logits.shape == (1, 30, 101)
    assert logits.isfinite().all()
    assert attention is not None
    assert attention.shape == (1, 30, 7, 7)
