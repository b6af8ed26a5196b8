"""What the section ``cluster`` asks for, held against the tasks of the recipe that it is for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from components.frontend.contract import step_names
from kineflow.storage.errors import KineflowError
from pipelines.dag.graph import Task
from pipelines.dag.params import CLUSTER, load_cluster
from pipelines.plan import Plan


def look_at_cluster(plan: Plan) -> Iterator[KineflowError]:
    """Resources of no step or task, that do not go together, or too few GPUs for the processes of a training."""
    cluster = load_cluster(plan.params_file)
    if cluster is None:
        return
    try:
        cluster.check_names({*step_names(), *(task.name for task in plan.graph.tasks)})
    except KineflowError as fault:
        yield fault
    for task in plan.graph.tasks:
        try:
            needs = cluster.resources(task.step, task.name)
        except KineflowError as fault:
            yield fault
            continue
        nodes, devices = _processes(plan, task)
        if needs.gpus and (devices > needs.gpus or (nodes > 1 and devices != needs.gpus)):
            yield KineflowError(
                f"{devices} processes a node, but {needs.gpus} of {needs.gpu_type}",
                where=f"{CLUSTER}.steps, {task.name}",
                remedy="give the step as many gpus as its training section has devices, or none to train on CPUs",
            )


def _processes(plan: Plan, task: Task) -> tuple[int, int]:
    """Nodes, and processes a node, of a task: 1 and 1 where it is no training."""
    sections = [plan.values[key] for key in task.sections.values() if isinstance(plan.values.get(key), Mapping)]
    asked = [(int(each.get("nodes", 1)), int(each.get("devices", 1))) for each in sections]
    return max(asked, default=(1, 1))
