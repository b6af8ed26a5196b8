"""A network small enough to train in a test, and what it reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from kineflow.spec.preprocessing import Preprocessing


class TinyNetwork(nn.Module):
    """One convolution, normalisation, dropout and a classifier: all that makes resuming hard."""

    def __init__(self, *, channels: int, classes: int, features: int, dropout: float) -> None:
        super().__init__()
        self.num_classes, self.head_hidden_size = classes, features
        self.conv, self.norm = nn.Conv3d(channels, features, 3, padding=1), nn.BatchNorm3d(features)
        self.drop, self.classifier = nn.Dropout(dropout), nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)))

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        pooled = features.mean(dim=(2, 3, 4))
        return pooled if pre_logits else self.classifier(self.drop(pooled))


@pytest.fixture
def tiny_network() -> Callable[..., TinyNetwork]:
    """Builds a network, in evaluation mode as bundles are loaded; the same seed gives the same weights."""

    def build(
        *, channels: int = 3, classes: int = 3, features: int = 6, dropout: float = 0.2, seed: int = 0
    ) -> TinyNetwork:
        torch.manual_seed(seed)
        return TinyNetwork(channels=channels, classes=classes, features=features, dropout=dropout).eval()

    return build


@pytest.fixture
def rgb() -> Preprocessing:
    return Preprocessing("rgb", 4, 1, short_side=8, crop=8, mean=(128.0,) * 3, std=(64.0,) * 3)


@pytest.fixture
def flow() -> Preprocessing:
    return Preprocessing("flow", 4, 1, short_side=8, crop=8, mean=(128.0,) * 2, std=(32.0,) * 2)
