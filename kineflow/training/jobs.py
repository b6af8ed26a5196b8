"""From clip set, flow set and initial weights to a trained model bundle: the two kinds of training a recipe has."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kineflow.data.batch_sampler import BatchSampler, Pool
from kineflow.data.crops import Jitter
from kineflow.data.dataset import ClipDataset, Geometry
from kineflow.models.bundle import load_bundle
from kineflow.models.card import ModelCard
from kineflow.models.network import VideoNetwork
from kineflow.models.st_resnet import STResNet
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.flow_source import FlowSource
from kineflow.spec.modality import Modality, reads_flow
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.tracking.tracker import Tracker
from kineflow.training.loop import Fitted, fit
from kineflow.training.settings import DistillSettings, TrainSettings
from kineflow.training.tasks import Classification, Distillation
from kineflow.training.two_stream import TwoStream


@dataclass(frozen=True)
class Data:
    """What a network is trained on; ``flow_set`` may be absent where no stream reads flow."""

    clip_set: ClipSet
    flow_set: FlowSet | None


@dataclass(frozen=True)
class Trained:
    """A trained network, its card, and how training went."""

    network: VideoNetwork
    card: ModelCard
    fitted: Fitted

    @property
    def summary(self) -> str:
        """One line: how good the best round was, and when."""
        figures = ", ".join(f"{name} {value:.3f}" for name, value in self.fitted.metrics.items())
        return f"best after {self.fitted.best_step} steps; {figures}"


def train_network(
    data: Data, initial: Path, settings: TrainSettings, *, name: str, seed: int, work: Path, tracker: Tracker
) -> Trained:
    """Train one stream on the labelled clips of ``train``; the best round on ``val`` is kept.

    Args:
        data: Clips, and flow where the stream reads it.
        initial: Bundle of initial weights; its modality is the stream's. Its classifier is kept if it is one for the
            classes of the clip set, and made anew if not.
        settings: How to train.
        name: Of the model.
        seed: Of weights, batches and dropout.
        work: Where checkpoints are kept, for a run that is interrupted.
        tracker: Receives the curves.

    Raises:
        KineflowError: The clip set has no clips to train or validate on, or flow is missing.
    """
    network, card = for_these_classes(initial, data.clip_set, settings, name=name, seed=seed)
    check_warped(card, data.flow_set)
    task = _task(network, card, settings)
    fitted = fit_on_clips(
        task, data, settings, modalities=(card.preprocessing.modality,), seed=seed, work=work, tracker=tracker
    )
    card = with_flow_source(card, data)
    return Trained(network, with_metrics(card, fitted), fitted)


def distil_student(
    data: Data,
    initial: Path,
    teacher: Path,
    settings: TrainSettings,
    distillation: DistillSettings,
    *,
    name: str,
    use_unlabelled: bool,
    seed: int,
    work: Path,
    tracker: Tracker,
) -> Trained:
    """Train a student that learns from labels and from a frozen teacher of another modality.

    With ``use_unlabelled``, each step adds ``distillation.unlabelled_batch_size`` clips of the split ``unlabelled``,
    which enter the distillation term alone. The other arguments are those of :func:`train_network`.

    Raises:
        KineflowError: Teacher and student do not fit together (direction, classes, geometry), or clips are missing.
    """
    network, card = for_these_classes(initial, data.clip_set, settings, name=name, seed=seed)
    teacher_network, teacher_card = load_bundle(teacher)
    _check_pair(card, teacher_card, distillation)
    if distillation.layer == "features" and network.num_features != teacher_network.num_features:
        raise KineflowError(
            f"the teacher has {teacher_network.num_features} features and the student {network.num_features}",
            remedy="set distillation.layer to logits, or give both networks the same width",
        )
    task = Distillation(
        network,
        card.preprocessing,
        teacher=teacher_network,
        teacher_preprocessing=teacher_card.preprocessing,
        settings=distillation,
        label_smoothing=settings.label_smoothing,
        partial_norms=settings.partial_norms,
    )
    fitted = fit_on_clips(
        task,
        data,
        settings,
        modalities=("rgb", "flow"),
        unlabelled_batch=distillation.unlabelled_batch_size if use_unlabelled else 0,
        seed=seed,
        work=work,
        tracker=tracker,
    )
    card = with_flow_source(dataclasses.replace(card, lineage={**card.lineage, "teacher": teacher_card.name}), data)
    return Trained(network, with_metrics(card, fitted), fitted)


def _task(network: VideoNetwork, card: ModelCard, settings: TrainSettings) -> Classification:
    options: dict[str, Any] = {
        "label_smoothing": settings.label_smoothing,
        "partial_norms": settings.partial_norms,
    }
    if isinstance(network, STResNet):
        return TwoStream(network, card.preprocessing, **options)
    return Classification(network, card.preprocessing, **options)


def with_flow_source(card: ModelCard, data: Data) -> ModelCard:
    """The card, with what it takes to make the flow of any video as that of the flow set was made."""
    if not reads_flow(card.preprocessing.modality):
        return card
    return dataclasses.replace(card, flow=flow_source_of(data.flow_set, data.clip_set))


def flow_source_of(flow_set: FlowSet | None, clip_set: ClipSet) -> FlowSource | None:
    """How the flow was made; None where there is none, or another tool has made it."""
    if flow_set is None:
        return None
    short_side = max(min(clip.height, clip.width) for clip in clip_set.clips if clip.status is Status.OK)
    return FlowSource.of(flow_set.params, bound_px=flow_set.bound_px, short_side=short_side)


def for_these_classes(
    initial: Path, clip_set: ClipSet, settings: TrainSettings, *, name: str, seed: int
) -> tuple[VideoNetwork, ModelCard]:
    """The network of a bundle, for the classes of the clip set and clips as the settings have them, and its new card.

    Raises:
        KineflowError: The settings do not fit the network.
    """
    network, card = load_bundle(initial)
    if card.preprocessing.segments and not card.preprocessing.frames == settings.frames == settings.tested_frames:
        tested = "" if settings.tested_frames == settings.frames else f" ({settings.tested_frames} in tests)"
        raise KineflowError(
            f"frames is {settings.frames}{tested}, and snippets of {card.name!r} have {card.preprocessing.frames}",
            remedy="give the training of a stream the snippet length that its network was built for",
        )
    if settings.partial_norms != "off" and card.lineage.get("initialised") == "from scratch":
        raise KineflowError(
            f"partial_norms freezes what {card.name!r} has never learnt: it starts from scratch",
            remedy='give pretraining a checkpoint, or set partial_norms to "off"',
        )
    torch.manual_seed(seed)
    if card.classes != clip_set.classes:
        network.reset_classifier(len(clip_set.classes))
    preprocessing = dataclasses.replace(
        card.preprocessing,
        frames=settings.tested_frames,
        stride_frames=settings.test_stride_frames or settings.stride_frames,
        short_side=settings.short_side,
        crop=settings.crop,
        fit=settings.fit,
        short=settings.short,
    )
    return network, dataclasses.replace(card, name=name, classes=clip_set.classes, preprocessing=preprocessing)


def fit_on_clips(
    task: Classification,
    data: Data,
    settings: TrainSettings,
    *,
    modalities: tuple[Modality, ...],
    unlabelled_batch: int = 0,
    seed: int,
    work: Path,
    tracker: Tracker,
) -> Fitted:
    """Train a task on the clips of ``train``, with unlabelled ones where that is asked, and validate it on ``val``.

    Raises:
        KineflowError: The clip set has no clips to train or validate on, or flow is missing.
    """
    labelled, val = (clips_of(data.clip_set, split) for split in (Split.TRAIN, Split.VAL))
    unlabelled = clips_of(data.clip_set, Split.UNLABELLED) if unlabelled_batch else []
    wanted = task.preprocessing
    seen = Geometry(
        ClipSpec(settings.frames, settings.stride_frames, settings.short),
        settings.short_side,
        settings.crop,
        segments=wanted.segments,
        jitter=Jitter(settings.crop_scales, settings.crop_positions) if settings.crop_scales else None,
        fit=settings.fit,
        flow_frames=wanted.flow_frames,
        stride_frames_max=settings.stride_frames_max,
    )
    tested = dataclasses.replace(seen, spec=ClipSpec(wanted.frames, wanted.stride_frames, wanted.short))
    common: dict[str, Any] = {"flow_set": data.flow_set, "cache_bytes": settings.cache_mb << 20}
    pools = [Pool(tuple(range(len(labelled))), settings.batch_size)]
    if unlabelled:
        pools.append(Pool(tuple(range(len(labelled), len(labelled) + len(unlabelled))), unlabelled_batch))
    return fit(
        task,
        train=ClipDataset(
            data.clip_set,
            [*labelled, *unlabelled],
            modalities=modalities,
            geometry=seen,
            may_flip=settings.flip,
            **common,
        ),
        batch_sampler=BatchSampler(pools, steps=settings.validate_every_steps, seed=seed),
        val=ClipDataset(data.clip_set, val, modalities=(wanted.modality,), geometry=tested, **common),
        settings=settings,
        seed=seed,
        work=work,
        tracker=tracker,
    )


def clips_of(clip_set: ClipSet, split: Split) -> list[Clip]:
    """The usable clips of a split.

    Raises:
        KineflowError: There are none.
    """
    clips = clip_set.usable(split)
    if not clips:
        raise KineflowError(
            f"the clip set has no usable clip in split {split.value!r}",
            where=clip_set.media_root,
            remedy="give the split some clips (for val: ingestion.val_share), or switch off what needs it",
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


def _check_pair(student: ModelCard, teacher: ModelCard, settings: DistillSettings) -> None:
    taught = f"{teacher.preprocessing.modality}_to_{student.preprocessing.modality}"
    if taught != settings.direction:
        raise KineflowError(
            f"the teacher and the initial weights make {taught}, not distillation.direction {settings.direction}",
            remedy="swap the models or the direction",
        )
    if teacher.classes != student.classes:
        raise KineflowError(
            f"the teacher knows the classes {_listed(teacher.classes)}, the clip set has {_listed(student.classes)}",
            remedy="train the teacher on this clip set",
        )
    for field in ("frames", "stride_frames", "short_side", "crop"):
        mine, theirs = (getattr(card.preprocessing, field) for card in (student, teacher))
        if mine != theirs:
            raise KineflowError(
                f"{field} is {theirs} for the teacher and {mine} for the student; both must see the same clip",
                remedy="give the sections of teacher and student the same value",
            )


def _listed(classes: tuple[str, ...]) -> str:
    return f"{', '.join(classes[:5])}{', …' if len(classes) > 5 else ''} ({len(classes)})"


def with_metrics(card: ModelCard, fitted: Fitted) -> ModelCard:
    """The card, with the validation figures of the round that was kept."""
    metrics: Mapping[str, float] = {name: value for name, value in fitted.metrics.items() if name.startswith("val/")}
    return dataclasses.replace(card, metrics={**metrics, "best_step": float(fitted.best_step)})
