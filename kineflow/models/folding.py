"""Batch normalisation folded into the convolution before it, for a network that only answers."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kineflow.models.memory_layout import lay_channels_last


def fold_norms(network: nn.Module) -> None:
    """Fold each normalisation that directly follows a convolution in an :class:`~torch.nn.Sequential`, in place.

    The network answers as before, to rounding, in evaluation mode. It is not to be trained or saved afterwards.
    """
    for sequence in network.modules():
        if type(sequence).forward is not nn.Sequential.forward:
            continue
        for (conv_name, conv), (norm_name, norm) in pairwise(list(sequence.named_children())):
            if isinstance(conv, nn.Conv2d | nn.Conv3d) and isinstance(norm, _BatchNorm):
                sequence.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm))
                sequence.set_submodule(norm_name, nn.Identity())
    lay_channels_last(network)
