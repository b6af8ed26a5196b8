"""A recipe's DAG as DVC stages: what ``dvc.yaml`` holds is generated here and committed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kineflow.storage.files import atomic_file
from pipelines.dag.graph import CLASSIFICATION, HTML, METRICS, Graph, Task, graph_of
from pipelines.dag.params import load_params, local_inputs, schema_of
from pipelines.dag.sources import ROOT, source_files

_HEADER = """\
# Generated from pipelines/{recipe}.py by `kineflow compile {recipe} --to dvc`; do not edit.
# `kineflow run {recipe}` brings every stage up to date; only what changed is done again.
"""
_SUFFIXES = {HTML: ".html", METRICS: ".json", CLASSIFICATION: ".json"}


def write_dvc_yaml(recipe: str, params_file: Path, folder: Path) -> Path:
    """Write ``folder/dvc.yaml`` for a recipe; left untouched when it says the same already."""
    path = folder / "dvc.yaml"
    text = dvc_yaml(recipe, params_file, folder)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with atomic_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
    return path


def dvc_yaml(recipe: str, params_file: Path, folder: Path) -> str:
    """The text of ``dvc.yaml``.

    Args:
        recipe: Name of the recipe.
        params_file: Its parameter file.
        folder: Where ``dvc.yaml`` and the folder ``outputs`` will lie, below the project's root or equal to it.
            Commands run in the project's root, and paths in the file are relative to it.
    """
    graph = graph_of(recipe)
    values = load_params(graph, params_file)
    places = _Places(folder=folder.resolve(), params_file=params_file.resolve())
    stages = {task.name: _stage(task, graph, values, places) for task in graph.tasks}
    return _HEADER.format(recipe=recipe) + yaml.safe_dump({"stages": stages}, sort_keys=False, width=120)


def output_path(folder: Path, task: Task, output: str) -> Path:
    """Where a task's output lies, when ``dvc.yaml`` lies in ``folder``."""
    return folder / "outputs" / task.name / f"{output}{_SUFFIXES.get(task.outputs[output], '')}"


class _Places:
    """Paths as DVC sees them (relative to the stage's working folder, the project's root)."""

    def __init__(self, *, folder: Path, params_file: Path) -> None:
        self.folder = folder
        self.wdir = os.path.relpath(ROOT, folder)
        self.params = os.path.relpath(params_file, ROOT)

    def output(self, task: Task, name: str) -> str:
        return os.path.relpath(output_path(self.folder, task, name), ROOT)


def _stage(task: Task, graph: Graph, values: Mapping[str, Any], places: _Places) -> dict[str, Any]:
    tasks = {other.name: other for other in graph.tasks}
    read = {name: places.output(tasks[made.task], made.output) for name, made in task.inputs.items()}
    written = {name: places.output(task, name) for name in task.outputs}
    gates = [places.output(tasks[name], output) for name in task.after for output in _gate(tasks[name])]
    arguments = [
        *(f"--{_flag(name)} {path}" for name, path in (*read.items(), *written.items())),
        *(f"--{_flag(name)} {places.params}:{key}" for name, key in task.sections.items()),
        *(f"--{_flag(name)} {_constant(value)}" for name, value in task.constants.items()),
    ]
    schema = schema_of(graph)
    sources = [path for key in task.sections.values() for path in local_inputs(schema[key], values[key])]
    figures = {METRICS, CLASSIFICATION}
    stage: dict[str, Any] = {
        "cmd": " ".join([f"python -m components.{task.step}", *arguments]),
        "deps": sorted({*read.values(), *gates, *sources, *source_files(task.step)}),
        "params": [{places.params: sorted(set(task.sections.values()))}] if task.sections else [],
        "outs": [path for name, path in written.items() if task.outputs[name] not in figures],
        "metrics": [{path: {"cache": False}} for name, path in written.items() if task.outputs[name] in figures],
    }
    if places.wdir != ".":
        stage = {"wdir": places.wdir, **stage}
    return {key: value for key, value in stage.items() if value}


def _gate(task: Task) -> list[str]:
    """Outputs that stand for the task having succeeded."""
    return [name for name, kind in task.outputs.items() if kind not in (METRICS, CLASSIFICATION)]


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _constant(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
