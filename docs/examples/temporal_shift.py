"""A temporal-shift ResNet-50: a network for images that sees motion, at no cost in products.

Lin, Gan, Han, "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019. Before each residual unit an
eighth of the channels comes from the frame before and an eighth from the frame after, so that the 2-D convolutions that
follow mix three frames. Scores are averaged over the frames.

Put this file into a package of your project and name it in a parameter file (docs/extend.md)::

    network:
      architecture: my_package.temporal_shift
      hyperparameters: {width: 0.25}
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from kineflow.models.network import VideoNetwork
from kineflow.models.registry import register_model
from kineflow.models.resnet import resnet50


@register_model
def temporal_shift(
    *, num_classes: int, in_channels: int = 3, width: float = 1.0, dropout: float = 0.0, part: int = 8
) -> TemporalShift:
    """The network that parameter files name; its keywords are the keys of ``hyperparameters``."""
    return TemporalShift(num_classes=num_classes, in_channels=in_channels, width=width, dropout=dropout, part=part)


class TemporalShift(VideoNetwork):
    """ResNet-50 on each frame, with channels shifted over time before each residual unit.

    Args:
        num_classes: K; 0 leaves the classifier out.
        in_channels: 3 for RGB, 2 for flow.
        width: Multiplies the channels of every layer.
        dropout: Probability that a pooled feature is dropped.
        part: One channel in ``part`` comes from the frame before, and as many from the frame after.
    """

    stem_name = "frames.conv1"  # sees the pixels: cross-modality initialisation makes two channels of three
    classifier_name = "frames.fc"

    def __init__(self, *, num_classes: int, in_channels: int, width: float, dropout: float, part: int) -> None:
        super().__init__()
        self.frames = resnet50(num_classes=num_classes, in_channels=in_channels, width=width, dropout=dropout)
        self.num_features, self.num_classes, self.part = self.frames.num_features, num_classes, part

    def forward_features(self, x: Tensor) -> Tensor:
        """[B,C,T,H,W] → [B,F,T,⌈H/32⌉,⌈W/32⌉]."""
        batch, _, steps = x.shape[:3]
        x = self.frames.forward_stem(x.transpose(1, 2).flatten(0, 1))  # [B·T,C,H,W]
        for stage in self.frames.stages:
            for unit in stage:
                x = F.relu(unit.shortcut(x) + unit.residual(shifted(x, steps, self.part)))
        return x.unflatten(0, (batch, steps)).transpose(1, 2)

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """[B,F,T,h,w] → mean over time and map [B,F] → logits [B,K]."""
        pooled = features.mean(dim=(2, 3, 4))
        return pooled if pre_logits else self.frames.fc(self.frames.dropout(pooled))

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the classifier by a fresh one; 0 takes it away."""
        self.frames.reset_classifier(num_classes)
        self.num_classes = num_classes

    def adapt_checkpoint(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take torchvision's weights of a ResNet-50 as well as those of this network."""
        return {key if key.startswith("frames.") else f"frames.{key}": value for key, value in state.items()}


def shifted(x: Tensor, steps: int, part: int) -> Tensor:
    """[B·T,C,H,W] with one channel in ``part`` of the frame before, and one of the frame after; zeros at the ends."""
    clips = x.unflatten(0, (-1, steps))  # [B,T,C,H,W]
    moved = clips.shape[2] // part
    before = F.pad(clips[:, :-1, :moved], (0, 0, 0, 0, 0, 0, 1, 0))
    after = F.pad(clips[:, 1:, moved : 2 * moved], (0, 0, 0, 0, 0, 0, 0, 1))
    return torch.cat([before, after, clips[:, :, 2 * moved :]], dim=2).flatten(0, 1)
