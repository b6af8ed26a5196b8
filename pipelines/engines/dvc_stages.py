"""A recipe's DAG as DVC stages: what ``dvc.yaml`` and ``digests.yaml`` hold is generated here.

A stage depends on its inputs, on its sections of the parameter file, and on one digest of the code that can reach its
result (:mod:`pipelines.dag.step_digest`), so that DVC does again only what would come out otherwise.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from components.dvc.workspace_files import DIGESTS_FILE, DVC_FILE, LEFT_OUT
from components.frontend.inputs import local_inputs
from kineflow.storage.files import atomic_file
from pipelines.dag.graph import CLASSIFICATION, HTML, METRICS, Graph, Task
from pipelines.dag.params import given_keys, graph_for, load_params, schema_of
from pipelines.dag.step_digest import task_digests
from pipelines.engines.dvc_ignore import ignore_unreadable
from pipelines.engines.dvc_plots import plots_of, write_templates
from pipelines.engines.workspace import Workspace

_HEADER = """\
# The recipe {recipe}, from pipelines/recipes/{recipe}.py by `kineflow compile {recipe} --to dvc`; do not edit.
# `kineflow run {recipe}` brings every stage up to date; only what would come out otherwise is done again.
"""
_DIGESTS_HEADER = """\
# The code that can reach each task's result, as a digest, by `kineflow compile {recipe} --to dvc`; do not edit.
"""
_SUFFIXES = {HTML: ".html", METRICS: ".json", CLASSIFICATION: ".json"}


def write_dvc_files(recipe: str, workspace: Workspace) -> Path:
    """Write ``dvc.yaml`` and ``digests.yaml`` of a workspace; a file that says the same already is left untouched.

    What DVC cannot read of the sources is named in the project's ``.dvcignore``.

    Returns:
        Path of ``dvc.yaml``.

    Raises:
        KineflowError: A parameter is wrong; or a source outside of the project holds what DVC cannot read.
    """
    for name, text in dvc_files(recipe, workspace).items():
        path = workspace.folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            with atomic_file(path) as partial:
                partial.write_text(text, encoding="utf-8")
    write_templates(workspace.project)
    graph = graph_for(recipe, workspace.params_file)
    schema, values = schema_of(graph), load_params(graph, workspace.params_file)
    sources = [name for key, kind in schema.items() for name in local_inputs(kind, values[key])]
    ignore_unreadable(workspace.project, [workspace.project / name for name in sources])
    return workspace.folder / DVC_FILE


def dvc_files(recipe: str, workspace: Workspace) -> dict[str, str]:
    """The texts of ``dvc.yaml`` and ``digests.yaml``, by name.

    Commands run in the project's folder, and paths are relative to it.
    """
    graph = graph_for(recipe, workspace.params_file)
    values = load_params(graph, workspace.params_file)
    stages = {task.name: _stage(task, graph, values, workspace) for task in graph.tasks}
    digests = task_digests(graph, values, workspace.project)
    content = {"stages": stages, "plots": plots_of(graph, workspace)}
    return {
        DVC_FILE: _HEADER.format(recipe=recipe) + yaml.safe_dump(content, sort_keys=False, width=120),
        DIGESTS_FILE: _DIGESTS_HEADER.format(recipe=recipe) + yaml.safe_dump(digests),
    }


def output_path(workspace: Workspace, task: Task, output: str) -> Path:
    """Where a task's output lies."""
    return workspace.outputs / task.name / f"{output}{_SUFFIXES.get(task.outputs[output], '')}"


def _stage(task: Task, graph: Graph, values: Mapping[str, Any], workspace: Workspace) -> dict[str, Any]:
    tasks = {other.name: other for other in graph.tasks}
    given = set(given_keys(workspace.params_file))  # DVC fails over keys that a file does not have

    def relative_path(of: Task, output: str) -> str:
        return os.path.relpath(output_path(workspace, of, output), workspace.project)

    read = {name: [relative_path(tasks[made.task], made.output) for made in task.paths(name)] for name in task.inputs}
    written = {name: relative_path(task, name) for name in task.outputs}
    gates = [relative_path(tasks[name], output) for name in task.after for output in _gate(tasks[name])]
    arguments = [
        *(f"--{_flag(name)} {shlex.join(paths)}" for name, paths in read.items()),
        *(f"--{_flag(name)} {shlex.quote(path)}" for name, path in written.items()),
        *(
            f"--{_flag(name)} {shlex.quote(f'{workspace.params}:{key}' if key in given else _default(values[key]))}"
            for name, key in task.sections.items()
        ),
        *(f"--{_flag(name)} {shlex.quote(_constant(value))}" for name, value in task.constants.items()),
    ]
    read_keys = sorted(given & set(task.sections.values()))
    schema = schema_of(graph)
    sources = [path for key in task.sections.values() for path in local_inputs(schema[key], values[key])]
    figures = {METRICS, CLASSIFICATION}
    own_digests = os.path.relpath(workspace.folder / DIGESTS_FILE, workspace.project)
    stage: dict[str, Any] = {
        "cmd": " ".join([f"python -m {task.module}", *arguments]),
        "deps": sorted({*chain(*read.values()), *gates, *sources}),
        "params": [
            {own_digests: [task.name]},
            *([{workspace.params: read_keys}] if read_keys else []),
        ],
        "outs": [path for name, path in written.items() if task.outputs[name] not in figures],
        "metrics": [path for name, path in written.items() if task.outputs[name] in figures],
    }
    if left_out := {name: key for name, key in task.sections.items() if key not in given}:
        stage["meta"] = {LEFT_OUT: left_out}
    if workspace.folder != workspace.project:
        stage = {"wdir": os.path.relpath(workspace.project, workspace.folder), **stage}
    return {key: value for key, value in stage.items() if value}


def _gate(task: Task) -> list[str]:
    """Outputs that stand for the task having succeeded."""
    return [name for name, kind in task.outputs.items() if kind not in (METRICS, CLASSIFICATION)]


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _default(value: Any) -> str:
    """How a step is told that a key was left out: an empty section, or the value."""
    return "{}" if isinstance(value, Mapping) else _constant(value)


def _constant(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
