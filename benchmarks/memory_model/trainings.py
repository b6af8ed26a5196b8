"""The trainings of a parameter file, as its recipe has them: which network, and which clips a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from components.pretrain_tsn import stream_hyperparameters as tsn_hyperparameters
from kineflow.models.registry import create_model, hyperparameters_of
from kineflow.spec.modality import Modality, channels_of
from kineflow.spec.preprocessing import Preprocessing
from kineflow.training.d3d_variants import AuxiliaryDecoding
from kineflow.training.distillation import Distillation, Teacher
from kineflow.training.settings import RunSettings, TrainSettings
from kineflow.training.stepwise import StepwiseClassification
from kineflow.training.tasks import Batch, Classification
from kineflow.training.two_stream import TwoStream
from pipelines.dag.graph import Graph, Produced, Task
from pipelines.dag.params import graph_for, load_params, schema_of

CLASSES = 101
BOUND_PX = 20.0


@dataclass(frozen=True)
class Training:
    """One training: its name in the recipe, its settings, its task, and a batch of so many labelled clips."""

    name: str
    settings: RunSettings
    build: Callable[[], Classification]
    batch: Callable[[int], Batch]


@dataclass(frozen=True)
class _Initial:
    """The network that a training starts from: how it is made, and what it sees."""

    architecture: str
    hyperparameters: dict[str, Any]
    modality: Modality
    flow_frames: int = 1
    segments: int = 1

    @property
    def channels(self) -> int:
        return channels_of(self.modality, flow_frames=self.flow_frames)

    def network(self) -> Any:
        return create_model(self.architecture, num_classes=CLASSES, in_channels=self.channels, **self.hyperparameters)

    def seen(self, settings: TrainSettings) -> Preprocessing:
        return Preprocessing(
            self.modality,
            settings.frames,
            settings.stride_frames,
            settings.short_side,
            settings.crop,
            mean=(128.0,) * self.channels,
            std=(64.0,) * self.channels,
        )

    def clips(self, count: int, settings: TrainSettings) -> torch.Tensor:
        dtype = torch.int16 if self.modality == "rgb_difference" else torch.uint8
        shape = (count, self.channels, self.segments * settings.frames, settings.crop, settings.crop)
        return torch.zeros(shape, dtype=dtype)


@dataclass(frozen=True)
class _File:
    graph: Graph
    sections: dict[str, Any]

    @classmethod
    def read(cls, recipe: str, path: Path) -> _File:
        graph = graph_for(recipe, path)
        values, kinds = load_params(graph, path), schema_of(graph)
        return cls(
            graph,
            {
                key: kind.model_validate(values[key]) if hasattr(kind, "model_validate") else values[key]
                for key, kind in kinds.items()
            },
        )

    def given(self, task: Task, argument: str = "params") -> Any:
        return self.sections[task.sections[argument]]

    def task(self, name: str) -> Task:
        return next(task for task in self.graph.tasks if task.name == name)

    def initial(self, made: Produced) -> _Initial:
        """What lies behind a bundle that a step has made."""
        task = self.task(made.task)
        params = self.given(task)
        match task.step:
            case "pretrain":
                return _Initial(params.architecture, params.keywords(), made.output)  # type: ignore[arg-type]
            case "pretrain_tsn":
                modality: Any = {"difference": "rgb_difference", "warped": "warped_flow"}.get(made.output, made.output)
                return _Initial("tsn", tsn_hyperparameters(params, modality), modality, segments=params.segments)
            case "pretrain_st_resnet":
                return self._st_resnet(task)
            case "pretrain_learnt_flow":
                stream = self.initial(_one(task, "stream"))
                own = {"stream": stream.architecture, "estimator_width": params.width, "frozen": params.frozen}
                scale = {"bound_px": BOUND_PX, "flow_mean": 128.0, "flow_std": 64.0}
                return _Initial("learnt_flow", {**stream.hyperparameters, **own, **scale}, "rgb")
            case _:  # a training, whose network is that of its start
                return self.initial(_one(task, "initial"))

    def _st_resnet(self, task: Task) -> _Initial:
        if "before" in task.inputs:
            before = self.initial(_one(task, "before"))
            own = self.given(task).model_dump(exclude={"temporal_init"})
            return _Initial("st_resnet", {**before.hyperparameters, **own}, "rgb_flow", before.flow_frames)
        seeing, moving = self.initial(_one(task, "appearance")), self.initial(_one(task, "motion"))
        size = {key: seeing.hyperparameters[key] for key in ("width", "output_stride")}
        flow_frames = moving.hyperparameters["snippet_frames"]
        return _Initial("st_resnet", {**size, **self.given(task).model_dump()}, "rgb_flow", flow_frames)


def trainings(recipe: str, path: Path) -> Iterator[Training]:
    """Those of a parameter file, in the order in which they run."""
    file = _File.read(recipe, path)
    makers = {
        "train": _plain,
        "distill": _distillation,
        "train_auxiliary": _auxiliary,
        "train_recurrent": _recurrent,
    }
    for task in file.graph.tasks:
        if task.step in makers:
            yield makers[task.step](file, task)


def _plain(file: _File, task: Task) -> Training:
    start, settings = file.initial(_one(task, "initial")), file.given(task)

    def build() -> Classification:
        kind = TwoStream if start.architecture == "st_resnet" else Classification
        return kind(start.network(), start.seen(settings), **settings.task_options())

    return Training(task.name, settings, build, partial(_batch, unlabelled=0, settings=settings, seen=(start,)))


def _distillation(file: _File, task: Task) -> Training:
    student, teacher = file.initial(_one(task, "initial")), file.initial(_one(task, "teachers"))
    settings, distillation = file.given(task), file.given(task, "distillation")
    unlabelled = distillation.unlabelled_batch_size if task.constants.get("use_unlabelled") else 0

    def build() -> Classification:
        return Distillation(
            student.network(),
            student.seen(settings),
            teachers=[Teacher(teacher.network(), teacher.seen(settings))],
            settings=distillation,
            **settings.task_options(),
        )

    return Training(
        task.name,
        settings,
        build,
        partial(_batch, unlabelled=_part(unlabelled, settings), settings=settings, seen=(student, teacher)),
    )


def _auxiliary(file: _File, task: Task) -> Training:
    start, flow = file.initial(_one(task, "initial")), _Initial("", {}, "flow")
    settings, auxiliary = file.given(task), file.given(task, "auxiliary")

    def build() -> Classification:
        return AuxiliaryDecoding(
            start.network(), start.seen(settings), stage=auxiliary.stage, decoder=auxiliary.decoder,
            bound_px=BOUND_PX, weight=auxiliary.weight, **settings.task_options(),
        )  # fmt: skip

    unlabelled = auxiliary.unlabelled_batch_size
    return Training(
        task.name,
        settings,
        build,
        partial(_batch, unlabelled=_part(unlabelled, settings), settings=settings, seen=(start, flow)),
    )


def _recurrent(file: _File, task: Task) -> Training:
    settings = file.given(task)
    of_network = file.sections["network"]
    taken = {"backbone": of_network.backbone, "width": of_network.width, "output_stride": of_network.output_stride}
    side = 224 // of_network.output_stride  # of the map that a backbone gives of 224 px
    two = "motion_features" in task.inputs

    def build() -> StepwiseClassification:
        name = settings.network.name
        known = hyperparameters_of(name)
        size = {"cells": side**2} if "cells" in known else {"grid": side} if "grid" in known else {}
        network: Any = create_model(
            name, num_classes=CLASSES, in_channels=5 if two else 3, **taken, **size, **settings.network.keywords()
        )
        return StepwiseClassification(
            network, Preprocessing("rgb", settings.frames, 1, 224, 224, (0.0,), (1.0,)), settings
        )

    with torch.device("meta"):
        network: Any = build().network
    shapes = [
        (stream.num_features, side, side) if tap == "map" else (stream.head_hidden_size,)
        for stream, tap in zip(network.streams.values(), network.sequence.taps, strict=True)
    ]

    def batch(clips: int) -> Any:
        features = {
            name: torch.zeros(clips, settings.frames, *shape)
            for name, shape in zip(network.sequence.inputs, shapes, strict=True)
        }
        return {**features, "label": torch.zeros(clips, dtype=torch.int64)}

    return Training(task.name, settings, build, batch)


def _part(unlabelled: int, settings: TrainSettings) -> int:
    """Unlabelled clips that are computed with at once."""
    return unlabelled * settings.micro_batch_size // settings.batch_size


def _batch(labelled: int, *, unlabelled: int, settings: TrainSettings, seen: tuple[_Initial, ...]) -> Batch:
    count = labelled + unlabelled
    clips: Any = {each.modality: each.clips(count, settings) for each in seen}
    return {**clips, "label": torch.zeros(count, dtype=torch.int64), "labelled": torch.arange(labelled)}


def _one(task: Task, name: str) -> Produced:
    (made,) = task.paths(name)
    return made
