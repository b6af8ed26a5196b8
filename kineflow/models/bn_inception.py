"""BN-Inception: Inception with batch normalisation, and two 3×3 convolutions for each 5×5.

Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift", ICML
2015 (arXiv 1502.03167), appendix, fig. 5. It is the backbone of TSN.

The keys of the weights are those of the public PyTorch ports of the Caffe model, Cadene's and tsn-pytorch's, which is
why layers lie side by side instead of in blocks. Every convolution carries a bias and is followed by batch
normalisation; pools round up, as in Caffe. For 101 classes convolutions and classifier have 10,353,733 parameters and
the normalisations 20,032. Images may have any size from 7 px on: where a map's side is odd, the published layout cannot
stack the branches that halve it, and this one rounds up in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kineflow.models.network import ImageNetwork
from kineflow.models.registry import register_backbone
from kineflow.models.scale import channels_at, late_strides, require_probability, require_side

_LEAST_PX = 7


class _Block(NamedTuple):
    """Channels of a block's branches; what is reduced is reduced by 1×1, and pools are 3×3.

    Attributes:
        one: 1×1; none in a block that halves the map.
        three: Reduced, then 3×3.
        double: Reduced, then 3×3 twice.
        pool: Kind of pool.
        project: 1×1 after it; none in a block that halves the map, where the pool passes through.
    """

    one: int
    three: tuple[int, int]
    double: tuple[int, int]
    pool: Literal["average", "max"]
    project: int


# Channels @ height × width of the output, for the paper's image and width.
_BLOCKS = {
    "3a": _Block(64, (64, 64), (64, 96), "average", 32),  #        256 @ 28×28
    "3b": _Block(64, (64, 96), (64, 96), "average", 64),  #        320 @ 28×28
    "3c": _Block(0, (128, 160), (64, 96), "max", 0),  #            576 @ 14×14
    "4a": _Block(224, (64, 96), (96, 128), "average", 128),  #     576 @ 14×14
    "4b": _Block(192, (96, 128), (96, 128), "average", 128),  #    576 @ 14×14
    "4c": _Block(160, (128, 160), (128, 160), "average", 128),  #  608 @ 14×14
    "4d": _Block(96, (128, 192), (160, 192), "average", 128),  #   608 @ 14×14
    "4e": _Block(0, (128, 192), (192, 256), "max", 0),  #         1056 @ 7×7
    "5a": _Block(352, (192, 320), (160, 224), "average", 128),  # 1024 @ 7×7
    "5b": _Block(352, (192, 320), (192, 224), "max", 128),  #     1024 @ 7×7
}


@register_backbone
def bn_inception(
    *,
    num_classes: int,
    in_channels: int = 3,
    width: float = 1.0,
    dropout: float = 0.0,
    output_stride: int = 32,
) -> BNInception:
    """BN-Inception; for the keywords see :class:`BNInception`."""
    return BNInception(
        num_classes=num_classes, in_channels=in_channels, width=width, dropout=dropout, output_stride=output_stride
    )


class BNInception(ImageNetwork):
    """BN-Inception.

    Args:
        num_classes: K; 0 leaves the classifier out.
        in_channels: C, 3 for RGB, 2 for each flow frame of a stack.
        width: Multiplies the channels of every layer; see :func:`channels_at`.
        dropout: Probability that a pooled feature is dropped; TSN has .8 for RGB and .7 for flow.
        output_stride: See :func:`late_strides`; 16 lets block ``4e`` keep the map, 8 block ``3c`` as well.

    Raises:
        KineflowError: A value is out of its range.
    """

    stem_name = "conv1_7x7_s2"
    classifier_name = "last_linear"
    has_separate_stages = True
    last_linear: nn.Module

    def __init__(self, *, num_classes: int, in_channels: int, width: float, dropout: float, output_stride: int) -> None:
        super().__init__()
        c = channels_at(width)
        require_probability("dropout", dropout)
        self._strides = dict.fromkeys(_BLOCKS, 1)
        self._strides["3c"], self._strides["4e"] = late_strides(output_stride)

        self._add("conv1_7x7_s2", in_channels, c(64), 7, stride=2)
        self._add("conv2_3x3_reduce", c(64), c(64), 1)
        self._add("conv2_3x3", c(64), c(192), 3)
        channels = c(192)
        for name, block in _BLOCKS.items():
            channels = self._add_block(f"inception_{name}", block, channels, c, stride=self._strides[name])
        self.dropout = nn.Dropout(dropout)
        self.num_features = channels
        self.reset_classifier(num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """[N,C,H,W] → [N,F,h,w], with h and w about H/32 and W/32."""
        require_side(x, _LEAST_PX)
        # Channels @ height × width, for the paper's image and width:      3 @ 224×224
        x = self.run_stage(self._conv, "conv1_7x7_s2", x)  #              64 @ 112×112
        x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)  #               64 @ 56×56
        x = self.run_stage(self._conv, "conv2_3x3_reduce", x)  #          64 @ 56×56
        x = self.run_stage(self._conv, "conv2_3x3", x)  #                192 @ 56×56
        x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)  #              192 @ 28×28
        for name, block in _BLOCKS.items():
            x = self.run_stage(self._block, f"inception_{name}", block, x, stride=self._strides[name])
        return x  #                                                     1024 @ 7×7

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """[N,F,h,w] → mean over the map [N,F] → logits [N,K]."""
        pooled = features.mean(dim=(2, 3))
        return pooled if pre_logits else self.last_linear(self.dropout(pooled))

    def stage_modules(self) -> tuple[tuple[str, ...], ...]:
        """The first convolution, the next two, then each block."""
        names = [name for name, _ in self.named_children() if name.startswith(("conv", "inception"))]
        starts = ("conv1", "conv2", *(f"inception_{block}" for block in _BLOCKS))
        return tuple(tuple(name for name in names if name.startswith(start)) for start in starts)

    def adapt_checkpoint(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take both ports' files: normalisations kept as rows [1,C], and tsn-pytorch's ``fc`` for the classifier."""
        named = {f"last_linear.{name[3:]}" if name.startswith("fc.") else name: state[name] for name in state}
        return {
            name: tensor.flatten() if "_bn." in name and tensor.ndim > 1 else tensor for name, tensor in named.items()
        }

    def _add(self, name: str, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1) -> None:
        """A convolution that keeps the map's size at stride 1, and the normalisation after it."""
        conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # a Conv2d has one unless told otherwise
        self.add_module(name, conv)
        self.add_module(f"{name}_bn", nn.BatchNorm2d(channels_out))

    def _conv(self, name: str, x: Tensor) -> Tensor:
        """Convolution ``name``, its normalisation, ReLU."""
        return F.relu(self.get_submodule(f"{name}_bn")(self.get_submodule(name)(x)), inplace=True)

    def _add_block(self, prefix: str, block: _Block, before: int, c: Callable[[int], int], *, stride: int) -> int:
        """The layers of a block that ``before`` channels come into; returns how many come out."""
        three_reduced, three = map(c, block.three)
        double_reduced, double = map(c, block.double)
        one, project = (c(channels) if channels else 0 for channels in (block.one, block.project))
        if one:
            self._add(f"{prefix}_1x1", before, one, 1)
        self._add(f"{prefix}_3x3_reduce", before, three_reduced, 1)
        self._add(f"{prefix}_3x3", three_reduced, three, 3, stride=stride)
        self._add(f"{prefix}_double_3x3_reduce", before, double_reduced, 1)
        self._add(f"{prefix}_double_3x3_1", double_reduced, double, 3)
        self._add(f"{prefix}_double_3x3_2", double, double, 3, stride=stride)
        if project:
            self._add(f"{prefix}_pool_proj", before, project, 1)
        return one + three + double + (project or before)

    def _block(self, prefix: str, block: _Block, x: Tensor, *, stride: int) -> Tensor:
        """[N,before,H,W] → [N,after,⌈H/stride⌉,⌈W/stride⌉]: the branches' channels, stacked."""
        branches = [self._conv(f"{prefix}_1x1", x)] if block.one else []
        branches.append(self._conv(f"{prefix}_3x3", self._conv(f"{prefix}_3x3_reduce", x)))
        double = self._conv(f"{prefix}_double_3x3_1", self._conv(f"{prefix}_double_3x3_reduce", x))
        branches.append(self._conv(f"{prefix}_double_3x3_2", double))
        pooled = F.avg_pool2d(x, 3, stride=1, padding=1) if block.pool == "average" else max_pool(x, stride=stride)
        branches.append(self._conv(f"{prefix}_pool_proj", pooled) if block.project else pooled)
        return torch.cat(branches, dim=1)


def max_pool(x: Tensor, *, stride: int) -> Tensor:
    """[N,C,H,W] → [N,C,⌈H/stride⌉,⌈W/stride⌉], the size that a 3×3 convolution beside it gives."""
    if stride == 1:
        return F.max_pool2d(x, 3, stride=1, padding=1)
    height, width = x.shape[-2:]
    evened = F.pad(x, (0, width % 2, 0, height % 2), value=-torch.inf)
    return F.max_pool2d(evened, 3, stride=2, ceil_mode=True)
