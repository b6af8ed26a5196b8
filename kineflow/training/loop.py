"""The training loop: Lightning drives it; what is kept is the best round on ``val``.

Several processes (:mod:`kineflow.training.processes`) do what one would do: each takes its share of every batch, batch
normalisation sees the whole batch, gradients are averaged, and each validates a share of ``val``. Losses must be means
over clips, or scaled to be, so that the average of the shares' losses is the loss of the batch.
"""

from __future__ import annotations

import io
import logging
import math
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader, Dataset
from torchmetrics.functional.classification import multiclass_accuracy

from kineflow.data.draws import Draws
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.tracking.tracker import Tracker
from kineflow.training import processes
from kineflow.training.monitor import CURVES_FILE, Curves, Monitor
from kineflow.training.optimisers import build_optimiser, build_schedule
from kineflow.training.settings import RunSettings
from kineflow.training.synchronised_norm import synchronised_norms
from kineflow.training.tasks import Batch, Classification

_SEEDS_APART = 2_654_435_769  # odd, so that processes differ in the 32 bits that the CPU's generator looks at


@dataclass(frozen=True)
class Fitted:
    """What training ended with.

    Attributes:
        metrics: Of the best round (``val/top1``, ``val/loss``) and of the work (``clips_per_second``,
            ``data_wait_share``: the share of the time spent waiting for clips).
        best_step: Optimiser steps done when the best round was validated.
    """

    metrics: dict[str, float]
    best_step: int


def fit(
    task: Classification,
    *,
    train: Dataset[Any],
    draws: Draws,
    val: Dataset[Any],
    settings: RunSettings,
    seed: int,
    work: Path,
    tracker: Tracker,
    device: str = "auto",
) -> Fitted:
    """Train ``task.network`` in place, and leave it with the weights of its best round on ``val``.

    ``train`` is indexed by the draws, ``val`` by integers; their samples are what the task takes.

    ``work`` holds a checkpoint after each round; a run that finds one there continues from it and does the same
    batches as an undisturbed one. Curves are written to ``work/curves.csv`` and given to ``tracker`` as they come.

    Of several processes, all call this with the same arguments, all must see ``work``, and the first one alone writes
    and tracks; all end with the weights of the best round. A run may be continued by another number of processes.

    Raises:
        KineflowError: The loss became infinite or NaN, a clip cannot be read, batches cannot be shared evenly by the
            processes, or one of them was lost.
        KeyboardInterrupt: Training was interrupted; the last round's checkpoint is kept.
    """
    clips_of_val = len(val)  # type: ignore[arg-type]
    if processes.is_first():
        work.mkdir(parents=True, exist_ok=True)
    several = processes.count() > 1
    if several:
        draws = draws.shared(processes.number(), processes.count())
        with _naming_lost_process():
            processes.join(device)
            processes.require_shared(work)
    _channels_last(task)
    module = _LightningTask(task, draws, settings, seed, validated=clips_of_val).train()
    monitor = Monitor(settings.steps, Curves(work / CURVES_FILE), tracker)
    best = ModelCheckpoint(
        work,
        "best",
        monitor=f"val/{settings.select_by}",
        mode="max" if settings.select_by == "top1" else "min",
        save_weights_only=True,
        enable_version_counter=False,
    )
    last = ModelCheckpoint(work, "last", enable_version_counter=False)
    validated = processes.share_of(clips_of_val) or range(1)  # of an empty share the answers are not used
    loaders = (
        _loader(train, settings, batch_sampler=draws),
        _loader(val, settings, sampler=validated, batch_size=max(1, settings.batch_size // processes.count())),
    )
    resume_from = work / "last.ckpt"
    with _contained(), synchronised_norms(task) if several else nullcontext():
        trainer = pl.Trainer(
            max_epochs=settings.steps // settings.validate_every_steps,
            accelerator=device,
            devices=processes.count_here(),
            num_nodes=processes.count() // processes.count_here(),
            # Buffers need no care: only normalisation has any that change, and it is synchronised.
            strategy=DDPStrategy(broadcast_buffers=False) if several else "auto",
            precision=_precision(settings),
            gradient_clip_val=settings.optimiser.clip_gradient_norm or None,
            # In this order: the last checkpoint knows of the best.
            callbacks=[monitor, best, last, *([_StopsAtOnce()] if several else [])],
            plugins=[_WholeCheckpoints(), *([TorchElasticEnvironment()] if several else [])],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            deterministic="warn",
            default_root_dir=work,
        )
        trainer.fit(module, *loaders, ckpt_path=resume_from if resume_from.exists() else None, weights_only=True)
    kept: Any = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(kept["state_dict"])
    with _naming_lost_process():
        processes.wait_for_all()  # the first may remove ``work`` now
    return Fitted({**kept["figures"], **monitor.rates()}, best_step=int(kept["global_step"]))


class _WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints whole or absent: Lightning's own are moved in from the temporary folder, byte by byte from a disk
    to another, so that a full disk or a kill leaves half of one for the next run to stumble over."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with atomic_file(Path(path)) as partial:
            partial.write_bytes(content.getbuffer())


class _StopsAtOnce(Callback):
    """SIGTERM ends one of several processes as Ctrl-C does.

    Lightning would have it tell the others, by a message in the middle of whatever they are exchanging.
    """

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take the place of the handler that Lightning has just set, and will take away."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _channels_last(task: Classification) -> None:
    """Lay 3-D convolutions out as time, height, width, channel, which is 1.6 times as fast on a CPU."""
    for parameter in task.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)


def _loader(clips: Dataset[Any], settings: RunSettings, **batching: Any) -> DataLoader[Any]:
    return DataLoader(
        clips,
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
        pin_memory=torch.cuda.is_available(),
        **batching,
    )


@contextmanager
def _contained() -> Iterator[None]:
    """Let Lightning neither speak (of devices, tips, workers) nor leave the process changed.

    Raises:
        KineflowError: As the block raised it, in whichever process.
        KeyboardInterrupt: Of a Ctrl-C (or SIGTERM), which Lightning turns into an exit.
    """
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    deterministic = torch.get_deterministic_debug_mode()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), _naming_lost_process():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            warnings.filterwarnings("ignore", message=".* does not have a deterministic implementation")
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
            yield
    except KineflowError as error:
        raise _as_raised(error) from None
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        torch.set_deterministic_debug_mode(deterministic)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _naming_lost_process() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not processes.is_lost_process(error):
            raise
        raise processes.lost_process() from None


def _as_raised(error: KineflowError) -> KineflowError:
    """The error itself, where a decoding process has handed it over as text inside a traceback."""
    _, from_process, text = error.problem.rpartition("kineflow.storage.errors.KineflowError: ")
    return KineflowError(text.strip()) if from_process else error


def _precision(settings: RunSettings) -> Any:
    if settings.precision == "auto":
        has_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        return "bf16-mixed" if has_bf16 else "32-true"
    return {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}[settings.precision]


class _LightningTask(pl.LightningModule):
    """Joins a task to Lightning's loop."""

    def __init__(self, task: Classification, draws: Draws, settings: RunSettings, seed: int, *, validated: int) -> None:
        super().__init__()
        self.task, self.draws, self.settings, self.seed = task, draws, settings, seed
        self.validated = validated
        self.terms: dict[str, float] = {}  # of the last step's whole batch
        self._seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._figures: dict[str, float] = {}

    def configure_optimizers(self) -> Any:
        optimiser = build_optimiser(self.task.network, self.settings.optimiser)
        schedule = build_schedule(optimiser, self.settings.optimiser, steps=self.settings.steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Decoding processes fetch the first batches before the hook below is called.
        self.draws.set_epoch(checkpoint["global_step"] // self.draws.steps)

    def on_train_epoch_start(self) -> None:
        # Lightning tells samplers the round, and batch samplers nothing.
        self.draws.set_epoch(self.global_step // self.draws.steps)

    def training_step(self, batch: Batch, index: int) -> Any:
        # Dropout of a step depends on the step (and the process) alone, so that a resumed run repeats an undisturbed
        # one.
        torch.manual_seed(self.seed * 1_000_003 + self.global_step + processes.number() * _SEEDS_APART)
        terms = self.task.loss(batch)
        self.terms = processes.mean(terms)  # where one process's loss is not finite, this is not either: all stop
        if not math.isfinite(self.terms["loss"]):
            raise KineflowError(
                f"the loss became {self.terms['loss']} at step {self.global_step}",
                remedy="lower optimiser.learning_rate or distillation.weight, or set optimiser.clip_gradient_norm",
            )
        return terms["loss"]

    def validation_step(self, batch: Batch, index: int) -> None:
        self._seen.append((self.task.answers(batch).float(), batch["label"]))

    def on_validation_epoch_end(self) -> None:
        own = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        logits, labels = (processes.gathered(rows, self.validated) for rows in own)
        self._seen.clear()
        top1 = multiclass_accuracy(logits, labels, num_classes=logits.shape[1], average="micro")
        self._figures = {"val/top1": float(top1), "val/loss": float(F.cross_entropy(logits, labels))}
        self.log_dict(self._figures)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["figures"] = self._figures
