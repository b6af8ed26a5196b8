"""Bytes that one training step holds on its device, counted with tensors that have shapes and no contents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from kineflow.training.settings import OptimiserSettings, RunSettings
from kineflow.training.tasks import Batch, Classification

# Tensors that each optimiser keeps of every weight.
STATES = {"sgd": 1, "rmsprop": 1, "adam": 2, "adamw": 2}
BATCHES = 2  # on the device: one is learnt from, and the next one comes


@dataclass(frozen=True)
class Held:
    """Bytes that a training step holds at the end of its forward pass, where it needs most.

    Attributes:
        weights: Of all networks, with gradients, the optimiser's states and an average of weights.
        batches: Clips on the device.
        kept: What the backward pass needs of the forward one.
    """

    weights: int
    batches: int
    kept: int

    @property
    def total(self) -> int:
        """Their sum."""
        return self.weights + self.batches + self.kept


def held_by(
    build: Callable[[], Classification], make_batch: Callable[[int], Batch], settings: RunSettings, *, bf16: bool
) -> Held:
    """Count a step of a training by one process.

    What an operation needs while it runs, and what the allocator loses, is not counted.

    Args:
        build: Makes the task.
        make_batch: Makes a batch, of which a part is learnt from at once.
        settings: How it is trained.
        bf16: Whether in bfloat16 mixed precision, else in float32.
    """
    with torch.device("meta"):
        task = build()
    with FakeTensorMode(allow_non_fake_inputs=True):
        task = task.to_empty(device="cpu").train()  # mixed precision asks for the device
        batch = make_batch(settings.micro_batch_size)
        with (
            _counting([*task.parameters(), *task.buffers(), *batch.values()]) as kept,
            torch.autocast("cpu", torch.bfloat16, enabled=bf16, cache_enabled=False),
        ):
            task.loss(batch)
        return Held(_weights(task, settings.optimiser, settings), BATCHES * _bytes(batch.values()), _bytes(kept))


def _weights(task: Classification, optimiser: OptimiserSettings, settings: RunSettings) -> int:
    learnt = _bytes(parameter for parameter in task.parameters() if parameter.requires_grad)
    averaged = _bytes(task.network.state_dict().values()) if settings.ema else 0
    return _bytes(task.state_dict().values()) + learnt * (1 + STATES[optimiser.name]) + averaged


@contextmanager
def _counting(held: list[Tensor]) -> Iterator[list[Tensor]]:
    """Within the block, gather what is kept for the backward pass, one tensor a storage, beside what is held anyway."""
    known = {_storage(tensor) for tensor in held}
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in known:
            known.add(_storage(tensor))
            kept.append(tensor)  # so that its storage is no other's meanwhile
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum({_storage(tensor): tensor.untyped_storage().nbytes() for tensor in tensors}.values())
