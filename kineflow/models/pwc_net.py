"""PWC-Net: optical flow by pyramid, warping and cost volume (Sun, Yang, Liu, Kautz, CVPR 2018; arXiv 1709.02371).

From the coarsest of six levels to the second, each with half the width of the next: the second image's features are
warped by the flow so far, compared with the first's over ±4 cells (the cost volume), and a decoder with dense
connections gives the level's flow; a context network refines the last. D3D takes it for the learnt flow of its ablation
(:mod:`kineflow.models.learnt_flow`).

Names and shapes of the weights are those of the PyTorch releases, so that these load with ``strict=True``; the authors'
own are for non-commercial use. Of 9,374,340 parameters the 66 of ``deconv2``, which not every release has, are unused.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CHANNELS = {1: 16, 2: 32, 3: 64, 4: 96, 5: 128, 6: 196}  # of the features at 1/2, 1/4, … 1/64 of the image
_LAST_LEVEL = 2
_WIDTHS = (128, 128, 96, 64, 32)
_CONTEXT = ((128, 1), (128, 2), (128, 4), (96, 8), (64, 16), (32, 1))  # channels and dilation
_REACH = 4  # of the cost volume, cells
_MULTIPLE = 64  # sides of images that six levels divide
_FLOW_UNIT_PX = 20.0  # flow is learnt in this unit, px of the whole image at every level
_FEWEST = 8  # channels of a layer, in narrow networks
_SLOPE = 0.1
_INSIDE = 0.9999  # of a fetched cell: less lies partly beyond the border, and is left out


class PWCNet(nn.Module):
    """Flow from one image to another, differentiable in images and weights; freshly initialised with He's variance.

    Args:
        width: Multiplies the channels of every layer; 1 is the paper's.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()

        def c(channels: int) -> int:
            """Channels at this network's width."""
            return max(_FEWEST, round(channels * width))

        before = 3
        for level, channels in _CHANNELS.items():
            for name, stride in zip(_stages(level), (2, 1, 1), strict=True):
                self.add_module(name, _conv(before, c(channels), stride=stride))
                before = c(channels)
        cells = (2 * _REACH + 1) ** 2
        for level in _decoded_levels():
            # Cost volume; below the coarsest level, the first image's features, flow and two features from above.
            in_channels = cells if level == max(_CHANNELS) else cells + c(_CHANNELS[level]) + 4
            for layer, channels in enumerate(_WIDTHS):
                self.add_module(f"conv{level}_{layer}", _conv(in_channels, c(channels)))
                in_channels += c(channels)
            self.add_module(f"predict_flow{level}", nn.Conv2d(in_channels, 2, 3, padding=1))
            self.add_module(f"deconv{level}", nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1))
            if level > _LAST_LEVEL:
                self.add_module(f"upfeat{level}", nn.ConvTranspose2d(in_channels, 2, 4, stride=2, padding=1))
        for layer, (channels, dilation) in enumerate(_CONTEXT, start=1):
            self.add_module(f"dc_conv{layer}", _conv(in_channels, c(channels), dilation=dilation))
            in_channels = c(channels)
        self.add_module(f"dc_conv{len(_CONTEXT) + 1}", nn.Conv2d(in_channels, 2, 3, padding=1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # all have one
        self.get_submodule(f"deconv{_LAST_LEVEL}").requires_grad_(False)  # no level lies below that would use it

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Give u and v in px, float32 [N,2,H,W], from ``first`` to ``second``: float [N,3,H,W], RGB in 0..255."""
        return F.interpolate(self.estimates(first, second)[-1], first.shape[2:], mode="bilinear", align_corners=False)

    def estimates(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """Flow of each level in px of the images, from 1/64 of their size to 1/4: float32 [N,2,h,w] each."""
        height, width = first.shape[2:]
        size = [-(-side // _MULTIPLE) * _MULTIPLE for side in (height, width)]
        images = torch.cat([first, second]).flip(1) / 255  # BGR in 0..1, as in Caffe
        pyramid = self._pyramid(F.interpolate(images, size, mode="bilinear", align_corners=False))
        decoded = features = None
        flows: list[Tensor] = []
        for level in _decoded_levels():
            decoded, features = self._decode(level, pyramid[level], decoded, features)
            flows.append(decoded)
        assert features is not None
        refined = features
        for layer in range(1, len(_CONTEXT) + 2):
            refined = self.get_submodule(f"dc_conv{layer}")(refined)
        flows[-1] = flows[-1] + refined
        # From units of the resized images to px of those given.
        px = refined.new_tensor([width / size[1], height / size[0]]).view(1, 2, 1, 1) * _FLOW_UNIT_PX
        return [flow * px for flow in flows]

    def _pyramid(self, images: Tensor) -> dict[int, Tensor]:
        """Features of both images, one after the other, by level."""
        pyramid: dict[int, Tensor] = {}
        features = images
        for level in _CHANNELS:
            for name in _stages(level):
                features = self.get_submodule(name)(features)
            pyramid[level] = features
        return pyramid

    def _decode(self, level: int, both: Tensor, coarser: Tensor | None, above: Tensor | None) -> tuple[Tensor, Tensor]:
        """Flow of a level in units of 20 px, and what it was decoded from, given those of the level above."""
        first, second = both.reshape(2, -1, *both.shape[1:]).unbind()
        if coarser is None or above is None:
            features = F.leaky_relu(cost_volume(first, second), _SLOPE)
        else:
            flow = self.get_submodule(f"deconv{level + 1}")(coarser)
            hint = self.get_submodule(f"upfeat{level + 1}")(above)
            warped = warp(second, flow * (_FLOW_UNIT_PX / 2**level))
            costs = F.leaky_relu(cost_volume(first, warped), _SLOPE)
            features = torch.cat([costs, first, flow, hint], dim=1)
        for layer in range(len(_WIDTHS)):
            features = torch.cat([self.get_submodule(f"conv{level}_{layer}")(features), features], dim=1)
        decoded: Tensor = self.get_submodule(f"predict_flow{level}")(features)
        return decoded, features


def cost_volume(first: Tensor, second: Tensor, reach: int = _REACH) -> Tensor:
    """Mean product over channels of each cell with those up to ``reach`` cells away, 0 beyond the border.

    Args:
        first, second: float [N,C,h,w].
        reach: R.

    Returns:
        float [N,(2R+1)²,h,w]; the displacement's rows come one after the other, columns within them.
    """
    height, width = first.shape[2:]
    padded = F.pad(second, (reach, reach, reach, reach))
    side = range(2 * reach + 1)
    return torch.stack(
        [
            (first * padded[:, :, down : down + height, right : right + width]).mean(dim=1)
            for down in side
            for right in side
        ],
        dim=1,
    )


def warp(features: Tensor, flow: Tensor) -> Tensor:
    """Fetch ``features`` [N,C,h,w] from where ``flow`` [N,2,h,w], in cells, leads; 0 from beyond the border."""
    height, width = features.shape[2:]
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None]
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype)[None]
    # From cells to -1..1, the centres of the first and the last cell.
    right = (columns + flow[:, 0]) * (2 / max(width - 1, 1)) - 1
    down = (rows + flow[:, 1]) * (2 / max(height - 1, 1)) - 1
    places = torch.stack([right, down], dim=3)
    fetched = F.grid_sample(features, places, align_corners=True)
    inside = F.grid_sample(torch.ones_like(features[:, :1]), places.detach(), align_corners=True) > _INSIDE
    return fetched * inside


def _decoded_levels() -> range:
    return range(max(_CHANNELS), _LAST_LEVEL - 1, -1)


def _stages(level: int) -> tuple[str, str, str]:
    """Names of a level's convolutions, in order; in the coarsest the authors' order is another."""
    first, second = ("aa", "a") if level == max(_CHANNELS) else ("a", "aa")
    return f"conv{level}{first}", f"conv{level}{second}", f"conv{level}b"


def _conv(before: int, after: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(before, after, 3, stride, padding=dilation, dilation=dilation)
    return nn.Sequential(conv, nn.LeakyReLU(_SLOPE))
