"""Batch normalisation folded into the convolution before it, for a network that only answers."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeGuard

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kineflow.models.memory_layout import lay_channels_last
from kineflow.models.time_conv import TimeConv3d


def fold_norms(network: nn.Module) -> None:
    """Fold each normalisation that directly follows a convolution in an :class:`~torch.nn.Sequential`, in place.

    The network answers as before, to rounding, in evaluation mode. It is not to be trained or saved afterwards.
    """
    for sequence in network.modules():
        if type(sequence).forward is not nn.Sequential.forward:
            continue
        # Not by named_children, which has a layer that stands there twice once.
        for (conv_name, conv), (norm_name, norm) in pairwise(list(sequence._modules.items())):
            if _is_plain_convolution(conv) and _is_settled_norm(norm):
                sequence.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm))
                sequence.set_submodule(norm_name, nn.Identity())
    lay_channels_last(network)


def _is_plain_convolution(layer: nn.Module | None) -> TypeGuard[nn.Conv2d | nn.Conv3d]:
    """Whether it computes with its weights as they are: no other subclass, no parametrisation, no hook."""
    return type(layer) in (nn.Conv2d, nn.Conv3d, TimeConv3d) and not _is_hooked(layer)


def _is_settled_norm(layer: nn.Module | None) -> TypeGuard[_BatchNorm]:
    return isinstance(layer, _BatchNorm) and layer.running_mean is not None and not _is_hooked(layer)


def _is_hooked(layer: nn.Module | None) -> bool:
    return layer is not None and bool(layer._forward_hooks or layer._forward_pre_hooks)
