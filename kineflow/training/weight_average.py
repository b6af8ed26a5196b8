"""An exponential moving average of a network's weights, which often does better than the last of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """w̄ ← d w̄ + (1 - d) w after every step, of weights and of normalisation's running statistics; counters are copied.

    Step t has d = min(``decay``, (1 + t) / (10 + t)), so that the weights of the beginning are soon forgotten.

    Args:
        network: Whose weights; its tensors stay where they are.
        decay: In 0..1, below 1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay = network, decay
        self._averages = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, steps_done: int) -> None:
        """Take up the network's weights after ``steps_done`` steps."""
        share = 1 - min(self._decay, (1 + steps_done) / (10 + steps_done))
        now = self._network.state_dict()
        means = [name for name, tensor in now.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self._averages[name] for name in means], [now[name] for name in means], share)
        for name in now.keys() - set(means):
            self._averages[name].copy_(now[name])

    @torch.no_grad()
    def swap(self) -> None:
        """Give the network the average and keep what it had; a second time gives that back."""
        for name, tensor in self._network.state_dict().items():
            average = self._averages[name]
            held = tensor.clone()
            tensor.copy_(average)
            average.copy_(held)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by the names of the network's tensors."""
        return dict(self._averages)

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        for name, tensor in state.items():
            self._averages[name].copy_(tensor)


class AverageInto(WeightAverage):
    """The same average, in the tensors of another network of its kind.

    Args:
        network: Whose weights.
        average: That has the average, on the same device.
        decay: In 0..1, below 1.
    """

    def __init__(self, network: nn.Module, average: nn.Module, decay: float) -> None:
        self._network, self._decay = network, decay
        self._averages = average.state_dict()
