"""The training loop: rounds of steps, each validated; what is kept is the best round on ``val``, or the last ones.

Several processes (:mod:`kineflow.training.processes`) do what one would do: each takes its shard of every batch, batch
normalisation sees the whole batch, gradients are averaged, and each validates a shard of ``val``. Losses must be means
over clips, or scaled to be, so that the average of the shards' losses is the loss of the batch.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, Dataset

from kineflow.data.batch_sampler import BatchSampler
from kineflow.data.collate import collate
from kineflow.models.freed_memory import keep_freed_memory
from kineflow.spec.output_files import CURVES_FILE
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.stopping import signals_stop
from kineflow.tracking.tracker import Tracker
from kineflow.training import processes
from kineflow.training.best_round import BestRound
from kineflow.training.checkpoints import discard_incomplete, load_checkpoint, save_checkpoint
from kineflow.training.decoded_batches import DecodedBatches
from kineflow.training.determinism import deterministic_algorithms
from kineflow.training.device_batches import device_batches
from kineflow.training.kept_answers import keep_answers
from kineflow.training.kept_weights import KeptWeights
from kineflow.training.monitor import CurvesFile, Monitor
from kineflow.training.settings import RunSettings
from kineflow.training.synchronised_norm import synchronised_norms
from kineflow.training.tasks import Classification
from kineflow.training.trainer import Trainer

_LOG = logging.getLogger(__name__)
_LAST, _KEPT = "last.ckpt", "kept.ckpt"


@dataclass(frozen=True)
class Fitted:
    """What training ended with.

    Attributes:
        metrics: Of the weights that were kept (``val/top1``, ``val/loss``; none without ``val``) and of the work
            (``clips_per_second``, ``data_wait_share``: the share of the time spent waiting for clips);
            ``stopped_after_steps`` where training ended early.
        kept_step: Optimiser steps after which these weights were there.
        kept: Which they are, in words.
        fitted_on: Splits whose labels were learnt from.
    """

    metrics: dict[str, float]
    kept_step: int
    kept: str
    fitted_on: tuple[Split, ...] = (Split.TRAIN,)


def fit(
    task: Classification,
    *,
    train: Dataset[Any],
    batch_sampler: BatchSampler,
    val: Dataset[Any] | None,
    settings: RunSettings,
    seed: int,
    work: Path,
    tracker: Tracker,
    stop_after: int | None = None,
    device: str = "auto",
    read_losses_every: int | None = None,
) -> Fitted:
    """Train ``task.network`` in place, and leave it with the weights that ``settings.keep`` names.

    ``train`` is indexed by the batch sampler, ``val`` by integers; their samples are what the task takes. ``val`` may
    be None where it decides about nothing. Lengths are in steps (:meth:`RunSettings.in_steps`).

    ``work`` holds a checkpoint after each round; a run that finds one there continues from it and does the same
    batches as an undisturbed one; one that finds an incomplete or unreadable ``work`` begins anew. Curves are written
    to ``work/curves.csv`` and given to ``tracker`` as they come.

    Of several processes, all call this with the same arguments, all must see ``work``, and the first one alone writes
    and tracks; all end with the same weights. A run may be continued by another number of processes.

    Args:
        stop_after: Steps, whole rounds of them, after which training ends; its schedule is still that of all.
        device: ``cpu``, or else GPUs are used where there are any.
        read_losses_every: Steps whose losses are read together, see :class:`~kineflow.training.trainer.Trainer`.

    Raises:
        KineflowError: The loss became infinite or NaN, a clip cannot be read, batches cannot be shared evenly by the
            processes, or one of them was lost.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the last round's checkpoint is kept.
    """
    several = processes.world_size() > 1
    steps = stop_after or settings.steps
    if processes.is_main_process():
        work.mkdir(parents=True, exist_ok=True)
    batch_sampler = batch_sampler.shard(processes.rank(), processes.world_size(), micro_batches=settings.accumulate)
    own_device = processes.device_of(device)
    keep_freed_memory()
    with deterministic_algorithms(settings.deterministic), _quiet_torch(), signals_stop(), _users_errors():
        processes.init_process_group(own_device)
        processes.require_shared(work)
        if processes.is_main_process():
            discard_incomplete(work / _LAST, needs=(work / _KEPT, work / CURVES_FILE))
        processes.barrier()
        trainer = Trainer(task, settings, seed=seed, device=own_device, read_every=read_losses_every)
        _tell_what_norms_see(task, settings)
        train = keep_answers(trainer, train, batch_sampler, settings, steps=steps)
        validation = _Validation.of(val, settings, trainer.device)
        with synchronised_norms(task) if several else nullcontext():
            rates = _train(trainer, train, batch_sampler, validation, settings, steps, work, tracker)
        processes.barrier()  # what is kept is written
        kept = load_checkpoint(work / _KEPT)
        task.load_state_dict(kept["task"])
        figures = validation.of_network(trainer) if settings.keep == "average" else kept["figures"]
        task.cpu()
        processes.barrier()  # the first may remove ``work`` now
    return Fitted({**figures, **rates}, kept_step=kept["step"], kept=_in_words(settings, kept["step"], steps))


def _in_words(settings: RunSettings, step: int, steps: int) -> str:
    rounds = min(settings.average_rounds, steps // settings.validate_every_steps)
    averaged = f"average of the last {rounds} rounds" if rounds > 1 else "last"
    which = {"best": "best", "last": "last", "average": averaged}[settings.keep]
    return f"{which} after {step} steps" if step == steps else f"{which} after {step} of {steps} steps"


@dataclass(frozen=True)
class _Validation:
    """The clips that rounds are validated on, if there are any: this process's batches of them, and how many in all."""

    batches: Iterable[Any] | None = None
    clips: int = 0

    @classmethod
    def of(cls, val: Dataset[Any] | None, settings: RunSettings, device: torch.device) -> Self:
        """Of a data set, which several processes share."""
        if val is None:
            return cls()
        clips: int = len(val)  # type: ignore[arg-type]
        shard = processes.shard_of(clips) or range(1)  # of an empty shard the logits are not used
        batch_size = max(1, settings.batch_size // (processes.world_size() * settings.accumulate))
        return cls(DecodedBatches(_loader(val, settings, sampler=shard, batch_size=batch_size), device), clips)

    def of_network(self, trainer: Trainer) -> dict[str, float]:
        """``val/top1`` and ``val/loss`` as the network stands; none without clips."""
        return {} if self.batches is None else trainer.validate(self.batches, self.clips)


def _train(
    trainer: Trainer,
    train: Dataset[Any],
    batch_sampler: BatchSampler,
    validation: _Validation,
    settings: RunSettings,
    steps: int,
    work: Path,
    tracker: Tracker,
) -> dict[str, float]:
    """Do the rounds that are left, checkpoint each; gives the rates of the work."""
    world_size = processes.world_size()
    train_batches = DecodedBatches(_loader(train, settings, batch_sampler=batch_sampler), trainer.device)
    keeping = KeptWeights(
        settings.keep,
        best=BestRound(settings.monitor, validation.clips, multi_label=trainer.task.multi_label),
        rounds=steps // batch_sampler.steps,
        averaged=settings.average_rounds,
    )
    if (work / _LAST).exists():
        state = load_checkpoint(work / _LAST)
        trainer.load_state_dict(state["trainer"])
        keeping.load_state_dict(state["keeping"])
    monitor = Monitor(steps, trainer.steps_done, CurvesFile(work / CURVES_FILE), tracker)
    while trainer.steps_done < steps:
        if processes.main_process_says(keeping.has_stood(settings.patience_rounds)):
            return {**monitor.rates(), **_stopped_early(trainer.steps_done, settings)}
        batch_sampler.set_epoch(trainer.steps_done // batch_sampler.steps)
        for batch in device_batches(train_batches, trainer.device):
            monitor.batch_came()
            trainer.step(batch)
            monitor.step_done(trainer.steps_done, clips=len(trainer.task.truth(batch)) * world_size)
        losses = trainer.take_losses()  # before anything is kept of the round: all of them were finite
        figures = validation.of_network(trainer)
        monitor.round_done(trainer.steps_done, losses, figures, learning_rate=trainer.learning_rate)
        if not processes.is_main_process():
            continue
        number = trainer.steps_done // batch_sampler.steps
        with trainer.judged_weights():
            if weights := keeping.after_round(number, figures, trainer.task.state_dict()):
                kept = {"step": trainer.steps_done, "figures": figures, "task": dict(weights)}
                save_checkpoint(work / _KEPT, kept)
        # After what is kept, of which it knows.
        save_checkpoint(work / _LAST, {"trainer": trainer.state_dict(), "keeping": keeping.state_dict()})
    return monitor.rates()


def _stopped_early(step: int, settings: RunSettings) -> dict[str, float]:
    if processes.is_main_process():
        _LOG.info(
            "stopped after %d of %d steps; rounds in a row that were not the best: %d",
            step,
            settings.steps,
            settings.patience_rounds,
        )
    return {"stopped_after_steps": float(step)}


def _tell_what_norms_see(task: Classification, settings: RunSettings) -> None:
    learns = any(isinstance(layer, _BatchNorm) and layer.training for layer in task.modules())
    if settings.accumulate > 1 and learns and processes.is_main_process():
        _LOG.info(
            "batches of %d come in %d parts: batch normalisation takes its statistics from %d clips at a time",
            settings.batch_size,
            settings.accumulate,
            settings.batch_size // settings.accumulate,
        )


def _loader(clips: Dataset[Any], settings: RunSettings, **batching: Any) -> DataLoader[Any]:
    return DataLoader(
        clips,
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
        pin_memory=torch.cuda.is_available(),
        collate_fn=collate,
        **batching,
    )


@contextmanager
def _quiet_torch() -> Iterator[None]:
    """Keep torch from warning of what its users can do nothing about."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* does not have a deterministic implementation")
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")  # for what torch 2.13 has first
        yield


@contextmanager
def _users_errors() -> Iterator[None]:
    """Turn what other processes have caused into errors that a user can act on.

    Raises:
        KineflowError: A decoding process raised it, and handed it over as text inside a traceback; or another training
            process was lost.
    """
    try:
        yield
    except KineflowError as error:
        _, from_process, text = error.problem.rpartition("kineflow.storage.errors.KineflowError: ")
        raise (KineflowError(text.strip()) if from_process else error) from None
    except RuntimeError as error:
        if not processes.is_lost_process(error):
            raise
        raise processes.lost_process() from None
