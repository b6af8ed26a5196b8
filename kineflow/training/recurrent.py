"""From stored features to a trained recurrent network: ALSTM, VideoLSTM, and what they are compared with.

The backbones are frozen, so what they see of a frame never changes: their features are computed once
(:mod:`kineflow.training.feature_extraction`), and training reads nothing else. The model that comes out holds the
backbones as well, and takes videos like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kineflow.data.batch_sampler import Pool
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.rows import joined
from kineflow.spec.classes import several_classes
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.split import Split
from kineflow.tracking.tracker import Tracker
from kineflow.training.clips import clips_of, val_of
from kineflow.training.composite import Parents, network_over, start_from
from kineflow.training.feature_dataset import FeatureDataset
from kineflow.training.jobs import Trained
from kineflow.training.model_cards import check_val_unseen, with_metrics
from kineflow.training.recurrent_settings import RecurrentSettings
from kineflow.training.refit import TrainingClips, fit_as_set
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
    """Train a recurrent network on the features of ``train``; ``settings.keep`` says which weights are kept.

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
        KineflowError: Streams, network and parents do not fit together, one has learnt from ``val``, which is to
            choose, or clips or their features are missing.
    """
    for stream in streams:
        clip_set.require_form(stream.features.source.preprocessing, of=f"features by {stream.card.name!r}")
    network, card = network_over(streams, settings, clip_set.classes, name=name, seed=seed)
    if parents:
        card = start_from(parents, network, card)
    if clip_set.multi_label and not card.multi_label:
        raise several_classes(f"{name!r} without network.multi_label")
    check_val_unseen(card, settings)
    common: dict[str, Any] = {
        "feature_sets": dict(zip(network.sequence.inputs, (stream.features for stream in streams), strict=True)),
        "spec": ClipSpec(settings.frames, settings.stride_frames),
        "cache_bytes": settings.cache_mb << 20,
    }

    def learnt_from(clips: Sequence[Clip]) -> TrainingClips:
        windows = FeatureDataset(clip_set, clips, every_window=settings.windows == "every", **common)
        return TrainingClips(windows, [Pool(range(windows.items), settings.batch_size)])

    labelled, val = clips_of(clip_set, Split.TRAIN), val_of(clip_set, settings)
    fitted = fit_as_set(
        StepwiseClassification(network, card.preprocessing, settings),
        train=learnt_from(labelled),
        val=FeatureDataset(clip_set, val, **common) if val else None,
        train_and_val=lambda: learnt_from(joined(labelled, val)),
        settings=settings,
        seed=seed,
        work=work,
        tracker=tracker,
    )
    return Trained(network, with_metrics(card, fitted), fitted)
