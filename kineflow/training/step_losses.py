"""Losses of steps, read where that costs little: on a CPU each at once, on a GPU many together, for it has to be waited
for."""

from __future__ import annotations

import math

import torch

from kineflow.storage.errors import KineflowError
from kineflow.training import processes
from kineflow.training.tasks import Losses

READ_EVERY_ON_GPU = 32  # steps; a loss that is not finite is seen so many steps late


class StepLosses:
    """The loss terms of steps, averaged over the processes, until somebody takes them.

    Every process must add the same steps: all read at the same ones, and so all stop at the same one.

    Args:
        read_every: Steps that are read together. 1: a step's loss is known before anything is learnt from it.
    """

    def __init__(self, read_every: int) -> None:
        self._read_every = read_every
        self._names: tuple[str, ...] = ()
        self._first_unread = 0
        self._unread: list[torch.Tensor] = []
        self._rows: list[dict[str, float]] = []

    def add(self, step: int, losses: Losses) -> None:
        """Keep the terms (scalars) of a step, each time of the same names; steps follow each other.

        Raises:
            KineflowError: As :meth:`take`, where it is time to read.
        """
        if not self._unread:
            self._first_unread, self._names = step, tuple(losses)
        # A copy, which outlives what a CUDA graph writes into the same memory at the next step.
        values = torch.stack([value.detach().float() for value in losses.values()])
        self._unread.append(processes.all_reduce_mean(values))
        if len(self._unread) >= self._read_every:
            self._read()

    def take(self) -> list[dict[str, float]]:
        """The terms of every step since they were last taken.

        Raises:
            KineflowError: The loss of one became infinite or NaN, in whichever process; it names the first such step.
        """
        self._read()
        rows, self._rows = self._rows, []
        return rows

    def _read(self) -> None:
        if not self._unread:
            return
        rows = torch.stack(self._unread).tolist()
        self._unread.clear()
        for step, values in enumerate(rows, start=self._first_unread):
            row = dict(zip(self._names, values, strict=True))
            if not math.isfinite(row["loss"]):
                raise KineflowError(
                    f"the loss became {row['loss']} at step {step}",
                    remedy="lower optimiser.learning_rate or distillation.kd_weight, or set "
                    "optimiser.clip_gradient_norm",
                )
            self._rows.append(row)
