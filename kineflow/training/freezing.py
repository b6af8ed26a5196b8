"""Fine-tuning by stages: what a network has learnt elsewhere stays as it is, for all of a training or its first steps.

Frozen stages take no gradient, and where all before them is frozen too, nothing is kept of them for one: memory and
time of their backward pass are saved. They are in evaluation mode: normalisation keeps its statistics, dropout is off.
What is no stage, the classifier and its dropout, always learns.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from kineflow.models.network import Network
from kineflow.storage.errors import KineflowError

Frozen = Literal["none", "backbone"]


class Freezing:
    """The stages of a network that are frozen now, later or not at all.

    Args:
        network: Its parameters that take no gradient now never do.
        frozen: ``backbone`` freezes all stages, ``none`` none.
        unfrozen_stages: The last so many of them learn all the same.
        until_step: From this optimiser step on all learn; 0: they stay frozen.

    Raises:
        KineflowError: The network has fewer stages.
    """

    def __init__(self, network: nn.Module, frozen: Frozen, *, unfrozen_stages: int = 0, until_step: int = 0) -> None:
        self.until_step = until_step
        self._modules = _frozen_modules(network, unfrozen_stages) if frozen == "backbone" else []
        parameters = {id(p): p for module in self._modules for p in module.parameters() if p.requires_grad}
        self._parameters = list(parameters.values())
        self._is_on = bool(self._modules)
        self._set()

    def at_step(self, steps_done: int) -> bool:
        """Freeze or unfreeze for the step after ``steps_done`` ones; gives whether anything has changed."""
        is_on = bool(self._modules) and (not self.until_step or steps_done < self.until_step)
        changed, self._is_on = is_on != self._is_on, is_on
        self._set()
        return changed

    def hold(self) -> None:
        """Have what is frozen in evaluation mode; undone by ``network.train()``."""
        for module in self._modules if self._is_on else ():
            module.eval()

    def _set(self) -> None:
        for parameter in self._parameters:
            parameter.requires_grad_(not self._is_on)


def _frozen_modules(network: nn.Module, unfrozen_stages: int) -> list[nn.Module]:
    assert isinstance(network, Network)
    stages = network.stage_modules()
    if unfrozen_stages >= max(1, len(stages)):
        raise KineflowError(
            f"unfrozen_stages is {unfrozen_stages}, and {type(network).__name__} has {len(stages)} stages",
            remedy="give fewer, or set frozen to none",
        )
    return [network.get_submodule(name) for stage in stages[: len(stages) - unfrozen_stages] for name in stage]
