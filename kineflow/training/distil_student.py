"""From clip set, flow set, initial weights and teachers to a student."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kineflow.data.dataset import Geometry, Onlooker
from kineflow.models.bundle import load_bundle, weights_digest
from kineflow.models.card import TRAINED_CLIP, ModelCard, clip_in_words, load_card
from kineflow.sets.flow_set import flow_digest
from kineflow.spec.modality import Modality, reads_flow
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import ClipSpec
from kineflow.storage.errors import KineflowError
from kineflow.tracking.tracker import Tracker
from kineflow.training.clips import Data, check_warped, fit_on_clips
from kineflow.training.distillation import Distillation, Teacher
from kineflow.training.jobs import Trained
from kineflow.training.model_cards import for_these_classes, with_flow_source, with_metrics
from kineflow.training.settings import DistillSettings, TrainSettings

_OF_A_VIEW = ("short_side", "crop", "fit", "short", "segments", "flow_frames")


@dataclass(frozen=True)
class _Bundle:
    """A teacher's, and the key under which batches have what it sees; empty where it sees what the student sees."""

    folder: Path
    card: ModelCard
    key: str = ""

    @property
    def modality(self) -> Modality:
        return self.card.preprocessing.modality


def distil_student(
    data: Data,
    initial: Path,
    teachers: Sequence[Path],
    settings: TrainSettings,
    distillation: DistillSettings,
    *,
    name: str,
    use_unlabelled: bool,
    seed: int,
    work: Path,
    tracker: Tracker,
) -> Trained:
    """Train a student that learns from labels and from frozen teachers.

    A teacher of another clip length, stride or size sees the same moment and place of each clip in its own geometry,
    as its card has it (:mod:`kineflow.data.onlookers`). With ``use_unlabelled``, each step adds
    ``distillation.unlabelled_batch_size`` clips of the split ``unlabelled``, which enter the distillation terms alone.

    Args:
        data: Clips, and flow where student or teachers read it.
        initial: Bundle of the student's initial weights.
        teachers: Bundles of the teachers; one that no term is about is not asked.
        settings: How to train.
        distillation: What the student learns from its teachers.
        name: Of the model.
        use_unlabelled: Whether unlabelled clips are learnt from.
        seed: Of weights, batches and dropout.
        work: Where checkpoints are kept, for a run that is interrupted.
        tracker: Receives the curves.

    Raises:
        KineflowError: Teachers and student do not fit together (direction, classes, layers), or clips are missing.
    """
    network, card = for_these_classes(initial, data.clip_set, settings, name=name, seed=seed)
    asked = [
        dataclasses.replace(each, key="" if _sees_alike(each.card, card, settings) else f"seen_by_teacher_{number}")
        for number, each in enumerate(_asked(teachers, distillation))
    ]
    _check_direction(asked[0], card, distillation)
    for each in asked:
        _check_teacher(each, card, data, settings, distillation)
    task = Distillation(
        network,
        card.preprocessing,
        teachers=[
            Teacher(load_bundle(each.folder)[0], each.card.preprocessing, each.card.name, each.key) for each in asked
        ],
        settings=distillation,
        **settings.task_options(),
    )
    fitted = fit_on_clips(
        task,
        data,
        settings,
        modalities=tuple(dict.fromkeys([card.preprocessing.modality, *(t.modality for t in asked if not t.key)])),
        onlookers={each.key: _onlooker(each.card.preprocessing) for each in asked if each.key},
        unlabelled_batch=distillation.unlabelled_batch_size if use_unlabelled else 0,
        seed=seed,
        work=work,
        tracker=tracker,
    )
    lineage = {**card.lineage, **_learnt_from(asked, distillation)}
    if data.flow_set and any(reads_flow(each.modality) for each in asked):
        lineage["flow"] = flow_digest(data.flow_set)
    card = with_flow_source(dataclasses.replace(card, lineage=lineage), data)
    return Trained(network, with_metrics(card, fitted), fitted)


def _asked(folders: Sequence[Path], settings: DistillSettings) -> list[_Bundle]:
    """The teachers that a term is about."""
    bundles = [_Bundle(folder, load_card(folder)) for folder in folders]
    names = [bundle.card.name for bundle in bundles]
    wanted = {term.teacher for term in settings.all_terms}
    if unknown := sorted(wanted - {"", *names}):
        raise KineflowError(
            f"no teacher is called {', '.join(map(repr, unknown))}",
            where="distillation.terms",
            remedy=f"name one of {', '.join(map(repr, names))}, or leave teacher out for all of them",
        )
    if ambiguous := sorted(name for name in wanted if names.count(name) > 1):
        raise KineflowError(
            f"several teachers are called {', '.join(map(repr, ambiguous))}",
            where="distillation.terms",
            remedy="give each a name of its own, or leave teacher out for all of them",
        )
    return [bundle for bundle in bundles if wanted & {"", bundle.card.name}]


def _sees_alike(teacher: ModelCard, student: ModelCard, settings: TrainSettings) -> bool:
    """Whether clips that the student learns from are such as the teacher has learnt from, but for the modality."""
    mine, theirs = student.preprocessing, teacher.preprocessing
    learnt = teacher.lineage.get(TRAINED_CLIP, clip_in_words(theirs.frames, theirs.stride_frames))
    if learnt != clip_in_words(settings.frames, settings.stride_frames):
        return False
    stacks = {theirs.modality, mine.modality} & {"rgb_flow"}
    return all(
        getattr(mine, field) == getattr(theirs, field) for field in _OF_A_VIEW if field != "flow_frames" or stacks
    )


def _onlooker(preprocessing: Preprocessing) -> Onlooker:
    spec = ClipSpec(preprocessing.frames, preprocessing.stride_frames, preprocessing.short)
    geometry = Geometry(
        spec,
        preprocessing.short_side,
        preprocessing.crop,
        segments=preprocessing.segments,
        fit=preprocessing.fit,
        flow_frames=preprocessing.flow_frames,
    )
    return Onlooker(preprocessing.modality, geometry)


def _check_direction(teacher: _Bundle, student: ModelCard, settings: DistillSettings) -> None:
    taught = f"{teacher.modality}_to_{student.preprocessing.modality}"
    if taught != settings.direction:
        raise KineflowError(
            f"the teacher {teacher.card.name!r} and the initial weights make {taught}, not distillation.direction "
            f"{settings.direction}",
            remedy="swap the models or the direction",
        )


def _check_teacher(
    teacher: _Bundle, student: ModelCard, data: Data, settings: TrainSettings, distillation: DistillSettings
) -> None:
    card, name = teacher.card, teacher.card.name
    data.clip_set.require_form(card.preprocessing, of=f"teacher {name!r}")
    check_warped(card, data.flow_set)
    terms = [term for term in distillation.all_terms if term.teacher in ("", name)]
    if card.classes != student.classes and any(term.layer == "logits" for term in terms):
        raise KineflowError(
            f"the teacher knows the classes {_listed(card.classes)}, the clip set has {_listed(student.classes)}",
            where=f"teacher {name!r}",
            remedy="train the teacher on this clip set, or learn from another layer than logits, as features",
        )
    lasts = card.preprocessing.frames * card.preprocessing.stride_frames
    mine = str(settings.frames * settings.stride_frames)
    if settings.stride_frames_max > settings.stride_frames:
        mine += f" to {settings.frames * settings.stride_frames_max}"
    if teacher.key and str(lasts) != mine and any(term.compares_maps for term in terms):
        raise KineflowError(
            f"the teacher sees {lasts} frames of video (frames × stride_frames) and the student {mine}: places in "
            "their maps are other moments",
            where=f"teacher {name!r}",
            remedy="set pooled to true in distillation.terms, or choose the student's frames and stride_frames alike, "
            "and no stride_frames_max",
        )


def _learnt_from(teachers: Sequence[_Bundle], settings: DistillSettings) -> dict[str, str]:
    """The teachers, the second and later by number, and the losses."""
    facts = {"distillation": settings.described()}
    for number, teacher in enumerate(teachers, 1):
        key = "teacher" if number == 1 else f"teacher_{number}"
        facts |= {key: teacher.card.name, f"{key}_weights_sha256": weights_digest(teacher.folder)}
    return facts


def _listed(classes: tuple[str, ...]) -> str:
    return f"{', '.join(classes[:5])}{', …' if len(classes) > 5 else ''} ({len(classes)})"
