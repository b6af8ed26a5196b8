from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kineflow.models.network import Network
from kineflow.training.cost import count_step, operations_a_second


class Small(Network):
    """One convolution, its sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 8, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x).sigmoid()
        return y.sum(dim=(2, 3, 4))


def test_a_step_is_counted_by_hand() -> None:
    cost = count_step(Small, (3, 4, 5, 5))
    places = 4 * 5 * 5
    assert cost.forward_operations == 2 * 3 * 8 * places
    assert cost.operations == 2 * cost.forward_operations  # and the gradient of the weights; pixels need none
    assert cost.kept_bytes == 4 * (3 + 8) * places  # the input, and what the sigmoid gave
    assert cost.weight_bytes == 4 * 3 * 8


def test_the_rate_is_that_of_a_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kineflow.training.cost._RATE_SEC", 0.01)
    assert operations_a_second() > 0
    assert torch.get_default_dtype() is torch.float32
