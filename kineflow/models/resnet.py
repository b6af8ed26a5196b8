"""ResNet-50: fifty layers in sixteen bottleneck units, each adding a residual to its input.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016 (arXiv 1512.03385), table 1 and §4.1.
ST-ResNet joins two of these, one a stream, by their units' parts (:meth:`Bottleneck.residual` and
:meth:`Bottleneck.shortcut`); TSN's successors build on it as well.

The keys of the weights are torchvision's (25,557,032 parameters for 1000 classes). A unit of its checkpoints halves the
map in its 3×3 convolution ("version 1.5"). A unit of the authors' Caffe model, and of what was converted from it, does
so in the 1×1 before, and the first pool is not padded: ``caffe``. Images may have any size from 3 px on.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kineflow.models.network import ImageNetwork
from kineflow.models.registry import register_backbone
from kineflow.models.scale import channels_at, late_strides, require_probability, require_side

_LEAST_PX = 3


@register_backbone
def resnet50(
    *,
    num_classes: int,
    in_channels: int = 3,
    width: float = 1.0,
    dropout: float = 0.0,
    output_stride: int = 32,
    caffe: bool = False,
) -> ResNet50:
    """ResNet-50; for the keywords see :class:`ResNet50`."""
    return ResNet50(
        num_classes=num_classes,
        in_channels=in_channels,
        width=width,
        dropout=dropout,
        output_stride=output_stride,
        caffe=caffe,
    )


@register_backbone
def resnet50_caffe(
    *, num_classes: int, in_channels: int = 3, width: float = 1.0, dropout: float = 0.0, output_stride: int = 32
) -> ResNet50:
    """ResNet-50 as its authors' checkpoints want it; for the keywords see :class:`ResNet50`."""
    return ResNet50(
        num_classes=num_classes,
        in_channels=in_channels,
        width=width,
        dropout=dropout,
        output_stride=output_stride,
        caffe=True,
    )


class ResNet50(ImageNetwork):
    """ResNet-50.

    Args:
        num_classes: K; 0 leaves the classifier out.
        in_channels: C, 3 for RGB, 2 for each flow frame of a stack.
        width: Multiplies the channels of every layer; see :func:`channels_at`.
        dropout: Probability that a pooled feature is dropped; the paper has none.
        output_stride: See :func:`late_strides`; 16 lets ``layer4`` keep the map, 8 ``layer3`` as well.
        caffe: Lay the network out as the authors' checkpoints want it, else as torchvision's.

    Attributes:
        caffe: As above.

    Raises:
        KineflowError: A value is out of its range.
    """

    stem_name = "conv1"
    classifier_name = "fc"
    has_separate_stages = True
    fc: nn.Module

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        width: float,
        dropout: float,
        output_stride: int,
        caffe: bool,
    ) -> None:
        super().__init__()
        self.caffe = caffe
        c = channels_at(width)
        stride3, stride4 = late_strides(output_stride)
        require_probability("dropout", dropout)

        def stage(before: int, inner: int, units: int, stride: int) -> nn.Sequential:
            """``units`` bottlenecks from ``before`` channels to 4·``inner``; the first of them has the stride."""
            after = 4 * inner
            first = Bottleneck(before, inner, after, stride=stride, stride_in_1x1=caffe)
            return nn.Sequential(first, *(Bottleneck(after, inner, after) for _ in range(units - 1)))

        self.conv1 = conv(in_channels, c(64), 7, stride=2)
        self.bn1 = nn.BatchNorm2d(c(64))
        self.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True) if caffe else nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = stage(c(64), c(64), 3, stride=1)
        self.layer2 = stage(4 * c(64), c(128), 4, stride=2)
        self.layer3 = stage(4 * c(128), c(256), 6, stride=stride3)
        self.layer4 = stage(4 * c(256), c(512), 3, stride=stride4)
        self.dropout = nn.Dropout(dropout)
        self.num_features = 4 * c(512)
        self.reset_classifier(num_classes)

    @property
    def stages(self) -> tuple[nn.Sequential, ...]:
        """The four stages, conv2_x to conv5_x in the paper, each a sequence of :class:`Bottleneck`."""
        return (self.layer1, self.layer2, self.layer3, self.layer4)

    def forward_stem(self, x: Tensor) -> Tensor:
        """[N,C,H,W] → what the first stage sees, [N,64,⌈H/4⌉,⌈W/4⌉] at width 1."""
        require_side(x, _LEAST_PX)
        #                                                                3 @ 224×224
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)  #            64 @ 112×112
        x = self.maxpool(x)  #                                          64 @ 56×56
        return x

    def forward_features(self, x: Tensor) -> Tensor:
        """[N,C,H,W] → [N,F,⌈H/32⌉,⌈W/32⌉]."""
        x = self.run_stage(self.forward_stem, x)  #                     64 @ 56×56
        for stage in self.stages:
            for unit in stage:
                x = self.run_stage(unit, x)
        return x  # 256 @ 56×56, 512 @ 28×28, 1024 @ 14×14, 2048 @ 7×7

    def stage_modules(self) -> tuple[tuple[str, ...], ...]:
        """conv1 to conv5_x of the paper."""
        return (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """[N,F,h,w] → mean over the map [N,F] → logits [N,K]."""
        pooled = features.mean(dim=(2, 3))
        return pooled if pre_logits else self.fc(self.dropout(pooled))


class Bottleneck(nn.Module):
    """y = ReLU(x' + F(x)): a residual of 1×1, 3×3 and 1×1 convolutions beside a shortcut (fig. 5 of the paper).

    The shortcut x' is x itself; a unit that changes the shape projects x by a 1×1 convolution.

    Args:
        before: Channels of x.
        inner: Of the first two convolutions.
        after: Of y.
        stride: 2 halves the map.
        stride_in_1x1: Where: in the first 1×1 convolution, else in the 3×3.
    """

    def __init__(self, before: int, inner: int, after: int, *, stride: int = 1, stride_in_1x1: bool = False) -> None:
        super().__init__()
        self.conv1 = conv(before, inner, 1, stride=stride if stride_in_1x1 else 1)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = conv(inner, inner, 3, stride=1 if stride_in_1x1 else stride)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = conv(inner, after, 1)
        self.bn3 = nn.BatchNorm2d(after)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(conv(before, after, 1, stride=stride), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """[N,before,H,W] → [N,after,⌈H/stride⌉,⌈W/stride⌉]."""
        return F.relu(self.shortcut(x) + self.residual(x))

    def residual(self, x: Tensor) -> Tensor:
        """F(x), after its last normalisation: it may be negative."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        x = self.bn3(self.conv3(x))
        return x

    def shortcut(self, x: Tensor) -> Tensor:
        """x', of the shape of :meth:`residual`."""
        return x if self.downsample is None else self.downsample(x)


def conv(channels_in: int, channels_out: int, kernel: int, *, stride: int = 1) -> nn.Conv2d:
    """Convolution that keeps the map's size at stride 1, without bias, with He's initialisation."""
    layer = nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer
