"""Batch normalisation over the clips of all processes, so that several train on a batch as one would.

Each process holds a part of the batch. Its own mean and variance would be those of a smaller batch, another function of
the clips; here they are of all parts. torch has such a layer for GPUs alone; this one works on CPUs as well.

With N values of a channel in all parts, x̂ = (x - μ) / √(σ² + ε) and y = w x̂ + b, the loss L of all processes has

    ∂L/∂x = w / √(σ² + ε) · (∂L/∂y - Σ ∂L/∂y / N - x̂ Σ (∂L/∂y x̂) / N)

with sums over all parts. ∂L/∂w and ∂L/∂b are left as this process's part: the loop averages gradients of parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def synchronised_norms(network: nn.Module) -> Iterator[None]:
    """Within the block, every batch normalisation of ``network`` takes its statistics from all processes.

    Layers stay what they are, with their parameters, names and modes: those in evaluation mode, frozen ones among them,
    use their running statistics as ever. All processes must run the same layers in the same order.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    for norm in norms:
        norm.forward = partial(_normalise, norm)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward  # the class's own again


def _normalise(norm: _BatchNorm, x: Tensor) -> Tensor:
    """[B,C,…] → the same; as :class:`torch.nn.BatchNorm3d` for the batches of all processes, laid after each other."""
    if not norm.training and norm.running_mean is not None:
        return type(norm).forward(norm, x)
    mean, variance, count = _statistics(x)
    if norm.training and norm.running_mean is not None and norm.num_batches_tracked is not None:
        _track(norm, mean, variance, count)
    normalised: Tensor = _Normalise.apply(x, norm.weight, norm.bias, mean, variance, count, norm.eps)  # type: ignore[no-untyped-call]
    return normalised


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance of each channel [C], and the number of values of a channel, over all processes."""
    with torch.no_grad():
        values, dims = x.detach().float(), _all_but_channels(x)
        variance, mean = torch.var_mean(values, dims, correction=0)
        count = mean.new_tensor([x.numel() // x.shape[1]])
        parts = _from_all(torch.cat([count, mean, variance]))  # [P,1+2C]
        counts, means, variances = parts[:, :1], *parts[:, 1:].chunk(2, dim=1)
        total = counts.sum()
        mean = (counts * means).sum(dim=0) / total
        # Within the parts and between them; never E[x²] - E[x]², which loses all digits far from 0.
        variance = (counts * (variances + (means - mean) ** 2)).sum(dim=0) / total
    return mean, variance, total


def _track(norm: _BatchNorm, mean: Tensor, variance: Tensor, count: Tensor) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean), share)
    norm.running_var.lerp_((variance * count / (count - 1)).to(norm.running_var), share)


class _Normalise(torch.autograd.Function):
    """What the layer does once it knows the statistics, and the gradient with respect to those of this part."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt(), count)
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse_std, count = ctx.saved_tensors
        values, dy, dims = x.float(), gradients[0].float(), _all_but_channels(x)
        x_hat = (values - _wide(mean, x)) * _wide(inverse_std, x)
        to_bias, to_weight = dy.sum(dims), (dy * x_hat).sum(dims)  # of this part, [C]
        of_all = torch.cat([to_bias, to_weight])
        dist.all_reduce(of_all)
        sum_dy, sum_dy_x_hat = (of_all / count).chunk(2)
        scale = inverse_std if weight is None else inverse_std * weight.float()
        dx = _wide(scale, x) * (dy - _wide(sum_dy, x) - x_hat * _wide(sum_dy_x_hat, x))
        affine = (to_weight.to(weight), to_bias.to(weight)) if weight is not None else (None, None)
        return dx.to(x), *affine, None, None, None, None


def _from_all(values: Tensor) -> Tensor:
    """[n] of this process → [P,n] of all of them."""
    parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, values)
    return torch.stack(parts)


def _all_but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.ndim)]


def _wide(of_channels: Tensor, x: Tensor) -> Tensor:
    """[C] → [1,C,1,…]."""
    return of_channels.reshape(1, -1, *[1] * (x.ndim - 2))
