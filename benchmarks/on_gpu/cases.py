"""The trainings that are timed: networks at the size of the papers, or tiny ones for a dry run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from kineflow.models.registry import create_model
from kineflow.spec.preprocessing import Preprocessing
from kineflow.training.distillation import Distillation, Teacher
from kineflow.training.settings import DistillSettings
from kineflow.training.tasks import Batch, Classification

CLASSES = 400


@dataclass(frozen=True)
class Size:
    """Frames a clip and its side (px), the width of networks (1: the papers'), and clips a step."""

    frames: int
    side: int
    width: float
    clips: int


@dataclass(frozen=True)
class Case:
    """A training; ``modalities`` are what a batch of it holds."""

    name: str
    size: Size
    task: Callable[[Size], Classification]
    modalities: tuple[str, ...] = ("rgb",)

    def batch(self, clips: int) -> Batch:
        """Noise as decoded clips: uint8, in pinned memory where there is a GPU."""
        size = self.size
        channels = {"rgb": 3, "flow": 2}
        batch = {"label": torch.arange(clips) % CLASSES}
        for modality in self.modalities:
            shape = (clips, channels[modality], size.frames, size.side, size.side)
            batch[modality] = torch.randint(0, 256, shape, dtype=torch.uint8)
        return {k: v.pin_memory() for k, v in batch.items()} if torch.cuda.is_available() else batch


def cases(dry: bool) -> list[Case]:
    """S3D-G, TSN, and a distillation of S3D-G."""
    clip = Size(8, 32, 0.125, 2) if dry else Size(64, 224, 1.0, 16)
    snippets = Size(3, 64, 0.125, 2) if dry else Size(3, 224, 1.0, 128)
    return [
        Case("S3D-G", clip, _s3d_g),
        Case("TSN", snippets, _tsn),
        Case("distillation into S3D-G", clip, _distillation, ("rgb", "flow")),
    ]


def _seen(modality: str, size: Size, segments: int = 0) -> Preprocessing:
    channels = 3 if modality == "rgb" else 2
    frames = 1 if segments else size.frames
    mean, std = (128.0,) * channels, (64.0,) * channels
    return Preprocessing(modality, frames, 1, size.side, size.side, mean, std, segments=segments)


def _s3d_g(size: Size) -> Classification:
    network = create_model("s3d_g", num_classes=CLASSES, width=size.width)
    return Classification(network, _seen("rgb", size))


def _tsn(size: Size) -> Classification:
    network = create_model("tsn", num_classes=CLASSES, width=size.width, segments=size.frames)
    return Classification(network, _seen("rgb", size, segments=size.frames))


def _distillation(size: Size) -> Distillation:
    student, teacher = (
        create_model("s3d_g", num_classes=CLASSES, width=size.width, in_channels=channels) for channels in (3, 2)
    )
    return Distillation(
        student,
        _seen("rgb", size),
        teachers=[Teacher(teacher, _seen("flow", size))],
        settings=DistillSettings(),
    )
