"""From clip set, flow set and initial weights to a trained model bundle: the two kinds of training a recipe has."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from kineflow.models.bundle import load_bundle, weights_digest
from kineflow.models.card import ModelCard
from kineflow.models.network import VideoNetwork
from kineflow.models.st_resnet import STResNet
from kineflow.sets.flow_set import flow_digest
from kineflow.storage.errors import KineflowError
from kineflow.tracking.tracker import Tracker
from kineflow.training.clips import Data, check_warped, fit_on_clips
from kineflow.training.loop import Fitted
from kineflow.training.model_cards import for_these_classes, with_flow_source, with_metrics
from kineflow.training.settings import DistillSettings, TrainSettings
from kineflow.training.tasks import Classification, Distillation
from kineflow.training.two_stream import TwoStream


@dataclass(frozen=True)
class Trained:
    """A trained network, its card, and how training went."""

    network: VideoNetwork
    card: ModelCard
    fitted: Fitted

    @property
    def summary(self) -> str:
        """One line: which weights were kept, and how good they were."""
        figures = ", ".join(f"{name} {value:.3f}" for name, value in self.fitted.metrics.items())
        return f"{self.fitted.kept}; {figures}"


def train_network(
    data: Data, initial: Path, settings: TrainSettings, *, name: str, seed: int, work: Path, tracker: Tracker
) -> Trained:
    """Train one stream on the labelled clips of ``train``; ``settings.keep`` says which weights are kept.

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
    data.clip_set.require_fps(teacher_card.preprocessing.fps, of=f"teacher {teacher_card.name!r}")
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
        **settings.task_options(),
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
    learnt_from = {"teacher": teacher_card.name, "teacher_weights_sha256": weights_digest(teacher)}
    learnt_from |= {"flow": flow_digest(data.flow_set)} if data.flow_set else {}
    card = with_flow_source(dataclasses.replace(card, lineage={**card.lineage, **learnt_from}), data)
    return Trained(network, with_metrics(card, fitted), fitted)


def _task(network: VideoNetwork, card: ModelCard, settings: TrainSettings) -> Classification:
    if isinstance(network, STResNet):
        return TwoStream(network, card.preprocessing, **settings.task_options())
    return Classification(network, card.preprocessing, **settings.task_options())


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
