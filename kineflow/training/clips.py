"""What a network is trained on, and the fitting of a task to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kineflow.data.batch_sampler import Pool
from kineflow.data.dataset import NO_ONLOOKERS, ClipDataset, Geometry, Onlooker
from kineflow.models.card import ModelCard
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_set import FlowSet
from kineflow.sets.rows import joined
from kineflow.spec.modality import Modality
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.tracking.tracker import Tracker
from kineflow.training.decoded_batches import decoding_here
from kineflow.training.loop import Fitted
from kineflow.training.processes import device_of
from kineflow.training.refit import TrainingClips, fit_as_set
from kineflow.training.settings import RunSettings, TrainSettings
from kineflow.training.tasks import Classification

WITHOUT_VAL = "set ingestion.val_share above 0, or train on all clips with keep: last (or average)"


@dataclass(frozen=True)
class Data:
    """What a network is trained on; ``flow_set`` may be absent where no stream reads flow."""

    clip_set: ClipSet
    flow_set: FlowSet | None


def fit_on_clips(
    task: Classification,
    data: Data,
    settings: TrainSettings,
    *,
    modalities: tuple[Modality, ...],
    onlookers: Mapping[str, Onlooker] = NO_ONLOOKERS,
    unlabelled_batch: int = 0,
    seed: int,
    work: Path,
    tracker: Tracker,
) -> Fitted:
    """Train a task on the clips of ``train``, with unlabelled ones where that is asked, and validate it on ``val``.

    Raises:
        KineflowError: The clip set has no clips to train or validate on, or flow is missing.
    """
    labelled, val = clips_of(data.clip_set, Split.TRAIN), val_of(data.clip_set, settings)
    unlabelled = clips_of(data.clip_set, Split.UNLABELLED) if unlabelled_batch else ()
    wanted = task.preprocessing
    geometry = Geometry(
        ClipSpec(settings.frames, settings.stride_frames, settings.short),
        settings.short_side,
        settings.crop,
        segments=wanted.segments,
        jitter=settings.jitter,
        fit=settings.fit,
        flow_frames=wanted.flow_frames,
        stride_frames_max=settings.stride_frames_max,
    )
    tested = dataclasses.replace(geometry, spec=ClipSpec(wanted.frames, wanted.stride_frames, wanted.short))
    decodes_rgb = decoding_here(settings.decoding, device_of("auto")) == "cpu"
    common: dict[str, Any] = {
        "flow_set": data.flow_set,
        "cache_bytes": settings.cache_mb << 20,
        "decodes_rgb": decodes_rgb,
    }

    def learnt_from(clips: Sequence[Clip]) -> TrainingClips:
        every = joined(clips, unlabelled) if unlabelled else clips
        groups = _by_class(data.clip_set, clips) if settings.sampling == "balanced" else ()
        pools = [Pool(range(len(clips)), settings.batch_size, groups)]
        if unlabelled:
            pools.append(Pool(range(len(clips), len(every)), unlabelled_batch))
        shown = ClipDataset(
            data.clip_set,
            every,
            modalities=modalities,
            geometry=geometry,
            may_flip=settings.flip,
            onlookers=onlookers,
            **common,
        )
        return TrainingClips(shown, pools)

    return fit_as_set(
        task,
        train=learnt_from(labelled),
        val=ClipDataset(data.clip_set, val, modalities=(wanted.modality,), geometry=tested, **common) if val else None,
        train_and_val=lambda: learnt_from(joined(labelled, val)),
        settings=settings,
        seed=seed,
        work=work,
        tracker=tracker,
    )


def _by_class(clip_set: ClipSet, clips: Sequence[Clip]) -> tuple[tuple[int, ...], ...]:
    """Places of the clips of each class that has any."""
    places: dict[int, list[int]] = {}
    for place, clip in enumerate(clips):
        places.setdefault(clip_set.label_index(clip), []).append(place)
    return tuple(tuple(places[label]) for label in sorted(places))


def val_of(clip_set: ClipSet, settings: RunSettings) -> Sequence[Clip]:
    """The usable clips of ``val``; none where there are none and training can do without.

    Raises:
        KineflowError: The best round on ``val`` is to be kept, and there are none.
    """
    clips = clip_set.usable(Split.VAL)
    if settings.needs_val and not clips:
        raise KineflowError(
            "the clip set has no usable clip in split 'val', which chooses the round that is kept",
            where=clip_set.media_root,
            remedy=WITHOUT_VAL,
        )
    return clips


def clips_of(clip_set: ClipSet, split: Split) -> Sequence[Clip]:
    """The usable clips of a split.

    Raises:
        KineflowError: There are none.
    """
    clips = clip_set.usable(split)
    if not clips:
        raise KineflowError(
            f"the clip set has no usable clip in split {split.value!r}",
            where=clip_set.media_root,
            remedy="give the split some clips, or switch off what needs it",
        )
    return clips


def check_warped(card: ModelCard, flow_set: FlowSet | None) -> None:
    """Check that a stream of warped flow is not given flow with the camera's motion in it.

    Raises:
        KineflowError: It is.
    """
    kept = flow_set is not None and flow_set.params.get("camera_motion") == "kept"
    if card.preprocessing.modality == "warped_flow" and kept:
        raise KineflowError(
            "a stream of warped flow was given flow with the camera's motion in it",
            where=f"model {card.name!r}",
            remedy="pass a flow set that was extracted with camera_motion: removed",
        )
