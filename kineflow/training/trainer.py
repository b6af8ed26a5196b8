"""One optimiser step, one validation, and all that a resumed training needs of them."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kineflow.training import processes
from kineflow.training.augmentation import Augmentation
from kineflow.training.compiling import begin_step, compile_in_place
from kineflow.training.optimisers import build_optimiser, build_schedule
from kineflow.training.precision import reduced_precision
from kineflow.training.settings import RunSettings
from kineflow.training.step_losses import READ_EVERY_ON_GPU, StepLosses
from kineflow.training.tasks import Batch, Classification, Losses, on_device
from kineflow.training.weight_average import WeightAverage

_SEEDS_APART = 2_654_435_769  # odd, so that processes differ in the 32 bits that the CPU's generator looks at


class Trainer:
    """A task with its optimiser and schedule, on one device; the task is moved there and put in training mode.

    Attributes:
        steps_done: Optimiser steps, those before a resume as well.
        autocast: Context of the precision that the task computes in.
        augmentation: What is done to each batch.

    Args:
        task: What is learnt.
        settings: How.
        seed: Of dropout.
        device: Of this process.
        read_every: Steps whose losses are read together; None: 1 on a CPU, and on a GPU so many that it never waits.
    """

    def __init__(
        self,
        task: Classification,
        settings: RunSettings,
        *,
        seed: int,
        device: torch.device,
        read_every: int | None = None,
    ) -> None:
        self.task, self.device, self.seed = task.to(device).train(), device, seed
        self.steps_done = 0
        self._steps, self._compile, self._micro_batches = settings.steps, settings.compile, settings.accumulate
        self._of_step: list[Losses] = []  # of the parts of the batch that is being learnt from
        self.augmentation = Augmentation(task, settings)
        task.parts = settings.accumulate * processes.world_size()
        self._clip_norm = settings.optimiser.clip_gradient_norm
        task.freezing.at_step(task.freezing.until_step)  # the optimiser is to know all that will ever learn
        self._optimiser = build_optimiser(task.network, settings.optimiser, beside=task.beside)
        self._schedule = build_schedule(self._optimiser, settings.optimiser, steps=settings.steps)
        dtype = reduced_precision(settings.precision, device)
        self.autocast = torch.autocast(device.type, dtype, enabled=dtype is not None, cache_enabled=False)
        self._scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        task.freezing.at_step(0)
        self._average = WeightAverage(task.network, settings.ema) if settings.ema else None
        self._loss = self._shared_loss()
        self._losses = StepLosses(read_every or (1 if device.type == "cpu" else READ_EVERY_ON_GPU))

    def _shared_loss(self) -> nn.Module:
        """The task's loss; of several processes, the gradients of what learns now are averaged."""
        self.task.train()
        loss = _Loss(self.task)
        # Buffers need no care: only normalisation has any that change, and it is synchronised.
        shared = DistributedDataParallel(loss, broadcast_buffers=False) if processes.world_size() > 1 else loss
        compile_in_place(shared, self._compile, self.device)
        return shared

    def _freeze_for_next_step(self) -> None:
        if self.task.freezing.at_step(self.steps_done):
            self._loss = nn.Identity()
            gc.collect()  # what averaged the gradients until now lets go of the parameters
            self._loss = self._shared_loss()

    @property
    def learning_rate(self) -> float:
        """Of the next step, in the first group of parameters."""
        return float(self._optimiser.param_groups[0]["lr"])

    def step(self, batch: Batch) -> None:
        """Learn from this process's shard of a batch; of one in parts, the optimiser's step comes with the last.

        Raises:
            KineflowError: The loss is infinite or NaN, in whichever process. On a CPU no weight has changed; on a GPU
                it may be that of one of the last steps, and the weights are not to be used.
        """
        part = len(self._of_step)
        if part == 0:
            self._freeze_for_next_step()
            self.task.at_step(self.steps_done, self._steps)
            self._optimiser.zero_grad()  # before the forward pass: the last step's gradients need no memory beside it
        # Dropout depends on the step, the part and the process alone, so that a resumed run repeats an undisturbed one.
        shard = part * processes.world_size() + processes.rank()
        torch.manual_seed(self.seed * 1_000_003 + self.steps_done + shard * _SEEDS_APART)
        rng = np.random.default_rng((self.seed, self.steps_done, shard))
        augmented = self.augmentation(on_device(batch, self.device), rng)
        begin_step(self._compile)
        is_last = part + 1 == self._micro_batches
        with self._gradients_averaged(is_last):
            with self.autocast:
                losses: Losses = self._loss(augmented)
            self._of_step.append({name: value.detach() for name, value in losses.items()})
            if is_last:
                self._losses.add(self.steps_done, _mean(self._of_step))
            share = losses["loss"] / self._micro_batches if self._micro_batches > 1 else losses["loss"]
            self._scaler.scale(share).backward()  # type: ignore[no-untyped-call]
        if is_last:
            self._of_step.clear()
            self._update()

    def _gradients_averaged(self, wanted: bool) -> AbstractContextManager[None]:
        """Over processes, in this block's backward pass; what is not wanted now is done with that of a later part."""
        if wanted or not isinstance(self._loss, DistributedDataParallel):
            return nullcontext()
        return self._loss.no_sync()

    def _update(self) -> None:
        if self._clip_norm:
            self._scaler.unscale_(self._optimiser)
            learnt = [parameter for group in self._optimiser.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(learnt, self._clip_norm)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self._schedule.step()
        self.steps_done += 1
        self.task.after_step(self.steps_done)
        if self._average:
            self._average.update(self.steps_done)

    def take_losses(self) -> list[dict[str, float]]:
        """The terms of the loss of every step since they were last taken, of whole batches.

        Raises:
            KineflowError: One was infinite or NaN; where this raises nothing, weights may be kept.
        """
        return self._losses.take()

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch], total: int) -> dict[str, float]:
        """``val/top1`` and ``val/loss`` of all processes' ``total`` clips, of which ``batches`` holds this one's shard.

        Dropout and normalisation are as in use, and in training again afterwards. Of averaged weights it is the
        average.
        """
        with self.judged_weights():
            self.task.eval()
            logits, truth = (processes.all_gather(rows, total) for rows in self._logits(batches))
            self.task.train()
        return self.task.figures(logits, truth)

    @contextmanager
    def judged_weights(self) -> Iterator[None]:
        """Within the block, the network has what is validated and kept: the average, where there is one."""
        if self._average:
            self._average.swap()
        try:
            yield
        finally:
            if self._average:
                self._average.swap()

    def _logits(self, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
        logits, truth = [], []
        for batch in batches:
            moved = on_device(batch, self.device)
            with self.autocast:
                logits.append(self.task.logits(moved).float())
            truth.append(self.task.truth(moved))
        return torch.cat(logits), torch.cat(truth)

    def state_dict(self) -> dict[str, Any]:
        """All that decides the steps that follow, as :func:`torch.load` reads it with ``weights_only``."""
        return {
            "steps_done": self.steps_done,
            "task": self.task.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
            **({"average": self._average.state_dict()} if self._average else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.steps_done = state["steps_done"]
        self.task.load_state_dict(state["task"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        self._scaler.load_state_dict(state["scaler"])
        if self._average:
            self._average.load_state_dict(state["average"])
        self._freeze_for_next_step()


def _mean(parts: list[Losses]) -> Losses:
    if len(parts) == 1:
        return parts[0]
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}


class _Loss(nn.Module):
    """A task's loss as a forward pass, which is what averages gradients over processes."""

    def __init__(self, task: Classification) -> None:
        super().__init__()
        self.task = task

    def forward(self, batch: Batch) -> Losses:
        return self.task.loss(batch)
