"""From clip set and initial weights to a model that has learnt from unlabelled clips too."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from torch import nn

from kineflow.models.network import VideoNetwork
from kineflow.models.st_resnet import STResNet
from kineflow.storage.errors import KineflowError
from kineflow.tracking.tracker import Tracker
from kineflow.training.clips import Data, check_warped, fit_on_clips
from kineflow.training.jobs import Trained
from kineflow.training.model_cards import for_these_classes, with_flow_source, with_metrics
from kineflow.training.semi_supervised.fixmatch import FixMatch
from kineflow.training.semi_supervised.mean_teacher import MeanTeacher
from kineflow.training.semi_supervised.settings import ONE_AVERAGE, TWO_AVERAGES, FixMatchSettings, MeanTeacherSettings
from kineflow.training.settings import TrainSettings


def train_by_itself(
    data: Data,
    initial: Path,
    settings: TrainSettings,
    method: FixMatchSettings | MeanTeacherSettings,
    *,
    name: str,
    seed: int,
    work: Path,
    tracker: Tracker,
) -> Trained:
    """Train a network on labelled and unlabelled clips without another one that teaches it.

    The arguments are those of :func:`kineflow.training.jobs.train_network`; ``method`` says what unlabelled clips are
    for.

    Raises:
        KineflowError: The clip set has no unlabelled clips, the network or its modality cannot be trained so, or two
            averages of weights are asked for.
    """
    if isinstance(method, MeanTeacherSettings) and settings.ema:
        raise KineflowError(TWO_AVERAGES, where="ema", remedy=ONE_AVERAGE)
    network, card = for_these_classes(initial, data.clip_set, settings, name=name, seed=seed)
    check_warped(card, data.flow_set)
    if isinstance(network, STResNet):
        raise KineflowError("ST-ResNet learns from labelled clips alone", remedy="train it by the step train")
    options = settings.task_options()
    task: FixMatch | MeanTeacher
    if isinstance(method, FixMatchSettings):
        task = FixMatch(network, card.preprocessing, settings=method, **options)
        kept: nn.Module = network
    else:
        task = MeanTeacher(network, card.preprocessing, settings=method, **options)
        kept = task.teacher
    assert isinstance(kept, VideoNetwork)
    fitted = fit_on_clips(
        task,
        data,
        settings,
        modalities=(card.preprocessing.modality,),
        unlabelled_batch=method.unlabelled_batch_size,
        seed=seed,
        work=work,
        tracker=tracker,
    )
    card = dataclasses.replace(card, lineage={**card.lineage, "semi_supervised": method.described()})
    return Trained(kept, with_metrics(with_flow_source(card, data), fitted), fitted)
