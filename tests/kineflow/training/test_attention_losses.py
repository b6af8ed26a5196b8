from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kineflow.training.attention_losses import (
    Reduction,
    doubly_stochastic_penalty,
    squared_norm,
    step_cross_entropy,
    step_multi_label_loss,
)

B, T, K, N = 3, 4, 5, 6
MASK = torch.tensor([[True] * 4, [True, True, False, False], [False] * 4])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_even_attention_costs_the_constant_of_30_steps_and_49_cells() -> None:
    even = torch.full((2, 30, 7, 7), 1 / 49)
    assert doubly_stochastic_penalty(even).item() == pytest.approx(7.367, abs=5e-4)
    assert doubly_stochastic_penalty(even).item() == pytest.approx(361 / 49)
    assert doubly_stochastic_penalty(even, cells="mean").item() == pytest.approx(361 / 49**2)
    assert doubly_stochastic_penalty(even, reduction="sum").item() == pytest.approx(2 * 361 / 49)


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 2**16))
def test_no_attention_costs_less_than_even_attention(steps: int, cells: int, seed: int) -> None:
    attention = (3 * drawn(1, steps, cells, seed=seed)).softmax(dim=2)
    least = cells * (1 - steps / cells) ** 2
    assert doubly_stochastic_penalty(attention).item() >= least * (1 - 1e-4) - 1e-4


def test_attention_on_one_cell_is_the_dearest() -> None:
    peaked = torch.zeros(1, 30, 49)
    peaked[..., 3] = 1
    assert doubly_stochastic_penalty(peaked).item() == pytest.approx(29**2 + 48)


def test_each_cell_looked_at_once_costs_nothing() -> None:
    assert doubly_stochastic_penalty(torch.eye(N)[None]).item() == 0


def test_the_penalty_is_its_formula() -> None:
    attention = drawn(B, T, N).softmax(dim=2)
    expected = [sum((1 - sum(attention[b, t, i] for t in range(T))) ** 2 for i in range(N)) for b in range(B)]
    torch.testing.assert_close(doubly_stochastic_penalty(attention), sum(expected) / B)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_padding_enters_no_loss(reduction: Reduction) -> None:
    attention = drawn(B, T, N).softmax(dim=2)
    logits, labels = drawn(B, T, K), torch.tensor([0, 1, 2])
    targets = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]])
    count = 2 if reduction == "mean" else 1  # the third clip is padding alone
    for name, masked, alone in (
        (
            "penalty",
            doubly_stochastic_penalty(attention, mask=MASK, reduction=reduction),
            doubly_stochastic_penalty(attention[:1]) + doubly_stochastic_penalty(attention[1:2, :2]),
        ),
        (
            "cross entropy",
            step_cross_entropy(logits, labels, mask=MASK, reduction=reduction),
            step_cross_entropy(logits[:1], labels[:1]) + step_cross_entropy(logits[1:2, :2], labels[1:2]),
        ),
        (
            "multi-label",
            step_multi_label_loss(logits, targets, mask=MASK, reduction=reduction),
            step_multi_label_loss(logits[:1], targets[:1]) + step_multi_label_loss(logits[1:2, :2], targets[1:2]),
        ),
    ):
        torch.testing.assert_close(masked, alone / count, msg=name)


def test_padding_gets_no_gradient_even_from_what_is_not_finite() -> None:
    raw = torch.where(MASK[..., None], drawn(B, T, N), math.nan).requires_grad_()
    loss = step_cross_entropy(raw, torch.tensor([0, 1, 2]), mask=MASK)
    assert loss.isfinite()
    weights = torch.where(MASK[..., None], drawn(B, T, N).softmax(dim=2), math.nan).requires_grad_()
    penalty = doubly_stochastic_penalty(weights, mask=MASK)
    penalty.backward()
    assert weights.grad is not None
    assert torch.equal(weights.grad.abs().sum(dim=2) > 0, MASK)


def test_cross_entropy_is_summed_over_steps() -> None:
    logits, labels = drawn(B, T, K), torch.tensor([4, 0, 2])
    log_p = logits.log_softmax(dim=2)
    expected = [-sum(log_p[b, t, labels[b]] for t in range(T)) for b in range(B)]
    torch.testing.assert_close(step_cross_entropy(logits, labels), sum(expected) / B)
    torch.testing.assert_close(step_cross_entropy(logits, labels, reduction="sum"), sum(expected))
    even = torch.zeros(1, 30, 11)
    assert step_cross_entropy(even, torch.tensor([3])).item() == pytest.approx(30 * math.log(11), rel=1e-5)


def test_clips_without_a_label_add_nothing() -> None:
    logits = drawn(B, T, K).requires_grad_()
    loss = step_cross_entropy(logits, torch.tensor([4, -1, -1]))
    torch.testing.assert_close(loss, step_cross_entropy(logits[:1], torch.tensor([4])))
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[1:].any()
    assert step_cross_entropy(logits, torch.tensor([-1, -1, -1])).item() == 0


def test_multi_label_loss_is_summed_over_classes_and_steps() -> None:
    logits, targets = drawn(B, T, K), torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    p = logits.sigmoid()
    y = targets[:, None].float()
    expected = -(y * p.log() + (1 - y) * (1 - p).log()).sum(dim=(1, 2))
    torch.testing.assert_close(step_multi_label_loss(logits, targets), expected.mean())
    torch.testing.assert_close(step_multi_label_loss(logits, targets, reduction="sum"), expected.sum())


def test_squared_norm_counts_every_parameter_and_decays_by_twice_its_weight() -> None:
    layer = torch.nn.Linear(3, 2)
    norm = squared_norm(layer.parameters())
    torch.testing.assert_close(norm, (layer.weight**2).sum() + (layer.bias**2).sum())
    norm.backward()
    torch.testing.assert_close(layer.bias.grad, 2 * layer.bias)


def test_a_heavier_penalty_spreads_attention() -> None:
    entropies = []
    for weight in (0.0, 1.0, 10.0):
        scores = torch.zeros(1, 30, 49)
        scores[..., 0] = 4.0
        scores.requires_grad_()
        optimiser = torch.optim.SGD([scores], lr=0.05)
        for _ in range(20):
            optimiser.zero_grad()
            attention = scores.softmax(dim=2)
            loss = -attention[..., 0].sum() + weight * doubly_stochastic_penalty(attention)
            loss.backward()
            optimiser.step()
        over_time = scores.detach().softmax(dim=2)[0].mean(dim=0)
        entropies.append(torch.special.entr(over_time).sum().item())
    assert entropies[0] < entropies[1] < entropies[2]
