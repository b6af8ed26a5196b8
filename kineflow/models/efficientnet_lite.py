"""EfficientNet-Lite0: sixteen inverted residual blocks, for CPUs.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019 (arXiv 1905.11946),
table 1, in the Lite form that its authors published for small devices: no squeeze-and-excitation, ReLU6 for swish.

The keys of the weights are those of the package ``efficientnet_lite_pytorch``, a port of the TensorFlow network
(4,652,008 parameters for 1000 classes). Convolutions pad as TensorFlow's ``SAME`` does: to ⌈side/stride⌉ cells, and
where the padding is odd, the further row and column behind. The package fixes it for 224 px; here it follows the image,
which is the same at 224 px and at every multiple of 32. Stochastic depth is left out. Images may have any size from
8 px on.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from kineflow.models.network import ImageNetwork
from kineflow.models.registry import register_backbone
from kineflow.models.scale import channels_at, late_strides, require_probability, require_side

_LEAST_PX = 8
_BN_EPS, _BN_MOMENTUM = 1e-3, 0.01
_STEM_CHANNELS, _HEAD_CHANNELS = 32, 1280


class _Stage(NamedTuple):
    """Blocks of one kind; the first of them has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


# Channels @ height × width of the output, for the paper's image and width.
_STAGES = (
    _Stage(1, 3, 1, 1, 16),  #   16 @ 112×112
    _Stage(2, 3, 2, 6, 24),  #   24 @ 56×56
    _Stage(2, 5, 2, 6, 40),  #   40 @ 28×28
    _Stage(3, 3, 2, 6, 80),  #   80 @ 14×14
    _Stage(3, 5, 1, 6, 112),  # 112 @ 14×14
    _Stage(4, 5, 2, 6, 192),  # 192 @ 7×7
    _Stage(1, 3, 1, 6, 320),  # 320 @ 7×7
)
_HALVING_14, _HALVING_7 = 3, 5  # the stages of the last two halvings


@register_backbone
def efficientnet_lite0(
    *,
    num_classes: int,
    in_channels: int = 3,
    width: float = 1.0,
    dropout: float = 0.2,
    output_stride: int = 32,
) -> EfficientNetLite0:
    """EfficientNet-Lite0; for the keywords see :class:`EfficientNetLite0`."""
    return EfficientNetLite0(
        num_classes=num_classes, in_channels=in_channels, width=width, dropout=dropout, output_stride=output_stride
    )


class EfficientNetLite0(ImageNetwork):
    """EfficientNet-Lite0.

    Args:
        num_classes: K; 0 leaves the classifier out.
        in_channels: C, 3 for RGB, 2 for each flow frame of a stack.
        width: Multiplies the channels of every layer, the first and the last among them; see :func:`channels_at`.
        dropout: Probability that a pooled feature is dropped.
        output_stride: See :func:`late_strides`; 16 lets the sixth stage keep the map, 8 the fourth as well.

    Raises:
        KineflowError: A value is out of its range.
    """

    stem_name = "_conv_stem"
    classifier_name = "_fc"
    has_separate_stages = True
    _fc: nn.Module

    def __init__(self, *, num_classes: int, in_channels: int, width: float, dropout: float, output_stride: int) -> None:
        super().__init__()
        c = channels_at(width)
        require_probability("dropout", dropout)
        late = dict(zip((_HALVING_14, _HALVING_7), late_strides(output_stride), strict=True))

        channels = c(_STEM_CHANNELS)
        self._conv_stem = SameConv(in_channels, channels, 3, stride=2)
        self._bn0 = _norm(channels)
        blocks = []
        for number, stage in enumerate(_STAGES):
            for place in range(stage.blocks):
                stride = late.get(number, stage.stride) if place == 0 else 1
                blocks.append(InvertedResidual(channels, c(stage.channels), stage.expansion, stage.kernel, stride))
                channels = c(stage.channels)
        self._blocks = nn.ModuleList(blocks)
        self.num_features = c(_HEAD_CHANNELS)
        self._conv_head = SameConv(channels, self.num_features, 1)
        self._bn1 = _norm(self.num_features)
        self._dropout = nn.Dropout(dropout)
        self.reset_classifier(num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """[N,C,H,W] → [N,F,h,w], with h = ⌈H/32⌉ and w = ⌈W/32⌉."""
        require_side(x, _LEAST_PX)
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = self.run_stage(block, x)
        return F.relu6(self._bn1(self._conv_head(x)))

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """[N,F,h,w] → mean over the map [N,F] → logits [N,K]."""
        pooled = features.mean(dim=(2, 3))
        return pooled if pre_logits else self._fc(self._dropout(pooled))

    def stage_modules(self) -> tuple[tuple[str, ...], ...]:
        """The first convolution, the seven stages of blocks, the last convolution."""
        numbers = iter(range(len(self._blocks)))
        stages = [tuple(f"_blocks.{next(numbers)}" for _ in range(stage.blocks)) for stage in _STAGES]
        return (("_conv_stem", "_bn0"), *stages, ("_conv_head", "_bn1"))


class InvertedResidual(nn.Module):
    """Widen, convolve each channel by itself, narrow: [N,before,H,W] → [N,after,⌈H/stride⌉,⌈W/stride⌉].

    What is narrow is not rectified, and is added to the block's input where both have the same shape.
    """

    def __init__(self, before: int, after: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        self._widens = expansion > 1
        self._adds = stride == 1 and before == after
        wide = before * expansion
        if self._widens:
            self._expand_conv = SameConv(before, wide, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride=stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = SameConv(wide, after, 1)
        self._bn2 = _norm(after)

    def forward(self, x: Tensor) -> Tensor:
        """[N,before,H,W] → [N,after,h,w]."""
        wide = F.relu6(self._bn0(self._expand_conv(x))) if self._widens else x
        wide = F.relu6(self._bn1(self._depthwise_conv(wide)))
        narrow: Tensor = self._bn2(self._project_conv(wide))
        return x + narrow if self._adds else narrow


class SameConv(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow's ``SAME``: [N,C,H,W] → [N,D,⌈H/stride⌉,⌈W/stride⌉]."""

    def __init__(self, before: int, after: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(before, after, kernel, stride, groups=groups, bias=False)
        # Of a convolution of each channel by itself, one channel comes out of one.
        nn.init.kaiming_normal_(self.weight, mode="fan_out" if groups == 1 else "fan_in", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """[N,C,H,W] → [N,D,⌈H/stride⌉,⌈W/stride⌉]."""
        height, width = (
            max(0, (-(-side // stride) - 1) * stride + kernel - side)
            for side, kernel, stride in zip(x.shape[-2:], self.kernel_size, self.stride, strict=True)
        )
        if height % 2 or width % 2:
            x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
            height = width = 0
        return F.conv2d(x, self.weight, None, self.stride, (height // 2, width // 2), 1, self.groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_BN_EPS, momentum=_BN_MOMENTUM)
