"""OpenCV's DualTVL1, the peer."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor


def opencv_flow(first: Tensor, second: Tensor) -> Tensor:
    """Flow of uint8 frames [N, H, W] by OpenCV's DualTVL1 with its defaults: float32 [N, 2, H, W]."""
    flows = []
    for before, after in zip(first.numpy(), second.numpy(), strict=True):
        solver = cv2.optflow.DualTVL1OpticalFlow_create()  # a fresh one: it remembers the scales of a smaller frame
        flows.append(solver.calc(np.ascontiguousarray(before), np.ascontiguousarray(after), None))
    return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).contiguous()
