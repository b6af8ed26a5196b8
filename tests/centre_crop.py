"""What a network sees of frames at test time, put together by hand."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray

from kineflow.data.transforms import apply_view, centre_view, normalise, resize_short_side, to_tensor
from kineflow.spec.preprocessing import Preprocessing


def centre_crop(frames: NDArray[Any], wanted: Preprocessing) -> torch.Tensor:
    """uint8 [T, H, W, C] to float32 [C, T, crop, crop]."""
    resized = resize_short_side(frames, wanted.short_side)
    view = centre_view(resized.shape[1], resized.shape[2], wanted.crop)
    return normalise(to_tensor(apply_view(resized, view)), wanted)
