"""A recipe rehearsed before it runs for days: every stage, on a few of the run's own clips, one step a training.

It happens in a project of its own in a temporary folder, with records of its own, which is removed in the end: nothing
of it is registered or stored in the run's project.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kineflow.data.layouts.rows import ListedClip
from kineflow.data.source import Source
from kineflow.storage.errors import KineflowError
from kineflow.storage.project import PROJECT
from kineflow.tracking.run_variables import RUN_ID
from kineflow.training.settings import RunSettings
from kineflow.training.teacher_settings import OwnTeacherSettings
from pipelines.dag.params import graph_for, load_params, schema_of
from pipelines.engines.workspace import PARAMS_FILE
from pipelines.plan import Plan
from pipelines.rehearsed_clips import choose_clips
from pipelines.rehearsed_params import (
    CLIPS_FILE,
    VIDEOS,
    clips_a_step,
    rehearsed,
    shares_of,
)

_FREE_SHARE = 0.5
_SIGNALS = 128  # a shell's exit codes above it stand for signals
_ELSEWHERE = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", RUN_ID)


@dataclass(frozen=True)
class RehearsedTask:
    """What one task took.

    Attributes:
        name: Of the task.
        seconds: From its start to its end.
        memory_bytes: Most of its greatest process.
        gpu_bytes: Most that its process reserved of a GPU; 0 where it used none.
        clips: Of a training: labelled clips that a process computed with at once; 0 of another task.
        of_clips: As many as the file says.
        counted_bytes: Of a process in a step with the file's own batch, in float32; 0 where it is not known.
    """

    name: str
    seconds: float
    memory_bytes: float
    gpu_bytes: float
    clips: int = 0
    of_clips: int = 0
    counted_bytes: float = 0.0


@dataclass(frozen=True)
class Rehearsal:
    """What was rehearsed.

    Attributes:
        videos: Of the source, how many were taken.
        tasks: In the order in which they ran.
    """

    videos: int
    tasks: tuple[RehearsedTask, ...]


def rehearse(recipe: str, params_file: Path, project: Path, *, memory_bytes: float | None = None) -> Rehearsal:
    """Run every stage of a recipe on a few clips; its parameters have been checked.

    Args:
        recipe: Its name.
        params_file: The run's own parameters.
        project: Folder that relative paths are below.
        memory_bytes: Batches are made smaller where a step is counted to need more, in float32. None: on a GPU they are
            the file's own, on a CPU half of what is free is taken.

    Raises:
        KineflowError: The source is no source of videos, or has too few that can be opened; or a stage failed (its own
            message has been printed).
        KeyboardInterrupt: Ctrl-C, or SIGTERM.
    """
    from kineflow.survey.machine import this_machine
    from pipelines.training_needs import training_needs

    graph = graph_for(recipe, params_file)
    plan = Plan(graph, load_params(graph, params_file), schema_of(graph), params_file, project, "here")
    chosen = choose_clips(plan)
    needs, _ = training_needs(plan)
    machine = this_machine()
    on_gpu = bool(machine.gpu)
    if memory_bytes is None:
        memory_bytes = math.inf if on_gpu else machine.memory_mb * 2**20 * _FREE_SHARE
    shares = shares_of(plan, needs, memory_bytes)
    with tempfile.TemporaryDirectory(prefix="kineflow-rehearsal-") as temporary:
        folder = Path(temporary).resolve() / "project"
        teachers = _fetch_teachers(plan, folder)
        values = rehearsed(plan, shares, on_gpu=on_gpu, teachers=teachers)
        _copy_code(project, folder)
        _put_videos(plan, chosen, folder)
        with _within(folder):
            from pipelines.project import make_project

            make_project(folder, recipe, params=yaml.safe_dump(values, sort_keys=False))
            measured = _run(recipe, folder)
    counted = {need.task: need.memory_bytes for need in needs}
    of_task = {task.name: key for task, key, _ in plan.sections(RunSettings)}
    tasks = [
        RehearsedTask(
            name,
            figures["cost/wall_s"],
            figures["cost/peak_memory_mb"] * 2**20,
            figures.get("cost/peak_gpu_memory_mb", 0.0) * 2**20,
            clips_a_step(values[of_task[name]]) if name in of_task else 0,
            clips_a_step(plan.values[of_task[name]]) if name in of_task else 0,
            counted.get(name, 0.0),
        )
        for name, figures in measured
    ]
    return Rehearsal(len({clip.source for clip in chosen}), tuple(tasks))


def _put_videos(plan: Plan, clips: Sequence[ListedClip], folder: Path) -> None:
    """The videos of some clips, and a list of these."""
    from kineflow.survey.clips_csv import write_clips
    from kineflow.survey.facts import Look
    from kineflow.survey.look import read_headers
    from kineflow.survey.survey_set import SeenClip

    assert plan.listed
    source = plan.listed.source
    for name in dict.fromkeys(clip.source for clip in clips):
        _copy(source, name, folder / VIDEOS / name)
    seen = [
        SeenClip(number, clip, Look(file_sec=max(header.seconds for header in read_headers([clip], source))))
        for number, clip in enumerate(clips)
    ]
    write_clips(folder / CLIPS_FILE, seen, multi_label=plan.listed.multi_label)


def _copy(source: Source, name: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.fetch(name) as path:
        real = os.path.realpath(path)
        try:
            os.link(real, target)
        except OSError:  # on another disk
            shutil.copyfile(real, target)


def _copy_code(project: Path, folder: Path) -> None:
    """The packages of a project, which parameters may name."""
    for package in project.glob("*/__init__.py"):
        for file in package.parent.rglob("*.py"):
            target = folder / file.relative_to(project)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def _fetch_teachers(plan: Plan, folder: Path) -> dict[str, str]:
    """Models that teach, by the section that names each: the rehearsal has a registry of its own."""
    from kineflow.registry.named_model import named_bundle
    from kineflow.storage.media import is_remote

    fetched = {}
    for _, key, _ in plan.sections(OwnTeacherSettings):
        name = plan.values[key]["bundle"]
        place = name if is_remote(name) or ":/" in name else str(plan.project / name)
        with named_bundle(place, root=plan.project) as bundle:
            shutil.copytree(bundle, folder / key)
        fetched[key] = key
    return fetched


@contextmanager
def _within(folder: Path) -> Iterator[None]:
    """Have a folder as the project, and its records in it."""
    before = {name: os.environ.get(name) for name in (*_ELSEWHERE, PROJECT)}
    for name in _ELSEWHERE:
        os.environ.pop(name, None)
    os.environ[PROJECT] = str(folder)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({name: value} if value is not None else {})


def _run(recipe: str, folder: Path) -> list[tuple[str, Mapping[str, float]]]:
    """Figures of each task, in the order in which they ran."""
    from kineflow.tracking.runs import KIND_TAG
    from kineflow.tracking.store import connect, experiment_ids, tracking_uri
    from pipelines.preflight import check_run
    from pipelines.run_once import RunRequest, prepare_tracking, run_once

    params_file = folder / PARAMS_FILE
    checked = check_run(recipe, params_file, folder)
    prepare_tracking()
    try:
        done = run_once(RunRequest(recipe, params_file, folder), checked)
    except KineflowError as error:
        told = error.exit_code > _SIGNALS and error.exit_code - _SIGNALS != signal.SIGKILL
        raise KineflowError(
            error.problem.replace("the run stopped", "the rehearsal stopped"),
            remedy="nothing of it is kept; begin it again"
            if told
            else "mend what is said above: a run would have stopped there too; nothing of the rehearsal is kept",
            exit_code=error.exit_code,
        ) from None
    client = connect(tracking_uri(folder), must_exist=True)
    runs: list[Any] = client.search_runs(
        experiment_ids(client), f"tags.`{KIND_TAG}` = 'step'", order_by=["attributes.start_time ASC"]
    )
    return [(name, run.data.metrics) for name, run in zip(done.outcome.ran, runs, strict=True)]
