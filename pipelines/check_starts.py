"""Trainings whose start does not suit: what a refit has taught ``val``, or networks of another kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kineflow.storage.errors import KineflowError
from pipelines.dag.graph import MODEL, Task
from pipelines.plan import Plan

_PARENTS = {"appearance_parent": "conv_alstm", "motion_parent": "conv_lstm"}  # as kineflow.training.composite
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


def look_at_networks(plan: Plan) -> Iterator[KineflowError]:
    """Networks that VideoLSTM cannot start from, and such as the step ``localise`` finds no attention in."""
    from kineflow.evaluation.attention.settings import LocaliseSettings
    from kineflow.training.recurrent_settings import NetworkSettings, RecurrentSettings

    keys = {task.name: key for task, key, _ in plan.sections(RecurrentSettings)}
    networks = {name: NetworkSettings.model_validate(plan.values[key]["network"]) for name, key in keys.items()}
    localised = {task.name for task, _, _ in plan.sections(LocaliseSettings)}
    for task in plan.graph.tasks:
        for role, kind in _PARENTS.items() if task.name in keys else ():
            for made in task.paths(role) if role in task.inputs else ():
                if made.task in keys and networks[made.task].name != kind:
                    yield KineflowError(
                        f"{task.name} starts from {made.task}, and can from a {kind} alone",
                        where=f"{keys[made.task]}.network.name",
                        remedy=f"set it to {kind}; docs/papers.md says how another is trained beside the run",
                    )
        for made in task.paths("models") if task.name in localised else ():
            if made.task in keys and not networks[made.task].attends:
                yield KineflowError(
                    f"{task.name} looks at the attention of {made.task}, and {networks[made.task].name} has none",
                    where=f"{keys[made.task]}.network.name",
                    remedy="name a network that attends, such as conv_alstm",
                )


def _weights_from(task: Task, tasks: Mapping[str, Task]) -> list[str]:
    """Names of the tasks whose weights a task takes over, all the way up."""
    found: dict[str, None] = {}
    for name in task.inputs:
        for made in task.paths(name) if name != _TEACHERS else ():
            if tasks[made.task].outputs[made.output] == MODEL:
                found |= dict.fromkeys([made.task, *_weights_from(tasks[made.task], tasks)])
    return list(found)
