"""A frozen teacher is asked about a clip once, where the clip looks the same whenever it is drawn."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from kineflow.data.batch_sampler import BatchSampler
from kineflow.data.collate import collate
from kineflow.data.dataset import ClipDataset
from kineflow.storage.progress import track
from kineflow.training import processes
from kineflow.training.decoded_batches import DecodedBatches
from kineflow.training.distillation import Distillation
from kineflow.training.settings import RunSettings
from kineflow.training.tasks import on_device
from kineflow.training.trainer import Trainer

_MOST_BYTES = 2**29  # of all answers, in the memory of each process


def keep_answers(
    trainer: Trainer, clips: Dataset[Any], batch_sampler: BatchSampler, settings: RunSettings, *, steps: int
) -> Dataset[Any]:
    """The same clips with the teachers' answers in place of what they look at.

    They are ``clips`` themselves where no teacher teaches, where windows, crops, flips, mixtures or colours are drawn
    at random, where fewer samples will be drawn than there are clips, or where answers would take more than 512 MiB, as
    maps of early stages do. Collective: each process asks about its shard.

    Args:
        steps: Of the training, which may be fewer than the settings have.
    """
    task = trainer.task
    if trainer.augmentation.is_on or not (isinstance(task, Distillation) and isinstance(clips, ClipDataset)):
        return clips
    shown = clips.showing((task.preprocessing.modality,))
    if not (clips.has_fixed_views() and shown.has_fixed_views()):
        return clips
    drawn = steps * sum(pool.per_batch for pool in batch_sampler.pools)
    if drawn <= len(clips):
        return clips
    own = processes.shard_of(len(clips)) or range(1)  # of an empty shard the answers are not used
    batches: DataLoader[Any] = DataLoader(
        clips,
        sampler=own,
        batch_size=settings.micro_batch_size,
        num_workers=settings.workers,
        collate_fn=collate,
    )
    rows: list[dict[str, torch.Tensor]] = []
    with torch.no_grad(), trainer.autocast:
        for batch in track(DecodedBatches(batches, trainer.device), total=len(batches), what="ask the teacher"):
            answers = task.answers(on_device(batch, trainer.device))
            rows.append({key: answer.float() for key, answer in answers.items()})
            if sum(answer[0].nbytes for answer in rows[0].values()) * len(clips) > _MOST_BYTES:
                return clips
    return shown.with_answers(
        {key: processes.all_gather(torch.cat([row[key] for row in rows]), len(clips)).cpu() for key in rows[0]}
    )
