"""GoogLeNet: nine Inception blocks, with batch normalisation.

Szegedy et al., "Going Deeper with Convolutions", CVPR 2015 (arXiv 1409.4842), table 1. ALSTM attends over the output
of its last block, ``inception5b`` (1024×7×7); TSN compares with it.

The layout, and with it the keys of the weights, is torchvision's (6,624,904 parameters for 1000 classes without the
auxiliary classifiers): every convolution carries batch normalisation and no bias, and the branch that is 5×5 in the
paper is 3×3, as in the weights that were published. The auxiliary classifiers of a checkpoint are left out. The input
that torchvision transforms inside the network is a matter of normalisation here
(:mod:`kineflow.models.normalisation`). Images may have any size from 15 px on.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kineflow.models.network import ImageNetwork
from kineflow.models.registry import register_backbone
from kineflow.models.scale import channels_at, late_strides, require_probability, require_side

_LEAST_PX = 15


@register_backbone
def googlenet(
    *,
    num_classes: int,
    in_channels: int = 3,
    width: float = 1.0,
    dropout: float = 0.2,
    output_stride: int = 32,
) -> GoogLeNet:
    """GoogLeNet; for the keywords see :class:`GoogLeNet`."""
    return GoogLeNet(
        num_classes=num_classes, in_channels=in_channels, width=width, dropout=dropout, output_stride=output_stride
    )


class GoogLeNet(ImageNetwork):
    """GoogLeNet.

    Args:
        num_classes: K; 0 leaves the classifier out.
        in_channels: C, 3 for RGB, 2 for each flow frame of a stack.
        width: Multiplies the channels of every layer; see :func:`channels_at`.
        dropout: Probability that a pooled feature is dropped.
        output_stride: See :func:`late_strides`; 16 leaves out ``maxpool4``, 8 ``maxpool3`` as well.

    Raises:
        KineflowError: A value is out of its range.
    """

    stem_name = "conv1.conv"
    classifier_name = "fc"
    has_separate_stages = True
    fc: nn.Module

    def __init__(self, *, num_classes: int, in_channels: int, width: float, dropout: float, output_stride: int) -> None:
        super().__init__()
        c = channels_at(width)
        stride3, stride4 = late_strides(output_stride)
        require_probability("dropout", dropout)

        def inception(before: int, b1: int, b2: tuple[int, int], b3: tuple[int, int], b4: int) -> Inception:
            """Branch widths as in the paper; ``before`` is the channels that come in, already at this width."""
            return Inception(before, c(b1), (c(b2[0]), c(b2[1])), (c(b3[0]), c(b3[1])), c(b4))

        self.conv1 = ConvNormRelu(in_channels, c(64), 7, stride=2)
        self.maxpool1 = caffe_max_pool(3, stride=2)
        self.conv2 = ConvNormRelu(c(64), c(64), 1)
        self.conv3 = ConvNormRelu(c(64), c(192), 3)
        self.maxpool2 = caffe_max_pool(3, stride=2)
        self.inception3a = inception(c(192), 64, (96, 128), (16, 32), 32)
        self.inception3b = inception(self.inception3a.channels, 128, (128, 192), (32, 96), 64)
        self.maxpool3 = caffe_max_pool(3, stride=stride3)
        self.inception4a = inception(self.inception3b.channels, 192, (96, 208), (16, 48), 64)
        self.inception4b = inception(self.inception4a.channels, 160, (112, 224), (24, 64), 64)
        self.inception4c = inception(self.inception4b.channels, 128, (128, 256), (24, 64), 64)
        self.inception4d = inception(self.inception4c.channels, 112, (144, 288), (32, 64), 64)
        self.inception4e = inception(self.inception4d.channels, 256, (160, 320), (32, 128), 128)
        self.maxpool4 = caffe_max_pool(2, stride=stride4)
        self.inception5a = inception(self.inception4e.channels, 256, (160, 320), (32, 128), 128)
        self.inception5b = inception(self.inception5a.channels, 384, (192, 384), (48, 128), 128)
        self.dropout = nn.Dropout(dropout)
        self.num_features = self.inception5b.channels
        self.reset_classifier(num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """[N,C,H,W] → [N,F,h,w], with h and w about H/32 and W/32."""
        require_side(x, _LEAST_PX)
        # Channels @ height × width, for the paper's image and width:    3 @ 224×224
        x = self.run_stage(self.conv1, x)  #                            64 @ 112×112
        x = self.maxpool1(x)  #                                         64 @ 56×56
        x = self.run_stage(self.conv2, x)  #                            64 @ 56×56
        x = self.run_stage(self.conv3, x)  #                           192 @ 56×56
        x = self.maxpool2(x)  #                                        192 @ 28×28
        x = self.run_stage(self.inception3a, x)  #                     256 @ 28×28
        x = self.run_stage(self.inception3b, x)  #                     480 @ 28×28
        x = self.maxpool3(x)  #                                        480 @ 14×14
        x = self.run_stage(self.inception4a, x)  #                     512 @ 14×14
        x = self.run_stage(self.inception4b, x)  #                     512 @ 14×14
        x = self.run_stage(self.inception4c, x)  #                     512 @ 14×14
        x = self.run_stage(self.inception4d, x)  #                     528 @ 14×14
        x = self.run_stage(self.inception4e, x)  #                     832 @ 14×14
        x = self.maxpool4(x)  #                                        832 @ 7×7
        x = self.run_stage(self.inception5a, x)  #                     832 @ 7×7
        x = self.run_stage(self.inception5b, x)  #                    1024 @ 7×7
        return x

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """[N,F,h,w] → mean over the map [N,F] → logits [N,K]."""
        pooled = features.mean(dim=(2, 3))
        return pooled if pre_logits else self.fc(self.dropout(pooled))

    def adapt_checkpoint(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Leave out the two auxiliary classifiers, which only help deep training from scratch (§5)."""
        return {name: tensor for name, tensor in state.items() if not name.startswith(("aux1.", "aux2."))}


class ConvNormRelu(nn.Module):
    """Convolution that keeps the map's size at stride 1, batch normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        self.bn = nn.BatchNorm2d(channels_out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """[N,channels_in,H,W] → [N,channels_out,⌈H/stride⌉,⌈W/stride⌉]."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Inception(nn.Module):
    """Four branches side by side, their channels stacked (fig. 2b of the paper).

    Args:
        before: Channels that come in.
        b1: 1×1.
        b2, b3: 1×1 to the first width, then 3×3 to the second.
        b4: 3×3 max pool, then 1×1.
    """

    def __init__(self, before: int, b1: int, b2: tuple[int, int], b3: tuple[int, int], b4: int) -> None:
        super().__init__()
        self.channels = b1 + b2[1] + b3[1] + b4
        self.branch1 = ConvNormRelu(before, b1, 1)
        self.branch2 = nn.Sequential(ConvNormRelu(before, b2[0], 1), ConvNormRelu(*b2, 3))
        self.branch3 = nn.Sequential(ConvNormRelu(before, b3[0], 1), ConvNormRelu(*b3, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), ConvNormRelu(before, b4, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[N,before,H,W] → [N,channels,H,W]."""
        return torch.cat((self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)), dim=1)


def caffe_max_pool(kernel: int, *, stride: int) -> nn.Module:
    """Max pool that halves the map and rounds up, as Caffe does; at stride 1 nothing happens."""
    return nn.Identity() if stride == 1 else nn.MaxPool2d(kernel, stride, ceil_mode=True)
