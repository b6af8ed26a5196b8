"""How weights lie in memory: channels last, which convolutions are fastest with."""

from __future__ import annotations

import torch
from torch import nn

_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


def lay_channels_last(network: nn.Module) -> None:
    """Lay the weights of 2-D and 3-D convolutions out with their channels last, in place.

    A convolution gives its output the layout of its weights, whatever its input has: so the whole network works in it.
    Values, names and shapes stay, and what is saved is the same bytes.
    """
    for parameter in network.parameters():
        if parameter.ndim in _LAYOUTS:
            parameter.data = parameter.data.contiguous(memory_format=_LAYOUTS[parameter.ndim])
