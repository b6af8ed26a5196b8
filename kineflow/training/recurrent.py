"""From stored features to a trained recurrent network: ALSTM, VideoLSTM, and what they are compared with.

The backbones are frozen, so what they see of a frame never changes: their features are computed once
(:mod:`kineflow.training.feature_extraction`), and training reads nothing else. The model that comes out holds the
backbones as well, and takes videos like any other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kineflow.data.batch_sampler import BatchSampler, Pool
from kineflow.sets.clip_set import ClipSet
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.split import Split
from kineflow.tracking.tracker import Tracker
from kineflow.training.clips import clips_of
from kineflow.training.composite import Parents, network_over, start_from
from kineflow.training.feature_dataset import FeatureDataset
from kineflow.training.jobs import Trained
from kineflow.training.loop import fit
from kineflow.training.recurrent_settings import RecurrentSettings
from kineflow.training.stepwise import StepwiseClassification
from kineflow.training.streams import Stream


def train_sequence_network(
    clip_set: ClipSet,
    streams: Sequence[Stream],
    settings: RecurrentSettings,
    *,
    parents: Parents | None = None,
    name: str,
    seed: int,
    work: Path,
    tracker: Tracker,
) -> Trained:
    """Train a recurrent network on the features of ``train``; the best round on ``val`` is kept.

    Args:
        clip_set: Says which clips are in which class and split.
        streams: One for each input of the network: appearance first, then motion.
        settings: Which network, and how to train it.
        parents: Trained networks that VideoLSTM starts from; None: it starts from scratch.
        name: Of the model.
        seed: Of weights, batches and dropout.
        work: Where checkpoints are kept, for a run that is interrupted.
        tracker: Receives the curves.

    Raises:
        KineflowError: Streams, network and parents do not fit together, or clips or their features are missing.
    """
    for stream in streams:
        clip_set.require_fps(stream.features.source.preprocessing.fps, of=f"features by {stream.card.name!r}")
    network, card = network_over(streams, settings, clip_set.classes, name=name, seed=seed)
    if parents:
        card = start_from(parents, network, card)
    common: dict[str, Any] = {
        "feature_sets": dict(zip(network.sequence.inputs, (stream.features for stream in streams), strict=True)),
        "spec": ClipSpec(settings.frames, settings.stride_frames),
        "cache_bytes": settings.cache_mb << 20,
    }
    every = settings.windows == "every"
    train = FeatureDataset(clip_set, clips_of(clip_set, Split.TRAIN), every_window=every, **common)
    fitted = fit(
        StepwiseClassification(network, card.preprocessing, settings),
        train=train,
        batch_sampler=BatchSampler(
            [Pool(range(train.items), settings.batch_size)], steps=settings.validate_every_steps, seed=seed
        ),
        val=FeatureDataset(clip_set, clips_of(clip_set, Split.VAL), **common),
        settings=settings,
        seed=seed,
        work=work,
        tracker=tracker,
    )
    figures = {key: value for key, value in fitted.metrics.items() if key.startswith("val/")}
    card = dataclasses.replace(card, metrics={**figures, "best_step": float(fitted.best_step)})
    return Trained(network, card, fitted)
