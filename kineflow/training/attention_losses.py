"""Losses of networks that answer at every step, and of their attention (ALSTM, VideoLSTM).

All take a mask bool [B,T], true for real steps; padding adds nothing to any of them, a clip of padding alone neither.
Over the steps losses are summed, as both papers have it. Over the clips of a batch they are averaged (``mean``, as
VideoLSTM's code) or added (``sum``, as ALSTM's): with SGD the learning rate goes with the choice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Reduction = Literal["mean", "sum"]


def step_cross_entropy(
    logits: Tensor, labels: Tensor, *, mask: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """-Σ_t log ŷ_{t,y}: every step has to name the clip's class (ALSTM §3.3, first term).

    Args:
        logits: float [B,T,K].
        labels: int64 [B], -1 for a clip without a label, which adds nothing.
        mask: Real steps, bool [B,T].
        reduction: Over the labelled clips.

    Returns:
        Scalar; 0 without labelled clips.
    """
    every_step = labels[:, None].expand(logits.shape[:2])  # [B,T]
    terms = F.cross_entropy(logits.transpose(1, 2), every_step, ignore_index=-1, reduction="none")  # [B,T]
    return _reduced(terms, _real(terms, mask) & (every_step >= 0), reduction)


def step_multi_label_loss(
    logits: Tensor, targets: Tensor, *, mask: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Binary cross entropies, summed over classes and steps, for classes that go together (Hollywood2).

    Args:
        logits: float [B,T,K].
        targets: 0 or 1, [B,K].
        mask: Real steps, bool [B,T].
        reduction: Over the clips.

    Returns:
        Scalar.
    """
    every_step = targets[:, None].expand_as(logits).to(logits.dtype)
    terms = F.binary_cross_entropy_with_logits(logits, every_step, reduction="none").sum(dim=2)  # [B,T]
    return _reduced(terms, _real(terms, mask), reduction)


def doubly_stochastic_penalty(
    attention: Tensor, *, mask: Tensor | None = None, cells: Reduction = "sum", reduction: Reduction = "mean"
) -> Tensor:
    """Σ_i (1 - Σ_t l_{t,i})²: over a clip, every cell is to be looked at about once (ALSTM §3.3, second term).

    The T steps share T among N cells, so that the penalty is least, N (1 - T/N)², for attention whose sum is the same
    everywhere: 7.367 for 30 steps and 49 cells.

    Args:
        attention: Weights that sum to 1 at each step, [B,T,N] or [B,T,h,w].
        mask: Real steps, bool [B,T].
        cells: ``sum`` over them, the paper's; ``mean``, the released code's, whose λ is so N times the paper's.
        reduction: Over the clips.

    Returns:
        Scalar, before it is weighted by λ (0, 1 and 10 in the paper).
    """
    weights = attention.flatten(2)  # [B,T,N]
    real = _real(weights[..., 0], mask)
    looked = torch.where(real[..., None], weights, 0).sum(dim=1)  # [B,N]
    squares = (1 - looked) ** 2
    terms = squares.sum(dim=1) if cells == "sum" else squares.mean(dim=1)  # [B]
    return _reduced(terms[:, None], real.any(dim=1, keepdim=True), reduction)


def squared_norm(parameters: Iterable[Tensor]) -> Tensor:
    """Σ θ², biases among them (ALSTM §3.3, third term, before it is weighted by γ)."""
    return torch.stack([(parameter**2).sum() for parameter in parameters]).sum()


def _real(terms: Tensor, mask: Tensor | None) -> Tensor:
    return torch.ones_like(terms, dtype=torch.bool) if mask is None else mask


def _reduced(terms: Tensor, counted: Tensor, reduction: Reduction) -> Tensor:
    """Sum of the counted terms [B,T], over the clips that have any or in all."""
    total = torch.where(counted, terms, 0).sum()
    return total / counted.any(dim=1).sum().clamp(min=1) if reduction == "mean" else total
