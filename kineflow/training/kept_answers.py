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
from kineflow.training.settings import RunSettings
from kineflow.training.tasks import Distillation, on_device
from kineflow.training.trainer import Trainer


def keep_answers(
    trainer: Trainer, clips: Dataset[Any], batch_sampler: BatchSampler, settings: RunSettings
) -> Dataset[Any]:
    """The same clips with the teacher's answers in place of what it looks at.

    They are ``clips`` themselves where no teacher teaches, where windows, crops, flips, mixtures or colours are drawn
    at random, or where fewer samples will be drawn than there are clips. Collective: each process asks about its shard.
    """
    task = trainer.task
    if trainer.augmentation.is_on or not (isinstance(task, Distillation) and isinstance(clips, ClipDataset)):
        return clips
    seen, shown = (clips.showing((each.modality,)) for each in (task.teacher_preprocessing, task.preprocessing))
    if not all(each.has_fixed_views() for each in (clips, seen, shown)):
        return clips
    drawn = settings.steps * sum(pool.per_batch for pool in batch_sampler.pools)
    if drawn * processes.world_size() <= len(clips):
        return clips
    own = processes.shard_of(len(clips)) or range(1)  # of an empty shard the answers are not used
    batches: DataLoader[Any] = DataLoader(
        seen,
        sampler=own,
        batch_size=settings.batch_size // settings.accumulate,
        num_workers=settings.workers,
        collate_fn=collate,
    )
    rows = []
    with torch.no_grad(), trainer.autocast:
        for batch in track(DecodedBatches(batches, trainer.device), total=len(batches), what="ask the teacher"):
            rows.append(task.taught(on_device(batch, trainer.device)).float())
    answers = processes.all_gather(torch.cat(rows), len(clips)).cpu()
    return shown.with_answers(answers)
