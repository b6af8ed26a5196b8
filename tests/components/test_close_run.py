"""The step close_run, with an HTTP server that answers as Kubernetes does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from components.close_run.params import CloseRunParams
from components.close_run.pods import TASK_LABEL, failed_pods, read_failed
from components.close_run.step import close_run
from kineflow.storage.errors import KineflowError


def pod(name: str, task: str, phase: str, *, minute: int, node: str = "", ended: dict[str, Any] | None = None) -> Any:
    states = [{"name": "main", "image": "", "imageID": "", "ready": False, "restartCount": 0, "state": {}}]
    if ended:
        states[0]["state"] = {"terminated": ended}
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": f"2026-11-23T00:{minute:02}:00Z",
            "labels": {TASK_LABEL: task, "pipeline/runid": "run-1"},
            "annotations": {"workflows.argoproj.io/node-name": node} if node else {},
        },
        "status": {"phase": phase, "containerStatuses": states},
    }


class Kubernetes(ThreadingHTTPServer):
    """Lists pods and gives logs; ``refuses`` answers 403 to one of the two."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pods: list[Any] = []
        self.logs: dict[str, str] = {}
        self.refuses = ""
        self.queries: list[dict[str, list[str]]] = []


class Handler(BaseHTTPRequestHandler):
    server: Kubernetes

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.server.queries.append(parse_qs(url.query))
        parts = url.path.split("/")
        is_log = parts[-1] == "log"
        if self.server.refuses == ("log" if is_log else "pods"):
            return self.answer(403, json.dumps({"kind": "Status", "reason": "Forbidden"}))
        if is_log:
            return self.answer(200, self.server.logs[parts[-2]], "text/plain")
        return self.answer(200, json.dumps({"kind": "PodList", "apiVersion": "v1", "items": self.server.pods}))

    def answer(self, status: int, text: str, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def kubernetes() -> Iterator[Kubernetes]:
    server = Kubernetes()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def failures(server: Kubernetes, lines: int = 5) -> dict[str, str]:
    from kubernetes import client

    settings = client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
    settings.retries = False
    return read_failed(client.CoreV1Api(client.ApiClient(settings)), "kineflow", "run-1", lines=lines)


def test_the_last_lines_of_a_failed_pod_are_kept_with_how_it_ended(kubernetes: Kubernetes) -> None:
    ended = {"exitCode": 137, "reason": "OOMKilled"}
    kubernetes.pods = [pod("a", "ingest", "Succeeded", minute=1), pod("b", "train", "Failed", minute=2, ended=ended)]
    kubernetes.logs = {"b": "step 10/20\nstep 11/20\n"}
    assert failures(kubernetes, lines=7) == {"train": "OOMKilled, exit code 137\nstep 10/20\nstep 11/20"}
    assert kubernetes.queries[0]["labelSelector"] == [f"pipeline/runid=run-1,{TASK_LABEL}"]
    assert kubernetes.queries[1]["tailLines"] == ["7"]


def test_of_a_task_that_was_tried_again_the_last_pod_counts(kubernetes: Kubernetes) -> None:
    kubernetes.pods = [
        pod("b", "train", "Succeeded", minute=2, node="d3d.root.train.executor(1)"),
        pod("a", "train", "Failed", minute=1, node="d3d.root.train.executor(0)"),
    ]
    assert failures(kubernetes) == {}


def test_a_failed_shard_is_not_hidden_by_a_later_one(kubernetes: Kubernetes) -> None:
    kubernetes.pods = [
        pod("a", "extract-flow", "Failed", minute=1, node="d3d.root.loop.0.extract-flow.executor(0)"),
        pod("b", "extract-flow", "Succeeded", minute=2, node="d3d.root.loop.1.extract-flow.executor(0)"),
    ]
    kubernetes.logs = {"a": "no space left"}
    assert failures(kubernetes) == {"extract-flow": "no space left"}


@pytest.mark.parametrize(("refused", "said"), [("pods", {}), ("log", {"train": "(its log cannot be read: Forbidden)"})])
def test_what_may_not_be_read_is_left_out(kubernetes: Kubernetes, refused: str, said: dict[str, str]) -> None:
    kubernetes.pods, kubernetes.refuses = [pod("a", "train", "Failed", minute=1)], refused
    assert failures(kubernetes) == said


def test_away_from_a_cluster_there_are_no_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KINEFLOW_NAMESPACE", raising=False)
    assert failed_pods("run-1", lines=5) == {}


def test_the_step_writes_how_the_run_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kineflow.tracking.runs import open_step_run
    from kineflow.tracking.store import prepare_store

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KINEFLOW_NAMESPACE", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("KINEFLOW_RUN_ID", "run-1")
    prepare_store()

    def training() -> None:
        with open_step_run("train", params={}, experiment="d3d", pipeline_run_id="run-1"):
            raise RuntimeError("no more memory")

    with pytest.raises(RuntimeError):
        training()
    result = close_run(params=CloseRunParams(), closed=tmp_path / "closed")
    written = json.loads((tmp_path / "closed").read_text())
    assert written["status"] == "FAILED"
    assert "no more memory" in written["failures"]["train"]
    assert result.metrics == {"failed": 1}


def test_outside_a_run_there_is_nothing_to_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KINEFLOW_RUN_ID", raising=False)
    with pytest.raises(KineflowError, match="no run to close"):
        close_run(params=CloseRunParams(), closed=tmp_path / "closed")
