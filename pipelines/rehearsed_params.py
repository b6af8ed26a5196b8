"""The parameter file of a rehearsal: networks, clips and test protocol of a run's own file, one step a training.

What is made smaller is how long and how many: steps, batches where memory asks for it, decoding processes. Limits of
a validation, which are for whole data sets, are taken away.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from components.frontend.inputs import is_input
from kineflow.data.ingest_settings import IngestSettings
from kineflow.data.validation.settings import ValidationSettings
from kineflow.evaluation.attention.settings import LocaliseSettings
from kineflow.evaluation.probe_settings import ProbeSettings
from kineflow.evaluation.settings import EvaluateSettings
from kineflow.storage.config import Params
from kineflow.training.settings import RunSettings, TrainSettings
from kineflow.training.teacher_settings import OwnTeacherSettings
from kineflow.training.variant_settings import LearntFlowSettings
from pipelines.dag.graph import Task
from pipelines.plan import Plan
from pipelines.training_needs import TrainingNeed

CLIPS_FILE, VIDEOS = "clips.csv", "videos"
_SCHEME = ":/"  # models:/NAME has one slash
_FEWEST = 2  # clips that a normalisation takes statistics of
_ANY_DATA = {
    "min_frames": 2,
    "min_clips_per_class": 0,
    "max_class_ratio": 1e6,
    "max_rejected_share": 1.0,
    "min_short_side": 0,
    "require_every_class_in": [],
    "allow_parts_in_several_splits": True,
    "allow_near_copies": True,
    "min_change": 0.0,
    "max_drift": 1.0,
}


def shares_of(plan: Plan, needs: Sequence[TrainingNeed], limit_bytes: float) -> dict[str, float]:
    """Which share of its batch each section of a training may have, so that a step is counted below a limit.

    Args:
        plan: Of the file.
        needs: What is known of its trainings; one of which it is not known has the least share of the others.
        limit_bytes: Infinite: batches are the file's own.
    """
    known = {need.task: min(1.0, limit_bytes / need.memory_bytes) for need in needs}
    otherwise = min(known.values(), default=1.0)
    shares: dict[str, float] = {}
    for task, key, _ in (*plan.sections(RunSettings), *plan.sections(ProbeSettings)):
        shares[key] = min(shares.get(key, 1.0), known.get(task.name, otherwise))
    return shares


def rehearsed(plan: Plan, shares: Mapping[str, float], *, on_gpu: bool, teachers: Mapping[str, str]) -> dict[str, Any]:
    """The values of a rehearsal.

    Args:
        plan: Of the file.
        shares: Of :func:`shares_of`.
        on_gpu: Whether trainings run on GPUs, as many as the file says.
        teachers: Folder of the bundle of each section that names one.
    """
    made = {}
    for key, kind in plan.schema.items():
        values = plan.values[key]
        if isinstance(values, Mapping):
            own = _changed(kind, values, shares.get(key, 1.0), on_gpu=on_gpu)
            if "unlabelled_batch_size" in values:
                own["unlabelled_batch_size"] = _unlabelled(key, plan, shares, on_gpu=on_gpu)
            if issubclass(kind, OwnTeacherSettings):
                own["bundle"] = teachers[key]
            if "media_root" in values:
                own["media_root"] = ""
            values = {**with_absolute_paths(kind, values, plan.project), **own}
        made[key] = values
    return made


def clips_a_step(values: Mapping[str, Any]) -> int:
    """Labelled clips of a training's step, of one process at once."""
    return RunSettings.model_construct(**values).micro_batch_size


def with_absolute_paths(kind: type, values: Mapping[str, Any], project: Path) -> dict[str, Any]:
    """A section whose inputs are named so that they are found from any folder."""
    assert issubclass(kind, Params)
    found = dict(values)
    for name, field in kind.model_fields.items():
        value = values.get(name)
        if is_input(field, value) and _SCHEME not in str(value):
            found[name] = str(project / str(value))
        elif isinstance(value, list):
            entries = [entry for entry in get_args(field.annotation) if isinstance(entry, type)]
            entry = next((entry for entry in entries if issubclass(entry, Params)), None)
            if entry:
                found[name] = [with_absolute_paths(entry, item, project) for item in value]
    return found


def _changed(kind: type, values: Mapping[str, Any], share: float, *, on_gpu: bool) -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    own: dict[str, Any] = {"workers": min(values["workers"], cores)} if "workers" in values else {}
    if issubclass(kind, IngestSettings):
        own |= {"source": VIDEOS, "layout": "csv", "annotations": CLIPS_FILE, "linked_folders": [], "val_share": 0.0}
    elif issubclass(kind, ValidationSettings):
        own |= _ANY_DATA
    elif issubclass(kind, RunSettings):
        own |= _one_step(kind, values, share, on_gpu=on_gpu)
    elif issubclass(kind, ProbeSettings):
        own |= {"steps": 1, "batch_size": _part(values["batch_size"], share)}
    elif issubclass(kind, LearntFlowSettings):
        own |= {"steps": min(values["steps"], 1)}
    elif issubclass(kind, EvaluateSettings):
        imported = {each["name"] for each in values["imported"]}
        own |= {"imported": [], "examples": min(values["examples"], 2), "baselines": False}
        own["fusion"] = [each for each in values["fusion"] if imported.isdisjoint(each["models"])]
    elif issubclass(kind, LocaliseSettings):
        own |= {"boxes": "", "synthetic": "", "examples": min(values["examples"], 2)}
    return own


def _one_step(kind: type[RunSettings], values: Mapping[str, Any], share: float, *, on_gpu: bool) -> dict[str, Any]:
    devices, parts = _processes_and_parts(values, on_gpu=on_gpu)
    clips = _part(clips_a_step(values), share)
    own = {
        "steps": 1, "epochs": 0, "validate_every_steps": 1, "validate_every_epochs": 0, "patience_rounds": 0,
        "nodes": 1, "devices": devices, "accumulate": parts, "batch_size": clips * devices * parts,
    }  # fmt: skip
    if issubclass(kind, TrainSettings) and values["unfreeze_after_steps"]:
        own |= {"steps": 2, "unfreeze_after_steps": 1}  # a step of either kind
    return own


def _processes_and_parts(values: Mapping[str, Any], *, on_gpu: bool) -> tuple[int, int]:
    """Processes that train here, and parts of a batch: two show what the others do."""
    return values["devices"] if on_gpu else 1, min(values["accumulate"], 2)


def _part(clips: int, share: float) -> int:
    return max(min(clips, _FEWEST), math.floor(clips * share))


def _unlabelled(section: str, plan: Plan, shares: Mapping[str, float], *, on_gpu: bool) -> int:
    """Unlabelled clips a step, the least that a training which reads the section may have."""
    wanted = plan.values[section]["unlabelled_batch_size"]
    counts = [wanted]
    for task in plan.graph.tasks:
        if wanted and section in task.sections.values() and (key := _training_of(task, plan)):
            values = plan.values[key]
            devices, parts = _processes_and_parts(values, on_gpu=on_gpu)
            at_once = wanted // (values["nodes"] * values["devices"] * values["accumulate"])
            counts.append(_part(at_once, shares[key]) * devices * parts)
    return int(min(counts))


def _training_of(task: Task, plan: Plan) -> str:
    return next((key for key in task.sections.values() if issubclass(plan.schema[key], RunSettings)), "")
