"""Optimiser and learning-rate schedule from settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import LambdaLR

from kineflow.models.network import Network
from kineflow.training.settings import OptimiserSettings

_NOTHING = nn.ModuleList()


def build_optimiser(
    network: nn.Module, settings: OptimiserSettings, *, beside: nn.Module = _NOTHING
) -> torch.optim.Optimizer:
    """Optimiser over the trainable parameters; norms and biases carry no weight decay.

    What is ``beside`` the network learns at the plain rate, as its layers do.
    """
    groups = parameter_groups(network, settings, beside=beside)
    rate = settings.learning_rate
    match settings.name:
        case "sgd":
            return torch.optim.SGD(groups, lr=rate, momentum=settings.momentum)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=rate, alpha=settings.alpha, eps=settings.eps)
        case "adam":
            return torch.optim.Adam(groups, lr=rate, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, fused=True)


def parameter_groups(
    network: nn.Module, settings: OptimiserSettings, *, beside: nn.Module = _NOTHING
) -> list[dict[str, Any]]:
    """Trainable parameters by weight decay and learning rate; the first group has the plain rate and the decay.

    Weights of two or more dimensions decay, norms and biases do not. Biases learn ``bias_lr_mult`` times as fast as the
    rest, and the stem ``stem_lr_mult`` times as fast as it would otherwise: with 2 and 5 the stem's bias has the
    factor 10 of TSN's Caffe models.
    """
    biases = {
        id(layer.bias)
        for layer in (*network.modules(), *beside.modules())
        if not isinstance(layer, _BatchNorm) and isinstance(getattr(layer, "bias", None), nn.Parameter)
    }
    stem = {id(parameter) for parameter in network.stem.parameters()} if isinstance(network, Network) else set()
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {(1.0, True): [], (1.0, False): []}
    for parameter in (*network.parameters(), *beside.parameters()):
        if parameter.requires_grad:
            factor = settings.bias_lr_mult if id(parameter) in biases else 1.0
            factor *= settings.stem_lr_mult if id(parameter) in stem else 1.0
            groups.setdefault((factor, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": settings.learning_rate * factor,
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for (factor, decays), parameters in groups.items()
    ]


def build_schedule(optimiser: torch.optim.Optimizer, settings: OptimiserSettings, *, steps: int) -> LambdaLR:
    """Schedule to be advanced once a step."""
    return LambdaLR(optimiser, rate_factor(settings, steps))


def rate_factor(settings: OptimiserSettings, steps: int) -> Callable[[int], float]:
    """The learning rate of each step, as a share of its peak, in 0..1."""
    warmup = round(settings.warmup_ratio * steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        done = (step - warmup) / max(1, steps - warmup)
        if settings.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        if settings.schedule == "steps":
            return 0.1 ** sum(step >= share * steps for share in settings.milestones)
        return 1.0

    return factor
