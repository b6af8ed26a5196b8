"""Settings of trainings that do not fit their step, their network or each other: seen before the run, not hours in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kineflow.models.pretrain_settings import PretrainSettings
from kineflow.models.stage_names import S3D_NETWORKS
from kineflow.storage.errors import KineflowError
from pipelines.dag.graph import Produced, Task
from pipelines.plan import Plan

_FLOW_STREAMS = ("flow", "warped")  # outputs of the steps that make initial weights
_VECTORS = ("logits", "features")
_UNMIXED = ("train_auxiliary", "train_fixmatch", "train_mean_teacher")


def look_at_trainings(plan: Plan) -> Iterator[KineflowError]:
    """Batches that cannot be shared, clips that cannot be changed so, and what can hardly be meant."""
    from kineflow.training.settings import RunSettings, TrainSettings

    for task, key, kind in plan.sections(RunSettings):
        settings = kind.model_validate(plan.values[key])
        assert isinstance(settings, RunSettings)
        for doubt in settings.doubts():
            plan.note(f"{key}: {doubt}")
        yield from _unshared(task, key, settings.processes * settings.accumulate, plan)
        if isinstance(settings, TrainSettings):
            yield from _unmixed(task, key, settings.mixup, settings.cutmix, plan)
            if settings.colour_jitter and _start(task, plan)[1] in _FLOW_STREAMS:
                yield KineflowError(
                    f"{task.name} sees flow, which has no colours to vary",
                    where=f"{key}.colour_jitter",
                    remedy="set it to 0",
                )


def look_at_peers(plan: Plan) -> Iterator[KineflowError]:
    """Ways to learn from unlabelled clips that do not fit their training, or are another's over again."""
    from kineflow.training.semi_supervised.settings import ONE_AVERAGE, TWO_AVERAGES, MeanTeacherSettings
    from kineflow.training.settings import DistillSettings

    for task, _, _ in plan.sections(MeanTeacherSettings):
        key = task.sections["params"]
        if plan.values[key]["ema"]:
            yield KineflowError(TWO_AVERAGES, where=f"{key}.ema", remedy=ONE_AVERAGE)
    seen: dict[str, str] = {}
    for task, key, _ in plan.sections(DistillSettings):
        constants = {name: value for name, value in task.constants.items() if name != "name"}
        training = repr((task.inputs, constants, plan.values[task.sections["params"]], plan.values[key]))
        if (first := seen.setdefault(training, key)) != key:
            yield KineflowError(
                f"{' and '.join(sorted((first, key)))} say the same, and one student would be trained twice",
                remedy="give one of them terms of its own, such as terms: [{loss: pseudo_label}]",
            )


def look_at_layers(plan: Plan) -> Iterator[KineflowError]:
    """Layers that are learnt at and that the network of a student, or of its teacher in the run, does not have."""
    from kineflow.training.settings import DistillSettings
    from kineflow.training.variant_settings import AuxiliarySettings

    for task, key, _ in plan.sections(AuxiliarySettings):
        yield from _without(task, [plan.values[key]["stage"]], f"{key}.stage", plan)
    for task, key, kind in {key: (task, key, kind) for task, key, kind in plan.sections(DistillSettings)}.values():
        settings = kind.model_validate(plan.values[key])
        assert isinstance(settings, DistillSettings)
        where = f"{key}.terms" if settings.terms else f"{key}.layer"
        yield from _without(task, [term.layer for term in settings.all_terms], where, plan)
        for name, teacher in plan.teachers_of(task).items():
            asked = [term.asked_layer for term in settings.all_terms if term.teacher in ("", name)]
            yield from _without(teacher, asked, where, plan)


def look_at_sizes(plan: Plan) -> Sequence[KineflowError]:
    """Trainings whose pictures are larger than any that is stored."""
    from kineflow.data.ingest_settings import IngestSettings
    from kineflow.training.settings import TrainSettings

    for _, ingestion, _ in plan.sections(IngestSettings):
        values = plan.values[ingestion]
        stored = min(values["size"] or (values["short_side"],))
        for _, key, _ in plan.sections(TrainSettings):
            if (asked := plan.values[key]["short_side"]) > stored:
                plan.note(
                    f"{key}.short_side is {asked}, and clips are stored at {stored}: frames and flow are enlarged"
                )
    return ()


def _unshared(task: Task, key: str, shares: int, plan: Plan) -> Iterator[KineflowError]:
    section, count = plan.unlabelled_of(task)
    if count % shares:
        yield KineflowError(
            f"{count} unlabelled clips a step cannot be shared evenly by {shares} (nodes × devices × accumulate of "
            f"{key})",
            where=f"{section}.unlabelled_batch_size",
            remedy=f"make it a multiple of {shares}, as {-(-count // shares) * shares}",
        )


def _unmixed(task: Task, key: str, mixup: float, cutmix: float, plan: Plan) -> Iterator[KineflowError]:
    if not (mixup or cutmix):
        return
    if task.step in _UNMIXED or _start(task, plan)[0] == "pretrain_st_resnet":
        yield KineflowError(
            f"{task.name} cannot learn from mixed clips",
            where=f"{key}.{'mixup' if mixup else 'cutmix'}",
            remedy=f"set mixup and cutmix of {key} to 0",
        )
    for name, teacher in plan.teachers_of(task).items():
        if teacher.step == "import_teacher" and plan.asks(task, name):
            plan.note(
                f"{key}: mixup and cutmix are refused when {task.name} starts, if its teacher {name!r} sees clips in a "
                "geometry of its own"
            )


def _without(task: Task, layers: Sequence[str], where: str, plan: Plan) -> Iterator[KineflowError]:
    known = _stages(task, plan)
    missing = sorted(set(layers) - {*_VECTORS, *known}) if known is not None else []
    if missing:
        there_are = f"one of {', '.join(known)}, or " if known else ""
        other = "a network of S3D's" if where.endswith(".stage") else "logits or features"
        yield KineflowError(
            f"the network of {task.name} has no stage {', '.join(map(repr, missing))}",
            where=where,
            remedy=f"choose {there_are}{other}",
        )


def _stages(task: Task, plan: Plan) -> tuple[str, ...] | None:
    """Of the network that a task trains; None where that is not known."""
    from typing import get_args

    from kineflow.models.stage_names import StageName

    start = task.inputs.get("initial")
    made_by = next((each for each in plan.graph.tasks if isinstance(start, Produced) and each.name == start.task), None)
    if made_by is None or made_by.step != "pretrain":
        return None
    network = PretrainSettings.model_validate(plan.values[made_by.sections["params"]])
    if network.architecture in S3D_NETWORKS:
        names = get_args(StageName)
        return tuple(names[: names.index(network.keywords()["last_stage"]) + 1])
    return None if "." in network.architecture else ()  # one of their own may be made of S3D


def _start(task: Task, plan: Plan) -> tuple[str, str]:
    """The step that has made a task's initial weights, and which of its outputs they are."""
    start = task.inputs.get("initial")
    if not isinstance(start, Produced):
        return "", ""
    return next(each.step for each in plan.graph.tasks if each.name == start.task), start.output
