"""Which tasks of a run are steps, what they are called, and the state of one with many parts."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.submission.states import EXIT_CODES, RunState, state_of
from pipelines.submission.steps import step_states, steps_of_package

SPEC: dict[str, Any] = {
    "root": {"dag": {"tasks": {
        "close-run": {"componentRef": {"name": "comp-close"}, "dependentTasks": ["exit-handler-1"]},
        "exit-handler-1": {"componentRef": {"name": "comp-handler"}},
    }}},
    "components": {
        "comp-handler": {"dag": {"tasks": {
            "train": {"componentRef": {"name": "comp-a"}, "dependentTasks": ["loop"], "taskInfo": {"name": "teacher"}},
            "loop": {"componentRef": {"name": "comp-loop"}, "dependentTasks": ["ingest"]},
            "ingest": {"componentRef": {"name": "comp-a"}, "taskInfo": {"name": "ingest"}},
        }}},
        "comp-loop": {"dag": {"tasks": {"flow": {"componentRef": {"name": "comp-a"}}}}},
        "comp-a": {"executorLabel": "exec-a"},
        "comp-close": {"executorLabel": "exec-close"},
    },
}  # fmt: skip


def run_of(*tasks: tuple[str, str]) -> dict[str, Any]:
    return {"run_details": {"task_details": [{"display_name": name, "state": state} for name, state in tasks]}}


def flow(*states: str) -> Any:
    return step_states(run_of(*[("flow", state) for state in states]), {"flow": "flow"})[0]


def test_steps_are_read_from_handlers_and_loops_in_order() -> None:
    assert list(steps_of_package(SPEC).items()) == [
        ("ingest", "ingest"), ("flow", "flow"), ("train", "teacher"), ("close-run", "close-run"),
    ]  # fmt: skip
    assert steps_of_package({"pipeline_spec": SPEC, "platform_spec": {}}) == steps_of_package(SPEC)
    assert steps_of_package({}) == {}


def test_drivers_executors_and_loops_are_no_steps() -> None:
    run = run_of(
        ("d3d-abcde", "RUNNING"), ("root-driver", "SUCCEEDED"),
        ("train-driver", "SUCCEEDED"), ("train", "RUNNING"), ("executor", "RUNNING"), ("executor(0)", "FAILED"),
        ("loop", "SUCCEEDED"), ("flow", "SUCCEEDED"),
    )  # fmt: skip
    assert {step.name: step.state for step in step_states(run, steps_of_package(SPEC))} == {
        "ingest": RunState.PENDING, "flow": RunState.SUCCEEDED,
        "teacher": RunState.RUNNING, "close-run": RunState.PENDING,
    }  # fmt: skip
    unnamed = {step.name for step in step_states(run, {})}
    assert unnamed == {"d3d-abcde", "train", "loop", "flow"}


@pytest.mark.parametrize(
    ("states", "together", "done"),
    [
        (["SUCCEEDED", "SUCCEEDED"], RunState.SUCCEEDED, 2),
        (["SUCCEEDED", "SKIPPED"], RunState.SUCCEEDED, 2),
        (["SKIPPED", "SKIPPED"], RunState.SKIPPED, 2),
        (["SUCCEEDED", "RUNNING", "PENDING"], RunState.RUNNING, 1),
        (["SUCCEEDED", "PENDING"], RunState.RUNNING, 1),
        (["PENDING", "PENDING"], RunState.PENDING, 0),
        (["SUCCEEDED", "FAILED", "RUNNING"], RunState.FAILED, 1),
        (["SUCCEEDED", "CANCELED"], RunState.CANCELED, 1),
    ],
    ids=str,
)
def test_parts_of_a_loop_are_told_together(states: list[str], together: RunState, done: int) -> None:
    step = flow(*states)
    assert (step.state, step.parts, step.done) == (together, len(states), done)


def test_a_step_whose_driver_failed_has_failed() -> None:
    run = run_of(("train-driver", "FAILED"))
    run["run_details"]["task_details"][0]["error"] = {"message": "no such image"}
    (step,) = step_states(run, {"train": "teacher"})
    assert (step.state, step.message) == (RunState.FAILED, "no such image")


def test_a_message_can_stand_in_the_past_states_and_is_cut_to_its_end() -> None:
    run = run_of(("train", "FAILED"))
    text = "\n".join(f"line {number}" for number in range(50))
    run["run_details"]["task_details"][0]["state_history"] = [
        {"state": "RUNNING", "error": {"message": "older"}},
        {"state": "FAILED", "error": {"message": text}},
        {"state": "FAILED"},
    ]
    (step,) = step_states(run, {"train": "teacher"})
    assert step.message.splitlines() == [f"line {number}" for number in range(30, 50)]


def test_every_state_has_a_word_and_every_end_a_code() -> None:
    assert all(state.word for state in RunState)
    assert {state for state in RunState if state.is_final} == set(EXIT_CODES)
    assert state_of({}) is state_of({"state": "NEW"}) is RunState.UNKNOWN
