"""VGG-16: thirteen 3×3 convolutions and three fully connected layers.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015 (arXiv
1409.1556), table 1, configuration D. VideoLSTM attends over its ``pool5`` map (512×7×7) and feeds its ``fc7`` vector
(4096) to plain LSTMs; TSN compares with it.

The keys of the weights are torchvision's (138,357,544 parameters for 1000 classes). Images may have any size from
``output_stride`` px on: the map is averaged (or repeated) to the 7×7 cells that ``fc6`` wants.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kineflow.models.network import ImageNetwork
from kineflow.models.registry import register_backbone
from kineflow.models.scale import channels_at, late_strides, require_probability, require_side

_CELLS = 7


@register_backbone
def vgg16(
    *,
    num_classes: int,
    in_channels: int = 3,
    width: float = 1.0,
    dropout: float = 0.5,
    dropout_fc6: float = 0.5,
    output_stride: int = 32,
) -> VGG16:
    """VGG-16; for the keywords see :class:`VGG16`."""
    return VGG16(
        num_classes=num_classes,
        in_channels=in_channels,
        width=width,
        dropout=dropout,
        dropout_fc6=dropout_fc6,
        output_stride=output_stride,
    )


class VGG16(ImageNetwork):
    """VGG-16.

    Args:
        num_classes: K; 0 leaves the classifier out, and ``fc7`` is the output.
        in_channels: C, 3 for RGB, 2 for each flow frame of a stack.
        width: Multiplies the channels of every layer, ``fc6`` and ``fc7`` included; see :func:`channels_at`.
        dropout, dropout_fc6: Probabilities that an output of ``fc7`` (before the classifier) and of ``fc6`` is dropped.
        output_stride: See :func:`late_strides`; 16 leaves out ``pool5``, 8 ``pool4`` as well.

    Raises:
        KineflowError: A value is out of its range.
    """

    stem_name = "features.0"
    classifier_name = "classifier.6"
    has_separate_stages = True

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        width: float,
        dropout: float,
        dropout_fc6: float,
        output_stride: int,
    ) -> None:
        super().__init__()
        c = channels_at(width)
        stride4, stride5 = late_strides(output_stride)
        require_probability("dropout", dropout)
        require_probability("dropout_fc6", dropout_fc6)

        # Channels @ height × width, for the paper's image and width.    3 @ 224×224
        self.features = nn.Sequential(
            *conv_relu(in_channels, c(64)),  # conv1_1                  64 @ 224×224
            *conv_relu(c(64), c(64)),  # conv1_2                        64 @ 224×224
            nn.MaxPool2d(2),  # pool1                                   64 @ 112×112
            *conv_relu(c(64), c(128)),  # conv2_1                      128 @ 112×112
            *conv_relu(c(128), c(128)),  # conv2_2                     128 @ 112×112
            nn.MaxPool2d(2),  # pool2                                  128 @ 56×56
            *conv_relu(c(128), c(256)),  # conv3_1                     256 @ 56×56
            *conv_relu(c(256), c(256)),  # conv3_2                     256 @ 56×56
            *conv_relu(c(256), c(256)),  # conv3_3                     256 @ 56×56
            nn.MaxPool2d(2),  # pool3                                  256 @ 28×28
            *conv_relu(c(256), c(512)),  # conv4_1                     512 @ 28×28
            *conv_relu(c(512), c(512)),  # conv4_2                     512 @ 28×28
            *conv_relu(c(512), c(512)),  # conv4_3                     512 @ 28×28
            nn.MaxPool2d(stride4),  # pool4                            512 @ 14×14
            *conv_relu(c(512), c(512)),  # conv5_1                     512 @ 14×14
            *conv_relu(c(512), c(512)),  # conv5_2                     512 @ 14×14
            *conv_relu(c(512), c(512)),  # conv5_3                     512 @ 14×14
            nn.MaxPool2d(stride5),  # pool5                            512 @ 7×7
        )
        self.classifier = nn.Sequential(
            *linear_relu(c(512) * _CELLS**2, c(4096)),  # fc6                   4096
            nn.Dropout(dropout_fc6),
            *linear_relu(c(4096), c(4096)),  # fc7                              4096
            nn.Dropout(dropout),
            nn.Identity(),  # fc8                                               K
        )
        self.num_features, self._head_hidden_size, self._least_px = c(512), c(4096), output_stride
        self.reset_classifier(num_classes)

    def stage_modules(self) -> tuple[tuple[str, ...], ...]:
        """The five blocks between pools, ``fc6``, ``fc7``."""
        stages: list[list[str]] = [[]]
        for name, layer in self.features.named_children():
            if isinstance(layer, nn.MaxPool2d):
                stages.append([])
            elif isinstance(layer, nn.Conv2d):
                stages[-1].append(f"features.{name}")
        return (*map(tuple, stages[:5]), ("classifier.0",), ("classifier.3",))

    @property
    def head_hidden_size(self) -> int:
        """D, the length of ``fc7``."""
        return self._head_hidden_size

    def forward_features(self, x: Tensor) -> Tensor:
        """[N,C,H,W] → ``pool5``, [N,F,⌊H/32⌋,⌊W/32⌋]."""
        require_side(x, self._least_px)
        layers: list[nn.Module] = []
        for layer in self.features:
            layers.append(layer)
            if isinstance(layer, nn.MaxPool2d):
                x = self.run_stage(_through, layers, x)
                layers = []
        return x

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """[N,F,h,w] → logits [N,K], or with ``pre_logits`` ``fc7`` after its ReLU, [N,D]."""
        cells = F.adaptive_avg_pool2d(features, _CELLS).flatten(1)  # [N,F·7·7]
        fc7: Tensor = self.classifier[:5](cells)
        return fc7 if pre_logits else self.classifier[5:](fc7)


def _through(layers: list[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def conv_relu(channels_in: int, channels_out: int) -> tuple[nn.Conv2d, nn.ReLU]:
    """3×3 convolution that keeps the map's size, with He's initialisation, and ReLU."""
    conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # a Conv2d has one unless told otherwise
    return conv, nn.ReLU(inplace=True)


def linear_relu(features_in: int, features_out: int) -> tuple[nn.Linear, nn.ReLU]:
    """Fully connected layer with He's initialisation, and ReLU.

    The paper draws it with σ = .01, which fades the signal of layers that are narrower than its own.
    """
    linear = nn.Linear(features_in, features_out)
    nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
    nn.init.zeros_(linear.bias)
    return linear, nn.ReLU(inplace=True)
