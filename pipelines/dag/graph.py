"""A recipe's DAG as plain values, read from what KFP compiles, so that every engine runs the same graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from components.frontend.contract import Signature, load_step
from components.frontend.kfp import fold_slots, module_in
from pipelines.dag.optional import section_groups
from pipelines.dag.recipes import load_pipeline

METRICS = "system.Metrics"
CLASSIFICATION = "system.ClassificationMetrics"
HTML = "system.HTML"
MODEL = "system.Model"


@dataclass(frozen=True)
class Produced:
    """An output of another task."""

    task: str
    output: str


@dataclass(frozen=True)
class Task:
    """One task of a DAG.

    Attributes:
        name: What the recipe calls it (``teacher``).
        key: What KFP calls it (``train-2``).
        step: The step that it runs (``train``).
        module: Where that is (``components.train``).
        inputs: Input artifacts by name; those of an input of several in their order.
        sections: Arguments that come from the parameter file: argument name to key of the file.
        constants: Arguments fixed by the recipe.
        outputs: Artifact type by output name, e.g. ``system.Model``.
        after: Tasks that must have succeeded though nothing of theirs is read.
    """

    name: str
    key: str
    step: str
    module: str
    inputs: Mapping[str, Produced | tuple[Produced, ...]]
    sections: Mapping[str, str]
    constants: Mapping[str, Any]
    outputs: Mapping[str, str]
    after: tuple[str, ...]

    @property
    def read(self) -> tuple[Produced, ...]:
        """All that it reads of other tasks."""
        return tuple(made for name in self.inputs for made in self.paths(name))

    def paths(self, name: str) -> tuple[Produced, ...]:
        """What an input reads: one output of another task, or several where it takes a list."""
        given = self.inputs[name]
        return (given,) if isinstance(given, Produced) else given


@dataclass(frozen=True)
class Graph:
    """A recipe: its name, its tasks in an order that can be run, and the keys of its parameter file."""

    recipe: str
    tasks: tuple[Task, ...]
    parameters: tuple[str, ...]


def graph_of(recipe: str, given: Collection[str] = ()) -> Graph:
    """The DAG of a recipe.

    Args:
        recipe: Its name.
        given: Contents of a parameter file, or its keys; its optional steps are there where the file has a section of
            theirs, and steps of no use with its values are not.

    Raises:
        KineflowError: No such recipe.
    """
    return read_graph(recipe, load_pipeline(recipe, given).pipeline_spec)


def whole_graph(recipe: str) -> Graph:
    """The DAG of a recipe with all of its optional steps."""
    return graph_of(recipe, frozenset().union(*section_groups(load_pipeline(recipe))))


def optional_graphs(recipe: str) -> dict[frozenset[str], Graph]:
    """The DAG of a recipe with each group of its optional sections, by the group."""
    return {group: graph_of(recipe, group) for group in section_groups(load_pipeline(recipe))}


def read_graph(recipe: str, spec: Any) -> Graph:
    """The DAG of a compiled KFP pipeline spec."""
    from google.protobuf.json_format import MessageToDict

    plain = MessageToDict(spec)
    tasks = plain["root"]["dag"]["tasks"]
    task_names = {key: task["taskInfo"]["name"] for key, task in tasks.items()}
    read = {task_names[key]: _task(key, task_names, task, plain) for key, task in tasks.items()}
    parameters = tuple(sorted(plain["root"].get("inputDefinitions", {}).get("parameters", {})))
    return Graph(recipe, _runnable_order(read), parameters)


def _task(key: str, task_names: Mapping[str, str], task: Mapping[str, Any], spec: Mapping[str, Any]) -> Task:
    component = spec["components"][task["componentRef"]["name"]]
    module = module_in(spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]["command"][-1])
    given = task.get("inputs", {})
    artifacts = {name: source["taskOutputArtifact"] for name, source in given.get("artifacts", {}).items()}
    slots = {
        name: Produced(task_names[source["producerTask"]], source["outputArtifactKey"])
        for name, source in artifacts.items()
    }
    inputs = fold_slots(Signature.of(load_step(module)), slots)
    parameters = sorted(given.get("parameters", {}).items())
    read_from = {produced.task for produced in slots.values()}
    return Task(
        name=task["taskInfo"]["name"],
        key=key,
        step=module.rpartition(".")[2],
        module=module,
        inputs={name: tuple(made) if isinstance(made, list) else made for name, made in sorted(inputs.items())},
        sections={k: v["componentInputParameter"] for k, v in parameters if "componentInputParameter" in v},
        constants={k: v["runtimeValue"]["constant"] for k, v in parameters if "runtimeValue" in v},
        outputs={
            name: output["artifactType"]["schemaTitle"]
            for name, output in sorted(component.get("outputDefinitions", {}).get("artifacts", {}).items())
        },
        after=tuple(sorted({task_names[name] for name in task.get("dependentTasks", [])} - read_from)),
    )


def step_of(executor_label: str) -> str:
    """The step that a KFP executor runs: ``exec-extract-flow-2`` runs ``extract_flow``."""
    words = executor_label.removeprefix("exec-").split("-")
    return "_".join(words[:-1] if words[-1].isdigit() else words)


def _runnable_order(tasks: Mapping[str, Task]) -> tuple[Task, ...]:
    needed = {name: {*(made.task for made in task.read), *task.after} for name, task in tasks.items()}
    # By name, since a protobuf map has no order of its own.
    order = TopologicalSorter({name: sorted(needed[name]) for name in sorted(needed)}).static_order()
    return tuple(tasks[name] for name in order)
