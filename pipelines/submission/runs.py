"""Runs on a server: started once, listed, looked at, cancelled."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kineflow.storage.errors import KineflowError
from pipelines.submission.faults import CutOffError
from pipelines.submission.registry import named
from pipelines.submission.server import Server
from pipelines.submission.states import state_of
from pipelines.submission.steps import steps_of_package

MARKER = "kineflow submission"
"""Begins the description of all that we start."""

_PAGE = 100
_LOG = logging.getLogger("kineflow")


@dataclass(frozen=True)
class RunRequest:
    """What is to be run.

    Attributes:
        pipeline_id: And
        version_id: which uploaded package.
        experiment_id: Where it is listed.
        name: Shown to people; need not be unique.
        marker: Unique words in its description, by which it is found again after a cut connection.
        parameters: One value a parameter of the pipeline.
        service_account: Empty for the server's default.
        mlflow_experiment: For Kubeflow's MLflow plugin; empty says nothing of it.
    """

    pipeline_id: str
    version_id: str
    experiment_id: str
    name: str
    marker: str
    parameters: Mapping[str, Any]
    service_account: str = ""
    mlflow_experiment: str = ""

    def body(self) -> dict[str, Any]:
        """What a run and a recurring run have in common in the API."""
        body: dict[str, Any] = {
            "display_name": self.name,
            "description": self.marker,
            "experiment_id": self.experiment_id,
            "pipeline_version_reference": {
                "pipeline_id": self.pipeline_id,
                "pipeline_version_id": self.version_id,
            },
            "runtime_config": {"parameters": dict(self.parameters)},
        }
        if self.mlflow_experiment:
            body["plugins_input"] = {"mlflow": {"experiment_name": self.mlflow_experiment}}
        return body | ({"service_account": self.service_account} if self.service_account else {})


def start_run(server: Server, request: RunRequest) -> dict[str, Any]:
    """Start a run; one, however often the connection is cut.

    The API knows no key that would make a repeated request harmless. So the run is looked for by its marker before it
    is asked for again, and a second one that turns up afterwards is cancelled; only a request that takes effect after
    all of that would go unseen.

    Raises:
        KineflowError: The server refuses; or it stayed out of reach, so that nobody knows whether the run was started.
    """
    try:
        run, repeated = server.create(
            server.runs.run_service_create_run,
            lambda: next(iter(_started(server, request)), None),
            run=request.body(),
        )
    except (CutOffError, KeyboardInterrupt) as stop:
        unknown = "whether the run was started is not known; look with `kineflow runs list` before submitting again"
        if isinstance(stop, KeyboardInterrupt):
            raise KeyboardInterrupt(unknown) from None
        raise KineflowError(stop.problem, where=stop.where, remedy=unknown, exit_code=stop.exit_code) from None
    if repeated:  # a request that was given up may have taken effect after we had looked for it
        first, *others = sorted(_started(server, request), key=lambda each: str(each.get("created_at", ""))) or [run]
        for other in others:
            _LOG.warning("run %s was started twice over a bad connection; cancelling the second", first["run_id"])
            cancel_run(server, str(other["run_id"]))
        return first
    return run


def get_run(server: Server, run_id: str) -> dict[str, Any]:
    """A run, with its tasks."""
    return {"run_id": run_id} | server.read(server.runs.run_service_get_run, run_id=run_id)


def steps_of_run(server: Server, run: Mapping[str, Any]) -> dict[str, str]:
    """The steps of a run as its package names them; empty where the package is not there any more."""
    reference = run.get("pipeline_version_reference", {})
    if not (reference.get("pipeline_id") and reference.get("pipeline_version_id")):
        return steps_of_package(run.get("pipeline_spec", {}))
    version = server.find(server.pipelines.pipeline_service_get_pipeline_version, **reference)
    return steps_of_package((version or {}).get("pipeline_spec", {}))


def list_runs(server: Server, *, experiment_id: str = "", last: int) -> list[dict[str, Any]]:
    """The latest runs, newest first."""
    scope = {"namespace": server.access.namespace} if server.access.namespace else {}
    scope |= {"experiment_id": experiment_id} if experiment_id else {}
    runs: list[dict[str, Any]] = []
    token = ""
    while len(runs) < last:
        answer = server.read(
            server.runs.run_service_list_runs,
            sort_by="created_at desc", page_size=min(_PAGE, last - len(runs)), page_token=token, **scope,
        )  # fmt: skip
        runs += answer.get("runs", [])
        token = answer.get("next_page_token", "")
        if not token:
            break
    return runs[:last]


def cancel_run(server: Server, run_id: str) -> bool:
    """Ask for the end of a run.

    Returns:
        Whether there was something to end; False if the run has ended already.
    """
    if state_of(get_run(server, run_id)).is_final:
        return False
    server.read(server.runs.run_service_terminate_run, run_id=run_id)  # asking twice changes nothing
    return True


def _started(server: Server, request: RunRequest) -> list[dict[str, Any]]:
    answer = server.read(
        server.runs.run_service_list_runs,
        experiment_id=request.experiment_id, filter=named(request.name), sort_by="created_at desc", page_size=_PAGE,
    )  # fmt: skip
    return [run for run in answer.get("runs", []) if request.marker in run.get("description", "")]
