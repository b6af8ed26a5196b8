"""Optimiser and learning-rate schedule from settings."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from kineflow.training.settings import OptimiserSettings


def build_optimiser(network: nn.Module, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """Optimiser over the trainable parameters; norms and biases carry no weight decay."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def build_schedule(optimiser: torch.optim.Optimizer, settings: OptimiserSettings, *, steps: int) -> LambdaLR:
    """Schedule to be advanced once a step."""
    return LambdaLR(optimiser, rate_factor(settings, steps))


def rate_factor(settings: OptimiserSettings, steps: int) -> Callable[[int], float]:
    """The learning rate of each step, as a share of its peak, in 0..1."""
    warmup = round(settings.warmup_share * steps)

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
