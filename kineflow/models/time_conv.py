"""Convolutions over time that are right for clips shorter than their kernel."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class TimeConv3d(nn.Conv3d):
    """A 3-D convolution whose gradient is right however short the clip is.

    On a CPU, torch 2.13's (oneDNN's) weight gradient of a kernel over 7 time steps with a stride of 2 and padding reads
    beyond its memory where the clip has 5 to 7 steps: numbers at random, or a crash. Where kernel and padding reach
    beyond a clip on both sides, zeros are put around it first, which is the same convolution.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,T,H,W] → [B,C',T',H',W']."""
        if self.stride[0] == 1 or x.shape[2] > self.kernel_size[0]:
            return super().forward(x)
        over_time, over_height, over_width = map(int, self.padding)
        padded = F.pad(x, (0, 0, 0, 0, over_time, over_time))
        padding = (0, over_height, over_width)
        return F.conv3d(padded, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
