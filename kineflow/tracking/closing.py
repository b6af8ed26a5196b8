"""The end of a pipeline run whose steps ran on other machines: how it ended is read from what they left behind."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kineflow.storage.credentials import redact
from kineflow.tracking.registration_tags import GATE_TAG, MODEL_TAG, VERSION_TAG
from kineflow.tracking.run_variables import TASK_TAG
from kineflow.tracking.runs import (
    ERROR_TAG,
    HOST_TAG,
    KIND_TAG,
    MAX_RUN_TAG_CHARS,
    PIPELINE_TAG,
    RunStatus,
    end_pipeline_run,
    parents_of,
)
from kineflow.tracking.store import connect, experiment_ids, named_failures, tracking_uri

_OUTPUTS_LOST = "its pod failed after the step had ended well, most likely as its outputs were stored: they may be lost"
_WITHOUT_A_WORD = "it ended without a word: killed, out of memory, or its machine was lost"
_MOST_CHILDREN = 5000


@dataclass(frozen=True)
class Closed:
    """How a pipeline run ended.

    Attributes:
        status: ``FINISHED`` or ``FAILED``.
        failures: The last words of each step that failed, by its name.
        registered: Model and version that it has registered; empty for none.
        gate: What the gate said of that beside the champion.
    """

    status: RunStatus
    failures: Mapping[str, str]
    registered: str = ""
    gate: str = ""

    def __str__(self) -> str:
        return "\n".join([self.status.lower(), *(f"{step}:\n{words}" for step, words in self.failures.items())])


def close_pipeline_run(
    pipeline_run_id: str,
    last_words: Mapping[str, str] | None = None,
    *,
    ended_well: Mapping[str, bool] | None = None,
    failed_at: Mapping[str, float] | None = None,
    root: Path | None = None,
) -> Closed:
    """Close the parent run of a pipeline run, once none of its steps runs any more.

    A step has failed if its latest attempt says so, if it says that it still runs, or if it is named in ``last_words``.
    The parent then ends ``FAILED`` with the failures in its tag ``error``. An attempt that says that it still runs, or
    that it finished where its pod did not end well, ends ``FAILED`` too.

    Args:
        pipeline_run_id: Names the run for all its steps.
        last_words: Last log lines of steps that failed, by the step's name, where somebody has seen them; they go
            before what the tracking store holds.
        ended_well: Whether what an attempt ran in ended well, by its host name, where somebody has seen it.
        failed_at: When the steps of ``last_words`` failed, in seconds since 1970, where that is known. Words of one
            whose latest attempts all began later and finished are left out: their pods are gone, and nobody saw them.
        root: The project's folder; the working folder when None.

    Raises:
        KineflowError: The store cannot be used, or ``pipeline_run_id`` is malformed.
    """
    uri = tracking_uri(root)
    client = connect(uri)
    last_words, ended_well, failed_at = last_words or {}, ended_well or {}, failed_at or {}
    with named_failures(uri):
        experiments = experiment_ids(client)
        parents = parents_of(client, experiments, pipeline_run_id)
        attempts = _steps(client, experiments, pipeline_run_id)
        steps = _latest_attempts(attempts)
        last_words = {
            step: words
            for step, words in last_words.items()
            if not _finished_since(failed_at.get(step, math.inf), [run for run in steps if task_of(run) == step])
        }
        failures = {task_of(run): _reason(run) for run in steps if run.info.status != "FINISHED"}
        failures |= {step: redact(words) for step, words in last_words.items()}
        for run in attempts:
            host = run.data.tags.get(HOST_TAG, "")
            well = ended_well.get(host, True) if host else task_of(run) not in last_words
            if run.info.status == "RUNNING" or (run.info.status == "FINISHED" and not well):
                why = _WITHOUT_A_WORD if run.info.status == "RUNNING" else _OUTPUTS_LOST
                client.set_tag(run.info.run_id, ERROR_TAG, why)
                client.set_terminated(run.info.run_id, "FAILED")
        closed = Closed("FAILED" if failures else "FINISHED", failures, *_registered(steps))
        for parent in parents:
            if failures:
                client.set_tag(parent.info.run_id, ERROR_TAG, str(closed)[:MAX_RUN_TAG_CHARS])
        end_pipeline_run(pipeline_run_id, closed.status, root=root)
    return closed


def status_of_steps(pipeline_run_id: str, *, root: Path | None = None) -> RunStatus:
    """How the steps of a pipeline run have ended: ``FAILED`` or ``KILLED`` if a latest attempt did, else ``FINISHED``.

    Raises:
        KineflowError: The store cannot be used.
    """
    client = connect(tracking_uri(root))
    with named_failures(tracking_uri(root)):
        steps = _latest_attempts(_steps(client, experiment_ids(client), pipeline_run_id))
    ended = {run.info.status for run in steps}
    return "FAILED" if "FAILED" in ended else "KILLED" if "KILLED" in ended else "FINISHED"


def latest_steps(pipeline_run_id: str, *, root: Path | None = None) -> list[Any]:
    """MLflow's run of the latest attempt at each step of a pipeline run, and at each shard of one.

    Raises:
        KineflowError: The store cannot be used, or ``pipeline_run_id`` is malformed.
    """
    uri = tracking_uri(root)
    client = connect(uri, must_exist=True)
    with named_failures(uri):
        return _latest_attempts(_steps(client, experiment_ids(client), pipeline_run_id))


def task_of(run: Any) -> str:
    """What the recipe calls the task that a step's run is of, as far as the run says so; else the run's name."""
    return str(run.data.tags.get(TASK_TAG, run.info.run_name))


def _steps(client: Any, experiments: list[str], pipeline_run_id: str) -> list[Any]:
    query = f"tags.`{PIPELINE_TAG}` = '{pipeline_run_id}' AND tags.`{KIND_TAG}` = 'step'"
    return list(
        client.search_runs(experiments, query, max_results=_MOST_CHILDREN, order_by=["attributes.start_time ASC"])
    )


def _latest_attempts(runs: Iterable[Any]) -> list[Any]:
    """One run a step (a shard of it, where it has several), the one that started last."""
    return list({(task_of(run), run.data.params.get("shard", "")): run for run in runs}.values())


def _finished_since(sec: float, latest_attempts: Sequence[Any]) -> bool:
    return bool(latest_attempts) and all(
        run.info.status == "FINISHED" and run.info.start_time > sec * 1000 for run in latest_attempts
    )


def _registered(steps: Iterable[Any]) -> tuple[str, str]:
    tags: Mapping[str, str] = next((run.data.tags for run in steps if MODEL_TAG in run.data.tags), {})
    return (f"{tags[MODEL_TAG]} version {tags.get(VERSION_TAG, '?')}", tags.get(GATE_TAG, "")) if tags else ("", "")


def _reason(run: Any) -> str:
    return str(run.data.tags.get(ERROR_TAG, _WITHOUT_A_WORD))
