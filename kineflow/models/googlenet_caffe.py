"""GoogLeNet as it was published: nine Inception blocks without batch normalisation.

Szegedy et al., "Going Deeper with Convolutions", CVPR 2015 (arXiv 1409.4842), table 1, as in Caffe's model zoo
(``bvlc_googlenet``, whose weights ALSTM's authors took): convolutions have a bias, the largest branch is 5×5, two
responses are normalised over neighbouring channels, and pools round up. :mod:`kineflow.models.googlenet` is
torchvision's, whose weights are another's.

Layers lie side by side and are called as in Caffe, with ``_`` for ``/``: ``inception_3a_5x5_reduce``. For 1000 classes
there are 6,998,552 parameters. Images may have any size from 15 px on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kineflow.models.googlenet import caffe_max_pool
from kineflow.models.network import ImageNetwork
from kineflow.models.registry import register_backbone
from kineflow.models.scale import channels_at, late_strides, require_probability, require_side

_LEAST_PX = 15


class _Block(NamedTuple):
    """Channels of a block's branches; the middle two are reduced by 1×1 first."""

    one: int
    three: tuple[int, int]
    five: tuple[int, int]
    project: int


# Channels @ height × width of the output, for the paper's image and width.
_BLOCKS = {
    "3a": _Block(64, (96, 128), (16, 32), 32),  #     256 @ 28×28
    "3b": _Block(128, (128, 192), (32, 96), 64),  #   480 @ 28×28
    "4a": _Block(192, (96, 208), (16, 48), 64),  #    512 @ 14×14
    "4b": _Block(160, (112, 224), (24, 64), 64),  #   512 @ 14×14
    "4c": _Block(128, (128, 256), (24, 64), 64),  #   512 @ 14×14
    "4d": _Block(112, (144, 288), (32, 64), 64),  #   528 @ 14×14
    "4e": _Block(256, (160, 320), (32, 128), 128),  # 832 @ 14×14
    "5a": _Block(256, (160, 320), (32, 128), 128),  # 832 @ 7×7
    "5b": _Block(384, (192, 384), (48, 128), 128),  # 1024 @ 7×7
}


@register_backbone
def googlenet_caffe(
    *, num_classes: int, in_channels: int = 3, width: float = 1.0, dropout: float = 0.4, output_stride: int = 32
) -> GoogLeNetCaffe:
    """GoogLeNet of Caffe; for the keywords see :class:`GoogLeNetCaffe`."""
    return GoogLeNetCaffe(
        num_classes=num_classes, in_channels=in_channels, width=width, dropout=dropout, output_stride=output_stride
    )


class GoogLeNetCaffe(ImageNetwork):
    """GoogLeNet of Caffe.

    Args:
        num_classes: K; 0 leaves the classifier out.
        in_channels: C, 3 for RGB, 2 for each flow frame of a stack.
        width: Multiplies the channels of every layer; see :func:`channels_at`.
        dropout: Probability that a pooled feature is dropped.
        output_stride: See :func:`late_strides`; 16 leaves out ``pool4``, 8 ``pool3`` as well.

    Raises:
        KineflowError: A value is out of its range.
    """

    stem_name = "conv1_7x7_s2"
    classifier_name = "loss3_classifier"
    has_separate_stages = True
    loss3_classifier: nn.Module

    def __init__(self, *, num_classes: int, in_channels: int, width: float, dropout: float, output_stride: int) -> None:
        super().__init__()
        c = channels_at(width)
        require_probability("dropout", dropout)
        stride3, stride4 = late_strides(output_stride)
        self._pool_before = {"4a": caffe_max_pool(3, stride=stride3), "5a": caffe_max_pool(3, stride=stride4)}
        self._add("conv1_7x7_s2", in_channels, c(64), 7, stride=2)
        self._add("conv2_3x3_reduce", c(64), c(64), 1)
        self._add("conv2_3x3", c(64), c(192), 3)
        channels = c(192)
        for name, block in _BLOCKS.items():
            channels = self._add_block(f"inception_{name}", block, channels, c)
        self.dropout = nn.Dropout(dropout)
        self.num_features = channels
        self.reset_classifier(num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """[N,C,H,W] → ``inception_5b/output``, [N,F,h,w], with h and w about H/32 and W/32."""
        require_side(x, _LEAST_PX)
        x = self.run_stage(self._stem_stage, x)
        x = self.run_stage(self._second_stage, x)
        for name in _BLOCKS:
            if name in self._pool_before:
                x = self._pool_before[name](x)
            x = self.run_stage(self._block, f"inception_{name}", x)
        return x

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """[N,F,h,w] → mean over the map [N,F] → logits [N,K]."""
        pooled = features.mean(dim=(2, 3))
        return pooled if pre_logits else self.loss3_classifier(self.dropout(pooled))

    def stage_modules(self) -> tuple[tuple[str, ...], ...]:
        """The first convolution, the next two, then each block."""
        names = [name for name, _ in self.named_children() if name.startswith(("conv", "inception"))]
        starts = ("conv1", "conv2", *(f"inception_{block}" for block in _BLOCKS))
        return tuple(tuple(name for name in names if name.startswith(start)) for start in starts)

    def _stem_stage(self, x: Tensor) -> Tensor:
        """[N,C,H,W] → [N,64,H/4,W/4]."""
        return _normalised(F.max_pool2d(self._conv("conv1_7x7_s2", x), 3, stride=2, ceil_mode=True))

    def _second_stage(self, x: Tensor) -> Tensor:
        """[N,64,H/4,W/4] → [N,192,H/8,W/8]."""
        x = _normalised(self._conv("conv2_3x3", self._conv("conv2_3x3_reduce", x)))
        return F.max_pool2d(x, 3, stride=2, ceil_mode=True)

    def _add(self, name: str, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1) -> None:
        conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # a Conv2d has one unless told otherwise
        self.add_module(name, conv)

    def _conv(self, name: str, x: Tensor) -> Tensor:
        """Convolution ``name``, ReLU."""
        return F.relu(self.get_submodule(name)(x), inplace=True)

    def _add_block(self, prefix: str, block: _Block, before: int, c: Callable[[int], int]) -> int:
        """The layers of a block that ``before`` channels come into; returns how many come out."""
        self._add(f"{prefix}_1x1", before, c(block.one), 1)
        for (reduced, after), kernel in ((block.three, 3), (block.five, 5)):
            self._add(f"{prefix}_{kernel}x{kernel}_reduce", before, c(reduced), 1)
            self._add(f"{prefix}_{kernel}x{kernel}", c(reduced), c(after), kernel)
        self._add(f"{prefix}_pool_proj", before, c(block.project), 1)
        return c(block.one) + c(block.three[1]) + c(block.five[1]) + c(block.project)

    def _block(self, prefix: str, x: Tensor) -> Tensor:
        """[N,before,H,W] → [N,after,H,W]: the branches' channels, stacked."""
        three = self._conv(f"{prefix}_3x3", self._conv(f"{prefix}_3x3_reduce", x))
        five = self._conv(f"{prefix}_5x5", self._conv(f"{prefix}_5x5_reduce", x))
        pooled = self._conv(f"{prefix}_pool_proj", F.max_pool2d(x, 3, stride=1, padding=1))
        return torch.cat([self._conv(f"{prefix}_1x1", x), three, five, pooled], dim=1)


def _normalised(x: Tensor) -> Tensor:
    """Local response normalisation over five channels, as the paper's."""
    return F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)
