"""The steps of a run, as the recipe names them, read from the task list that the API gives.

That list has more than steps: every driver, every executor, and the parts of loops. Which tasks are steps stands in the
compiled package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from pipelines.submission.states import RunState, state_of

_DRIVER = "-driver"
_HIDDEN = ("root", "executor")
_MESSAGE_LINES = 20


@dataclass(frozen=True)
class StepState:
    """How far a step is.

    Attributes:
        key: What KFP calls it (``train-2``).
        name: What the recipe calls it (``teacher``).
        state: Of all its parts together.
        parts: How many there are (more than one in a loop).
        done: How many have ended well.
        message: Why it failed, if the server says so.
    """

    key: str
    name: str
    state: RunState
    parts: int = 1
    done: int = 0
    message: str = ""


def steps_of_package(spec: Mapping[str, Any]) -> dict[str, str]:
    """The steps of a compiled package, in order of dependence: KFP's key, and the recipe's name.

    Args:
        spec: The pipeline spec, or the mapping of ``pipeline_spec`` and ``platform_spec`` that the API gives.
    """
    spec = spec.get("pipeline_spec", spec)
    components = spec.get("components", {})

    def walk(dag: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        for key, task in _in_order(dag.get("tasks", {})):
            component = components.get(task.get("componentRef", {}).get("name"), {})
            if "dag" in component:
                yield from walk(component["dag"])
            else:
                yield key, task.get("taskInfo", {}).get("name", key)

    return dict(walk(spec.get("root", {}).get("dag", {})))


def step_states(run: Mapping[str, Any], names: Mapping[str, str]) -> list[StepState]:
    """The state of every step of a run.

    Args:
        run: As the API gives it.
        names: From :func:`steps_of_package`; where it is empty, every task that is none of KFP's own is shown.
    """
    tasks: dict[str, list[Mapping[str, Any]]] = {}
    for task in run.get("run_details", {}).get("task_details", []):
        tasks.setdefault(str(task.get("display_name", "")), []).append(task)
    names = names or {key: key for key in tasks if key and not key.startswith(_HIDDEN) and not key.endswith(_DRIVER)}
    return [_together(key, name, tasks.get(key, []), tasks.get(key + _DRIVER, [])) for key, name in names.items()]


def failures(steps: Iterable[StepState]) -> list[StepState]:
    """The steps that failed."""
    return [step for step in steps if step.state is RunState.FAILED]


def _together(key: str, name: str, parts: list[Mapping[str, Any]], drivers: list[Mapping[str, Any]]) -> StepState:
    """A driver prepares a step; when it fails, the step is never there."""
    states = [state_of(part) for part in parts]
    messages = [message for task in (*parts, *drivers) if (message := _message(task))]
    failed = [state for state in map(state_of, drivers) if state is RunState.FAILED]
    done = sum(state in (RunState.SUCCEEDED, RunState.SKIPPED) for state in states)
    return StepState(
        key, name, _common([*states, *failed]), max(1, len(parts)), done, "\n".join(dict.fromkeys(messages))
    )


def _common(states: list[RunState]) -> RunState:
    if not states:
        return RunState.PENDING
    for state in (
        RunState.FAILED,
        RunState.CANCELED,
        RunState.CANCELING,
        RunState.RUNNING,
        RunState.PAUSED,
        RunState.PENDING,
        RunState.UNKNOWN,
    ):
        if state in states:
            part_done = state in (RunState.PENDING, RunState.UNKNOWN) and RunState.SUCCEEDED in states
            return RunState.RUNNING if part_done else state
    return RunState.SKIPPED if all(state is RunState.SKIPPED for state in states) else RunState.SUCCEEDED


def _message(task: Mapping[str, Any]) -> str:
    """Why a task failed: its own error, or the last one among its past states."""
    errors = [task.get("error"), *(past.get("error") for past in reversed(task.get("state_history", [])))]
    text = next((error["message"] for error in errors if error and error.get("message")), "")
    return "\n".join(str(text).strip().splitlines()[-_MESSAGE_LINES:]) if state_of(task) is RunState.FAILED else ""


def _in_order(tasks: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Tasks after those that they wait for, and by name where they wait for nothing."""
    needed = {key: sorted(set(task.get("dependentTasks", [])) & tasks.keys()) for key, task in sorted(tasks.items())}
    return [(key, tasks[key]) for key in TopologicalSorter(needed).static_order()]
