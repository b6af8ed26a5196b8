"""Decoders of optical flow from the features of a network for action recognition (D3D, Stroud et al., WACV 2020).

How much a network knows of motion is how well flow can be read from its features. So that the motion is in the
features, and not found by the decoder between two time steps, every kernel spans one time step. Three decoders, by
strength:

===========  ========================================================================================================
``simple``   one 3×3 convolution
``spatial``  3×3 convolutions of 128, 128, 96, 64 and 32 channels with ReLU, then ``simple``
``pwc``      the decoder of PWC-Net (Sun et al., CVPR 2018): the same widths, each layer seeing all those before it, and
             a context network of dilated convolutions whose answer is added
===========  ========================================================================================================

The sizes of ``simple`` and ``spatial`` are chosen here: no code of D3D's decoders is public. All widths are PWC-Net's,
so that ``spatial`` is ``pwc`` without its two additions. Of PWC-Net only the decoder is meant: its warping and its cost
volume compare two frames, which the features are to have done.

All take features float [B,F,T,H,W] and give u and v in px, float [B,2,T,H,W].
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import get_args

import torch
from torch import Tensor, nn

from kineflow.models.stage_names import DecoderName
from kineflow.storage.errors import KineflowError

_WIDTHS = (128, 128, 96, 64, 32)
# Channels and dilation of the context network's layers.
_CONTEXT = ((128, 1), (128, 2), (128, 4), (96, 8), (64, 16), (32, 1))
_SLOPE = 0.1  # of the leaky ReLU


def create_decoder(name: DecoderName, channels: int) -> nn.Module:
    """Build a decoder of features with F = ``channels``, freshly initialised from torch's global generator.

    Raises:
        KineflowError: No decoder has this name.
    """
    builders: dict[str, Callable[[int], nn.Module]] = {
        "simple": _flow,
        "spatial": spatial_decoder,
        "pwc": PWCDecoder,
    }
    if name not in builders:
        raise KineflowError(
            f"no flow decoder is called {name!r}", remedy=f"choose one of: {', '.join(get_args(DecoderName))}"
        )
    return builders[name](channels)


def spatial_decoder(channels: int) -> nn.Sequential:
    """Several 3×3 convolutions with ReLU; see the module."""
    hidden = [
        layer
        for before, after in pairwise((channels, *_WIDTHS))
        for layer in (_convolution(before, after), nn.ReLU(inplace=True))
    ]
    return nn.Sequential(*hidden, _flow(_WIDTHS[-1]))


class PWCDecoder(nn.Module):
    """PWC-Net's decoder with dense connections, and its context network for refinement.

    Args:
        channels: F.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        in_channels = [channels + sum(_WIDTHS[:layer]) for layer in range(len(_WIDTHS) + 1)]
        self.dense = nn.ModuleList(_leaky(before, width) for before, width in zip(in_channels, _WIDTHS, strict=False))
        self.flow = _flow(in_channels[-1])
        widths = (in_channels[-1], *(width for width, _ in _CONTEXT))
        self.context = nn.Sequential(
            *(
                _leaky(before, after, dilation)
                for (before, after), (_, dilation) in zip(pairwise(widths), _CONTEXT, strict=True)
            ),
            _flow(widths[-1]),
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B,F,T,H,W] → [B,2,T,H,W]."""
        for layer in self.dense:
            features = torch.cat([layer(features), features], dim=1)  # ends with F + 448 channels
        flow: Tensor = self.flow(features) + self.context(features)
        return flow


def _leaky(before: int, after: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(_convolution(before, after, dilation), nn.LeakyReLU(_SLOPE, inplace=True))


def _convolution(before: int, after: int, dilation: int = 1) -> nn.Conv3d:
    """3×3 over space, 1 over time, with He's variance (as PWC-Net) and zero padding that keeps the map's size."""
    conv = nn.Conv3d(before, after, (1, 3, 3), padding=(0, dilation, dilation), dilation=(1, dilation, dilation))
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # a Conv3d has one unless told otherwise
    return conv


def _flow(channels: int) -> nn.Conv3d:
    """The last layer of every decoder. Its first answer is no motion: learning starts from the zero baseline."""
    conv = nn.Conv3d(channels, 2, (1, 3, 3), padding=(0, 1, 1))
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv
