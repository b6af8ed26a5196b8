"""What is exported: a network together with its normalisation and probabilities, from frames as they are decoded."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kineflow.data.transforms import normalise
from kineflow.spec.modality import Modality
from kineflow.spec.preprocessing import Preprocessing

_LEVELS = 256


class ClipClassifier(nn.Module):
    """Clips as they are read to scores.

    Args:
        network: Takes float32 [B,C,T,H,W], gives logits [B,K].
        preprocessing: How the network's input is normalised, and the order of its colours.
        multi_label: Whether clips may be of several classes: probabilities are sigmoids, and not a softmax.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, *, multi_label: bool = False) -> None:
        super().__init__()
        self.network, self.preprocessing, self.multi_label = network, preprocessing, multi_label

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits and probabilities, float32 [B,K] each, of clips [B,T,H,W,C] of the type :func:`input_dtype`."""
        logits: Tensor = self.network(normalise(clips.permute(0, 4, 1, 2, 3), self.preprocessing))
        return logits, self.probabilities(logits)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of logits [B,K], [B,K]."""
        return logits.sigmoid() if self.multi_label else logits.softmax(dim=1)


def input_dtype(modality: Modality) -> torch.dtype:
    """uint8, 0..255, of frames (RGB) and stored flow; int16, -255..255, of differences of frames."""
    return torch.int16 if modality == "rgb_difference" else torch.uint8


def input_shape(preprocessing: Preprocessing) -> tuple[int, int, int, int]:
    """T, H, W, C of a clip."""
    return preprocessing.frames, preprocessing.crop, preprocessing.crop, len(preprocessing.mean)


def random_clips(preprocessing: Preprocessing, count: int) -> Tensor:
    """Noise [count,T,H,W,C] of the type that goes in; the same at every call."""
    generator = torch.Generator().manual_seed(count)
    dtype = input_dtype(preprocessing.modality)
    least = 1 - _LEVELS if dtype == torch.int16 else 0
    return torch.randint(least, _LEVELS, (count, *input_shape(preprocessing)), dtype=dtype, generator=generator)
