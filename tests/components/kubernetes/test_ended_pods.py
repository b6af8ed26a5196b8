"""What is kept of the logs of pods that failed, from an API that answers over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from components.kubernetes.ended_pods import EndedPods, ended_pods, read_ended
from components.kubernetes.labels import TASK_LABEL
from components.kubernetes.pods import Pods


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
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def ended(server: Kubernetes, lines: int = 5) -> EndedPods:
    from kubernetes import client

    settings = client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
    settings.retries = False
    return read_ended(Pods(settings, "kineflow"), "run-1", lines=lines)


def failures(server: Kubernetes, lines: int = 5) -> dict[str, str]:
    return ended(server, lines).last_words


def test_the_last_lines_of_a_failed_pod_are_kept_with_how_it_ended(kubernetes: Kubernetes) -> None:
    ended = {"exitCode": 137, "reason": "OOMKilled"}
    kubernetes.pods = [pod("a", "ingest", "Succeeded", minute=1), pod("b", "train", "Failed", minute=2, ended=ended)]
    kubernetes.logs = {"b": "step 10/20\nstep 11/20\n"}
    assert failures(kubernetes, lines=7) == {"train": "OOMKilled, exit code 137\nstep 10/20\nstep 11/20"}
    assert kubernetes.queries[0]["labelSelector"] == [f"pipeline/runid=run-1,{TASK_LABEL}"]
    assert int(kubernetes.queries[1]["tailLines"][0]) > 7


def test_a_steps_own_words_are_kept_and_not_kubeflows_after_them(kubernetes: Kubernetes) -> None:
    """Lines as glog writes them for KFP 2.17.0's launcher (backend/src/v2/cmd/launcher-v2/main.go)."""
    launcher = [f"I1201 10:00:0{n % 10}.123456      15 launcher_v2.go:151] publish success." for n in range(40)]
    failed = "F1201 10:00:09.999999      15 main.go:58] failed to execute component: exit status 2"
    said = ["step 19/20", "error: clips: no clips to learn from", "  → add some"]
    kubernetes.pods = [pod("a", "train", "Failed", minute=1), pod("b", "evaluate", "Failed", minute=1)]
    kubernetes.logs = {
        "a": "\n".join(["error: an earlier one", *said, *launcher, failed]),
        "b": "\n".join(["one", "two", "ValueError: three", *launcher, failed]),
    }
    assert failures(kubernetes, lines=2) == {
        "train": "error: clips: no clips to learn from\n  → add some",
        "evaluate": "two\nValueError: three",
    }


def test_a_traceback_is_not_lost_behind_an_old_mistake(kubernetes: Kubernetes) -> None:
    kubernetes.pods = [pod("a", "train", "Failed", minute=1, ended={"finishedAt": "1970-01-01T00:01:00Z"})]
    kubernetes.logs = {"a": "\n".join(["error: went by", *map(str, range(9)), "ValueError: three"])}
    seen = ended(kubernetes, lines=2)
    assert seen.last_words["train"].endswith("\n8\nValueError: three")
    assert seen.failed_at == {"train": 60.0}


def test_each_attempt_is_known_by_its_host_name(kubernetes: Kubernetes) -> None:
    long = f"d3d-x-{'y' * 56}-1-z"
    kubernetes.pods = [
        pod("a", "train", "Failed", minute=1, node="d3d.root.train.executor(0)"),
        pod(long, "train", "Succeeded", minute=2, node="d3d.root.train.executor(1)"),
        pod("c", "evaluate", "Running", minute=3),
    ]
    assert ended(kubernetes).ended_well == {"a": False, long[:62]: True}


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


@pytest.mark.parametrize(("refused", "logs"), [("pods", {}), ("log", {"train": "(its log cannot be read: Forbidden)"})])
def test_what_may_not_be_read_is_left_out(kubernetes: Kubernetes, refused: str, logs: dict[str, str]) -> None:
    kubernetes.pods, kubernetes.refuses = [pod("a", "train", "Failed", minute=1)], refused
    assert failures(kubernetes) == logs


def test_away_from_a_cluster_there_are_no_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KINEFLOW_NAMESPACE", raising=False)
    assert ended_pods("run-1", lines=5) == EndedPods()
