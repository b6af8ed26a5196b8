"""Partial batch normalisation: all normalisations but the first keep what they knew (TSN, ECCV 2016, §3.3).

Networks that start from ImageNet see other statistics in another modality, and few clips to learn them from: only the
first normalisation, which meets the new input, is left to adapt.
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def later_norms(network: nn.Module) -> list[_BatchNorm]:
    """Every batch normalisation but the first."""
    return [layer for layer in network.modules() if isinstance(layer, _BatchNorm)][1:]


def freeze_affine(network: nn.Module) -> None:
    """Stop gradients to scales and offsets of :func:`later_norms`."""
    for norm in later_norms(network):
        norm.requires_grad_(False)


def freeze_statistics(network: nn.Module) -> None:
    """Let :func:`later_norms` use their running statistics and not change them; undone by ``network.train()``."""
    for norm in later_norms(network):
        norm.eval()
