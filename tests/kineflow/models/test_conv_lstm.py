from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kineflow.models.conv_lstm import ConvLSTMCell, at_every_step, convolve_gates, unroll
from kineflow.models.recurrent import State
from kineflow.storage.errors import KineflowError

B, T, C, H, G = 2, 4, 3, 5, 6


def normal(weight: Tensor, /, **_: object) -> None:
    nn.init.normal_(weight, std=0.3)


def cell_of(kernel: int = 3, context: int = 0) -> ConvLSTMCell:
    torch.manual_seed(0)
    cell = ConvLSTMCell(C, H, kernel=kernel, context=context, draw=normal)
    nn.init.normal_(cell.input.bias)  # type: ignore[arg-type]
    return cell


def maps(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def naive_step(
    cell: ConvLSTMCell, x: Tensor, h: Tensor, c: Tensor, context: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The equations gate by gate, each with convolutions of its own."""

    def conv(layer: nn.Conv2d, gate: int, maps: Tensor) -> Tensor:
        kernel = layer.weight[gate * H : (gate + 1) * H]
        return F.conv2d(F.pad(maps, [kernel.shape[-1] // 2] * 4), kernel)

    def drive(gate: int) -> Tensor:
        bias = cell.input.bias[gate * H : (gate + 1) * H, None, None]  # type: ignore[index]
        total = conv(cell.input, gate, x) + conv(cell.recurrent, gate, h) + bias
        return total if context is None else total + conv(cell.context, gate, context)

    i, f, o, g = torch.sigmoid(drive(0)), torch.sigmoid(drive(1)), torch.sigmoid(drive(2)), torch.tanh(drive(3))
    c = f * c + i * g
    return o * torch.tanh(c), c


def test_parameters_of_the_published_cell() -> None:
    with torch.device("meta"):
        cell = ConvLSTMCell(512, 512, kernel=3, draw=normal)
    assert sum(p.numel() for p in cell.parameters()) == 18_876_416


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("context", [0, 2])
def test_a_step_is_the_equations_gate_by_gate(kernel: int, context: int) -> None:
    cell = cell_of(kernel, context)
    x, state = maps(B, C, G, G + 1), State(maps(B, H, G, G + 1, seed=2), maps(B, H, G, G + 1, seed=3))
    above = maps(B, context, G, G + 1, seed=4) if context else None
    hidden, memory = naive_step(cell, x, state.hidden, state.memory, above)
    after = cell(x, state, above)
    torch.testing.assert_close(after.hidden, hidden)
    torch.testing.assert_close(after.memory, memory)


def test_input_convolutions_batched_over_time_are_the_naive_form() -> None:
    cell = cell_of().double()
    x = maps(B, T, C, G, G).double().requires_grad_()
    h = c = torch.zeros(B, H, G, G, dtype=torch.float64)
    expected = []
    for step in range(T):
        h, c = naive_step(cell, x[:, step], h, c)
        expected.append(h)
    wanted = torch.stack(expected, dim=1)
    found = unroll(cell, x, cell.rest(x))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    weights = maps(*found.shape).double()
    learnt = [x, *cell.parameters()]
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), learnt),
        torch.autograd.grad((wanted * weights).sum(), learnt),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_without_peepholes_the_memory_reaches_no_gate() -> None:
    cell = cell_of()
    x, h = maps(B, C, G, G), maps(B, H, G, G, seed=2)
    first, second = (cell(x, State(h, memory)) for memory in (torch.zeros(B, H, G, G), torch.ones(B, H, G, G)))
    forget = torch.sigmoid((cell.input(x) + cell.recurrent(h))[:, H : 2 * H])
    torch.testing.assert_close(second.memory - first.memory, forget)


def test_a_step_sees_its_past_and_no_future() -> None:
    cell = cell_of()
    x = maps(B, T, C, G, G).requires_grad_()
    hidden = unroll(cell, x, cell.rest(x))
    for step in range(T):
        (gradient,) = torch.autograd.grad(hidden[:, step].sum(), x, retain_graph=True)
        seen = gradient.abs().sum(dim=(0, 2, 3, 4)) > 0
        assert seen.tolist() == [earlier <= step for earlier in range(T)]


def test_what_a_cell_sees_grows_by_the_kernel_with_every_step() -> None:
    cell = cell_of(3)
    x = maps(1, 3, C, 9, 9).requires_grad_()
    hidden = unroll(cell, x, cell.rest(x))
    (gradient,) = torch.autograd.grad(hidden[0, 2, :, 4, 4].sum(), x)
    seen = gradient[0].abs().sum(dim=1) > 0  # [T,9,9]
    assert [int(step.any(dim=0).sum()) for step in seen] == [7, 5, 3]


def test_it_starts_at_rest_and_holds_its_state_over_padding() -> None:
    cell = cell_of()
    x = maps(B, T, C, G, G)
    assert not any(part.any() for part in cell.rest(x))
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    hidden, whole = unroll(cell, x, cell.rest(x), mask), unroll(cell, x, cell.rest(x))
    torch.testing.assert_close(hidden[1], whole[1])
    torch.testing.assert_close(hidden[0, :2], whole[0, :2])
    assert torch.equal(hidden[0, 2], hidden[0, 1])
    assert torch.equal(hidden[0, 3], hidden[0, 1])


def test_biases_start_at_zero_and_gates_are_drawn_one_by_one() -> None:
    drawn: list[tuple[int, ...]] = []

    def note(weight: Tensor, /, **_: object) -> None:
        drawn.append(tuple(weight.shape))
        weight.fill_(len(drawn))

    cell = ConvLSTMCell(C, H, kernel=3, context=2, draw=note)
    assert drawn == [(H, C, 3, 3)] * 4 + [(H, H, 3, 3)] * 4 + [(H, 2, 3, 3)] * 4
    assert [gate.unique().tolist() for gate in cell.recurrent.weight.chunk(4)] == [[5], [6], [7], [8]]
    assert not cell.input.bias.any()  # type: ignore[union-attr]


@pytest.mark.parametrize("bias", [True, False])
def test_large_kernels_go_gate_by_gate_and_give_the_same(monkeypatch: pytest.MonkeyPatch, bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(C, 4 * H, 3, padding=1, bias=bias), maps(B, C, G, G)
    whole = convolve_gates(layer, x)
    monkeypatch.setattr("kineflow.models.conv_lstm._LARGE_KERNEL", 0)
    torch.testing.assert_close(convolve_gates(layer, x), whole)
    torch.testing.assert_close(whole, layer(x))


def test_over_time_applies_a_layer_to_every_step() -> None:
    layer = nn.Conv2d(C, H, 3)
    x = maps(B, T, C, G, G)
    torch.testing.assert_close(at_every_step(layer, x), torch.stack([layer(step) for step in x.unbind(1)], dim=1))


@pytest.mark.parametrize("kernel", [0, 2, -1])
def test_a_kernel_without_a_centre_is_refused(kernel: int) -> None:
    with pytest.raises(KineflowError, match="odd"):
        ConvLSTMCell(C, H, kernel=kernel, draw=normal)
