"""Trainings that start from what a refit has taught ``val``, and would choose by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kineflow.storage.errors import KineflowError
from pipelines.dag.graph import MODEL, Task
from pipelines.plan import Plan

_TEACHERS = "teachers"  # whose weights are not taken over


def look_at_starts(plan: Plan) -> Iterator[KineflowError]:
    """Sections with ``keep: best`` whose networks hold weights of a section with ``refit: true``."""
    from kineflow.training.settings import RunSettings

    settings: dict[str, RunSettings] = {}
    keys: dict[str, str] = {}
    for task, key, kind in plan.sections(RunSettings):
        given = kind.model_validate(plan.values[key])
        assert isinstance(given, RunSettings)
        settings[task.name], keys[task.name] = given, key
    tasks = {task.name: task for task in plan.graph.tasks}
    for name, own in settings.items():
        refit = [keys[each] for each in _weights_from(tasks[name], tasks) if each in settings and settings[each].refit]
        if own.needs_val and refit:
            yield KineflowError(
                f"val is to choose the round of {name} that is kept, and weights it starts from have learnt from it",
                where=keys[name],
                remedy=f"set {keys[name]}.keep to last, or {', '.join(dict.fromkeys(refit))}.refit to false",
            )


def _weights_from(task: Task, tasks: Mapping[str, Task]) -> list[str]:
    """Names of the tasks whose weights a task takes over, all the way up."""
    found: dict[str, None] = {}
    for name in task.inputs:
        for made in task.paths(name) if name != _TEACHERS else ():
            if tasks[made.task].outputs[made.output] == MODEL:
                found |= dict.fromkeys([made.task, *_weights_from(tasks[made.task], tasks)])
    return list(found)
