"""Weights and inputs by formula, so that golden figures hold whatever generators and initialisers become."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn


def formula(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Uniform in ±√3, so of variance 1: the hash (splitmix64) of each entry's number and the tensor's name."""
    count = int(np.prod(shape))
    bits = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()) << 32)
    bits *= np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    uniform = ((bits ^ (bits >> np.uint64(31))) >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
    return torch.from_numpy((2 * uniform - 1) * np.float32(3**0.5)).reshape(shape)


def fill(network: nn.Module) -> None:
    """Give every tensor of ``network`` the values that its name and shape decide.

    Kernels have He's variance, and what is added to a shortcut is faded, so that no response grows with the depth.
    """
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            drawn = formula(name, tuple(tensor.shape))
            if tensor.ndim > 1:
                drawn *= (2 / tensor[0].numel()) ** 0.5
            elif name.endswith("running_var"):
                drawn = 1 + 0.25 * drawn
            elif name.endswith(".weight"):
                drawn = (0.2 if name.endswith("bn3.weight") else 1.0) * (1 + 0.1 * drawn)
            else:
                drawn *= 0.1
            tensor.copy_(drawn)


@pytest.fixture
def by_formula() -> Callable[[str, tuple[int, ...]], torch.Tensor]:
    """See :func:`formula`."""
    return formula


@pytest.fixture
def filled() -> Callable[[nn.Module], None]:
    """See :func:`fill`."""
    return fill


@pytest.fixture
def layout() -> Callable[[nn.Module], str]:
    """Digest of the names and shapes of a network's weights, batch counters aside."""

    def digest(network: nn.Module) -> str:
        named = network.state_dict().items()
        lines = [f"{name} {list(tensor.shape)}" for name, tensor in sorted(named) if not name.endswith("_tracked")]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    return digest
