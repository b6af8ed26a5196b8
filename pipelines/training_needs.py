"""Operations and memory of the trainings of a run, counted before it from the networks that its parameters name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kineflow.models.pretrain_settings import PretrainSettings
from kineflow.models.pretrain_tsn_settings import PretrainTsnSettings
from kineflow.models.transformers_names import ARCHITECTURE
from kineflow.spec.modality import Modality
from kineflow.spec.split import Split
from pipelines.dag.graph import Produced, Task
from pipelines.plan import Plan

if TYPE_CHECKING:
    from kineflow.training.cost import StepCost
    from kineflow.training.settings import TrainSettings

_CLASSES = 100  # of the classifier, which costs next to nothing
_MODALITIES: Mapping[str, Modality] = {
    "rgb": "rgb",
    "difference": "rgb_difference",
    "flow": "flow",
    "warped": "warped_flow",
}
_COPIES = 3  # of the weights: themselves, their gradients, and what an optimiser keeps


@dataclass(frozen=True)
class TrainingNeed:
    """What one training takes.

    Attributes:
        task: Its name.
        operations: Of all its steps; of a training that is refitted, of the first one.
        memory_bytes: Of a process in a step, in float32, at least: what the backward pass needs, and three times the
            weights.
        refits: Whether it trains again then, for as many steps at most.
    """

    task: str
    operations: float
    memory_bytes: float
    refits: bool = False


@dataclass(frozen=True)
class _Built:
    """How a network is built, and what it sees of ``frames`` time steps."""

    architecture: str
    hyperparameters: Mapping[str, Any]
    channels: int
    snippets: int = 1


def training_needs(plan: Plan) -> tuple[list[TrainingNeed], list[str]]:
    """What each training on clips takes, and the names of those trainings of which that is not known."""
    from kineflow.training.settings import RunSettings, TrainSettings

    tasks = {task.name: task for task in plan.graph.tasks}
    costs: dict[tuple[str, ...], StepCost] = {}
    needs, unknown = [], []
    labelled = sum(clip.split is Split.TRAIN for clip in plan.listed.clips) if plan.listed else 0
    for task in plan.graph.tasks:
        key = task.sections.get("params", "")
        if key not in plan.schema or not issubclass(plan.schema[key], RunSettings):
            continue
        built = _network_of(task, tasks, plan)
        if built is None or not issubclass(plan.schema[key], TrainSettings):
            unknown.append(task.name)
            continue
        settings = TrainSettings.model_validate(plan.values[key])
        if settings.frozen != "none" or settings.activation_checkpointing:  # takes less, by how much depends on stages
            unknown.append(task.name)
            continue
        if settings.epochs:
            if not labelled:
                unknown.append(task.name)
                continue
            settings = settings.in_steps(labelled)
        cost = _cost(built, settings, costs)
        operations = cost.operations
        for name, taught_by in plan.teachers_of(task).items():
            if not plan.asks(task, name):
                continue
            if teacher := _network_of(taught_by, tasks, plan):
                operations += _cost(teacher, settings, costs).forward_operations
            else:
                unknown.append(f"the teacher {name!r} of {task.name}")
        unlabelled = plan.unlabelled_of(task)[1]
        clips = settings.batch_size + unlabelled
        of_a_process = clips / (settings.processes * settings.accumulate)
        memory = of_a_process * cost.kept_bytes + _COPIES * cost.weight_bytes
        asked = {"train_fixmatch": unlabelled, "train_mean_teacher": clips}.get(task.step, 0)  # of itself, in each step
        of_a_step = clips * operations + asked * cost.forward_operations
        needs.append(TrainingNeed(task.name, settings.steps * of_a_step, memory, settings.refit))
    return needs, unknown


def map_bytes_of(task: Task, plan: Plan) -> float:
    """Bytes that the step ``extract_features`` stores of a frame; 0 where that is not known."""
    import torch

    from kineflow.models.registry import create_backbone

    tasks = {each.name: each for each in plan.graph.tasks}
    made_by = task.inputs["backbone"]
    assert isinstance(made_by, Produced)
    key = tasks[made_by.task].sections["params"]
    section = next((name for _, name, kind in plan.sections(PretrainTsnSettings)), "")
    if not section:
        return 0.0
    network, crop = PretrainTsnSettings.model_validate(plan.values[section]), plan.values[key]["crop"]
    with torch.device("meta"):
        backbone = create_backbone(
            network.backbone, num_classes=0, width=network.width, output_stride=network.output_stride
        ).eval()
        return 2.0 * backbone.forward_features(torch.zeros(1, 3, crop, crop)).numel()


def _network_of(task: Task, tasks: Mapping[str, Task], plan: Plan) -> _Built | None:
    """The network that a task trains, by the step that has made its initial weights."""
    start = task.inputs.get("initial")
    if not isinstance(start, Produced):
        return None
    step, section = tasks[start.task].step, tasks[start.task].sections.get("params", "")
    if step == "pretrain":
        from components.pretrain import hyperparameters_of

        settings = PretrainSettings.model_validate(plan.values[section])
        if settings.architecture == ARCHITECTURE:  # its checkpoint may be anywhere
            return None
        return _Built(settings.architecture, hyperparameters_of(settings), 3 if start.output == "rgb" else 2)
    if step == "pretrain_tsn":
        return _stream(section, start.output, plan)
    if step == "pretrain_st_resnet":
        return _joined(tasks[start.task], tasks, plan)
    return None


def _stream(section: str, output: str, plan: Plan) -> _Built:
    from components.pretrain_tsn import stream_hyperparameters
    from kineflow.spec.modality import channels_of

    settings, modality = PretrainTsnSettings.model_validate(plan.values[section]), _MODALITIES[output]
    return _Built("tsn", stream_hyperparameters(settings, modality), channels_of(modality), settings.segments)


def _joined(task: Task, tasks: Mapping[str, Task], plan: Plan) -> _Built | None:
    """Two streams as one: a frame, and under it the flow frames of a snippet."""
    parameters = plan.values[task.sections["params"]]
    if isinstance(before := task.inputs.get("before"), Produced):
        built = _network_of(tasks[before.task], tasks, plan)
        own = {key: value for key, value in parameters.items() if key != "temporal_init"}
        return built and _Built(built.architecture, {**built.hyperparameters, **own}, built.channels)
    motion = task.inputs.get("motion")
    stream = _network_of(tasks[motion.task], tasks, plan) if isinstance(motion, Produced) else None
    if stream is None:
        return None
    shared = {key: stream.hyperparameters[key] for key in ("width", "output_stride")}
    return _Built("st_resnet", {**shared, **parameters}, 3 + 2 * stream.hyperparameters["snippet_frames"])


def _cost(built: _Built, settings: TrainSettings, known: dict[tuple[str, ...], StepCost]) -> StepCost:
    from kineflow.models.registry import create_model
    from kineflow.training.cost import count_step

    clip = (built.channels, settings.frames * built.snippets, settings.crop, settings.crop)
    key = (repr(built), repr(clip))
    if key not in known:
        known[key] = count_step(
            lambda: create_model(
                built.architecture, num_classes=_CLASSES, in_channels=built.channels, **built.hyperparameters
            ),
            clip,
        )
    return known[key]
