"""Steps join the runs that Kubeflow's MLflow plugin makes: on real servers, without workspaces and with them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kineflow.storage.errors import KineflowError
from kineflow.tracking.closing import close_pipeline_run
from kineflow.tracking.kubeflow_run import CONFIG, kubeflow_run, use_its_store
from kineflow.tracking.runs import open_step_run
from kineflow.tracking.store import connect
from tests.kineflow.tracking.test_servers import free_port, running

EXCERPT = (Path(__file__).parent / "kfp_mlflow_plugin.txt").read_text()
CONFIGURED = {"endpoint": "http://mlflow:5000", "experimentId": "3", "parentRunId": "p", "authType": "none"}


def test_what_is_read_is_what_the_plugin_writes() -> None:
    """The names are those of KFP 2.17.0; an upgrade that changes the excerpt shows here."""
    written = set(re.findall(r'json:"(\w+)', EXCERPT))
    assert {*CONFIGURED, "workspace", "workspacesEnabled"} <= written
    assert f'EnvMLflowConfig = "{CONFIG}"' in EXCERPT
    assert {"MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "MLFLOW_WORKSPACE"} <= set(re.findall(r'Name: "(\w+)"', EXCERPT))
    assert "experiment_name?: string" in EXCERPT


@pytest.mark.parametrize("text", ["{", "[]", '{"endpoint": "http://mlflow:5000"}'])
def test_what_cannot_be_read_is_said(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG, text)
    with pytest.raises(KineflowError, match=r"MLflow plugin.*cannot be read"):
        kubeflow_run()


def test_the_plugins_server_is_asked_as_the_plugin_asks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {"MLFLOW_TRACKING_URI": "http://other:5000", "MLFLOW_TRACKING_PASSWORD": "planted"}
    for auth, namespaced, told in (("none", False, None), ("kubernetes", False, "kubernetes"),
                                   ("kubernetes", True, "kubernetes-namespaced")):  # fmt: skip
        workspace = {"workspacesEnabled": True, "workspace": "team-a"} if namespaced else {}
        monkeypatch.setenv(CONFIG, json.dumps(CONFIGURED | {"authType": auth} | workspace))
        environment = dict(ours)
        use_its_store(environment)
        assert environment["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
        assert environment.get("MLFLOW_TRACKING_AUTH") == told
        assert environment.get("MLFLOW_WORKSPACE") == ("team-a" if namespaced else None)
        assert ("MLFLOW_TRACKING_PASSWORD" in environment) == (auth == "none")
    monkeypatch.delenv(CONFIG)
    environment = dict(ours)
    use_its_store(environment)
    assert environment == ours


@dataclass
class Plugin:
    """What Kubeflow's API server and driver do on a server, by the same REST calls."""

    client: Any
    experiment_id: str
    parent_id: str

    def starts_task(self, name: str) -> str:
        tags = {"mlflow.parentRunId": self.parent_id}
        return str(self.client.create_run(self.experiment_id, run_name=name, tags=tags).info.run_id)

    def runs(self) -> dict[str, Any]:
        return {run.info.run_name: run for run in self.client.search_runs([self.experiment_id])}


@pytest.fixture(params=["plain", "workspaces"])
def plugin(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugin]:
    from mlflow import MlflowClient

    port, with_workspaces = free_port(), request.param == "workspaces"
    serve = ["server", "--port", str(port), "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db",
             "--artifacts-destination", "./served"]  # fmt: skip
    serve += ["--enable-workspaces"] if with_workspaces else []
    url = f"http://127.0.0.1:{port}"
    for name in ("MLFLOW_WORKSPACE", "MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    with running(serve, health=f"{url}/health", folder=tmp_path):
        config = CONFIGURED | {"endpoint": url}
        if with_workspaces:
            MlflowClient(url).create_workspace("team-a")
            monkeypatch.setenv("MLFLOW_WORKSPACE", "team-a")
            config |= {"workspacesEnabled": True, "workspace": "team-a"}
        client = MlflowClient(url)
        experiment_id = client.create_experiment("cameras")
        parent = client.create_run(experiment_id, run_name="d3d monday", tags={"kfp.pipeline_run_id": "run-1"})
        config |= {"experimentId": experiment_id, "parentRunId": parent.info.run_id}
        monkeypatch.setenv(CONFIG, json.dumps(config))
        monkeypatch.delenv("MLFLOW_WORKSPACE", raising=False)
        use_its_store(os.environ)
        yield Plugin(client, experiment_id, parent.info.run_id)


@pytest.mark.slow
def test_one_run_is_one_run(plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = plugin.starts_task("train-2")
    monkeypatch.setenv("MLFLOW_RUN_ID", task_id)

    def attempt(*, fails: bool) -> None:
        with open_step_run(
            "train", params={"seed": 1}, experiment="d3d", pipeline_run_id="run-1", root=tmp_path
        ) as run:
            assert (run.run_id, run.parent_id) == (task_id, plugin.parent_id)
            if fails:
                raise RuntimeError("out of memory")
            run.record({"top1": 0.5}, {}, {})

    with pytest.raises(RuntimeError):
        attempt(fails=True)
    attempt(fails=False)  # Kubeflow's next attempt is the same task
    monkeypatch.delenv("MLFLOW_RUN_ID")  # not told by the plugin
    with open_step_run("evaluate", params={}, experiment="d3d", pipeline_run_id="run-1", root=tmp_path):
        pass
    assert close_pipeline_run("run-1", root=tmp_path).status == "FINISHED"
    runs = plugin.runs()
    assert set(runs) == {"d3d monday", "train", "evaluate"}
    assert [experiment.name for experiment in connect().search_experiments() if experiment.name != "Default"] == [
        "cameras"
    ]
    assert runs["d3d monday"].data.metrics == {"train/top1": 0.5}
    assert runs["d3d monday"].data.tags["recipe"] == "d3d"
    assert "error" not in runs["train"].data.tags
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert {run.data.tags.get("mlflow.parentRunId") for run in runs.values()} == {None, plugin.parent_id}
