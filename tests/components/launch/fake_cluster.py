"""A stand-in for the Kubernetes API with Kubeflow Trainer: real HTTP, TrainJobs checked against their definition.

It stores what it is sent, refuses what the definition or Trainer's admission webhook refuses, and plays what a test
wants: conditions, pods and their logs, requests that fail or are cut. It runs nothing; a test's ``controller`` may.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from jsonschema import Draft202012Validator

CRDS = Path(__file__).parent / "crds"
TOKEN = "planted-token-of-the-launcher"
RESERVED = ("PET_NNODES", "PET_NPROC_PER_NODE", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT")
GROUP = "/apis/trainer.kubeflow.org/v1alpha1"
CUT = -1

RUNTIME = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "ClusterTrainingRuntime",
    "metadata": {"name": "torch-distributed", "labels": {"trainer.kubeflow.org/framework": "torch"}},
    "spec": {
        "mlPolicy": {"numNodes": 1, "torch": {}},
        "template": {"spec": {"replicatedJobs": [{
            "name": "node",
            "template": {
                "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
                "spec": {"template": {"spec": {"containers": [{"name": "node", "image": "some/torch:2"}]}}},
            },
        }]}},
    },
}  # fmt: skip

Job = dict[str, Any]


def definition() -> dict[str, Any]:
    """The definition of TrainJob, as the API server is given it."""
    crd: dict[str, Any] = yaml.safe_load((CRDS / "trainer.kubeflow.org_trainjobs.yaml").read_text())
    return crd


def faults(job: Job) -> list[str]:
    """All that is wrong with a TrainJob that is to be created."""
    schema = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found = [f"{error.json_path}: {error.message}" for error in Draft202012Validator(_closed(schema)).iter_errors(job)]
    name = job["metadata"]["name"]
    if not re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", name) or len(name) > 63:
        found.append("metadata.name must match RFC 1035 DNS label format")
    if found:
        return found
    found += [f"duplicate {twice}" for twice in _duplicates(schema, job)]
    for patch in job["spec"].get("runtimePatches", []):
        for each in patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]:
            for container in each["template"]["spec"]["template"]["spec"].get("containers", []):
                if container["name"] == "node" and "env" in container:
                    found.append("must not have envs for the node container")
    reserved = {variable["name"] for variable in job["spec"]["trainer"].get("env", [])} & set(RESERVED)
    return [*found, *(f"must not have reserved envs: {name}" for name in reserved)]


def _closed(schema: Any) -> Any:
    """The schema with every key refused that it does not name, which the API server would drop in silence."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(closed.get("properties"), dict) and "properties" in schema and "type" in schema:
        closed.setdefault("additionalProperties", False)
    return closed


def _duplicates(schema: Any, value: Any) -> Iterator[str]:
    """Entries of lists that are maps by some key, where two have the same one."""
    if isinstance(value, dict):
        for key, part in value.items():
            below = schema.get("properties", {}).get(key) or schema.get("additionalProperties") or {}
            yield from _duplicates(below, part)
    elif isinstance(value, list):
        keys = schema.get("x-kubernetes-list-map-keys")
        named = [tuple(each[key] for key in keys) for each in value] if keys else []
        yield from (f"entry {each}" for each in {each for each in named if named.count(each) > 1})
        for each in value:
            yield from _duplicates(schema.get("items", {}), each)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class FakeCluster:
    """The state of the stand-in, and what a test sets up.

    Attributes:
        controller: Called with each TrainJob that is created, in a thread of its own.
        trouble: Asked before each request, by method and path: a status to answer with, ``CUT`` to cut the connection
            before the request is done, or None.
        after: The same, once the request is done: the work happens, the answer does not arrive.
        linger: Jobs that are deleted stay, marked, until the test removes them.
    """

    url: str = ""
    jobs: dict[str, Job] = field(default_factory=dict)
    pods: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    created: list[Job] = field(default_factory=list)
    controller: Callable[[Job], None] = lambda job: None
    trouble: Callable[[str, str], int | None] = lambda method, path: None
    after: Callable[[str, str], int | None] = lambda method, path: None
    linger: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)

    def says(self, name: str, kind: str, reason: str = "Because", message: str = "", status: str = "True") -> None:
        """Set a condition of a job, as Trainer's controller does."""
        stated = {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now()}
        with self.lock:
            if name in self.jobs:
                conditions = self.jobs[name].setdefault("status", {}).setdefault("conditions", [])
                conditions[:] = [*(each for each in conditions if each["type"] != kind), stated]

    def runs(self, name: str, ready: int = 1) -> None:
        """Say that all nodes of a job run, as JobSet counts it: one job is ready when each of its pods is."""
        state = {"name": "node", "ready": ready, "active": 1, "failed": 0, "succeeded": 0, "suspended": 0}
        with self.lock:
            if name in self.jobs:
                self.jobs[name].setdefault("status", {})["jobsStatus"] = [state]

    def has_step_pod(self, name: str, run: str, workflow: str) -> None:
        """Add the pod of a step, as Argo makes it for Kubeflow Pipelines: it belongs to the workflow of its run."""
        owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": workflow, "uid": f"uid-{workflow}",
                 "controller": True, "blockOwnerDeletion": True}  # fmt: skip
        metadata = {"name": name, "labels": {"pipeline/runid": run}, "ownerReferences": [owner]}
        self.pods.append({"metadata": metadata, "status": {"phase": "Running"}})

    def has_pod(self, job: str, index: int, phase: str, log: str = "", **status: Any) -> None:
        """Add the pod of a node."""
        name = f"{job}-node-0-{index}-abcde"
        marks = {
            "jobset.sigs.k8s.io/jobset-name": job,
            "batch.kubernetes.io/job-completion-index": str(index),
        }
        with self.lock:
            self.pods = [pod for pod in self.pods if pod["metadata"]["name"] != name]
            self.pods.append({
                "metadata": {"name": name, "labels": marks, "creationTimestamp": now()},
                "status": {"phase": phase, **status},
            })  # fmt: skip
            self.logs[name] = log

    def count(self, method: str, fragment: str) -> int:
        return sum(done == method and fragment in path for done, path in self.requests)

    def kubeconfig(self, path: Path) -> Path:
        """Write how to reach the stand-in, as ``kubectl`` reads it."""
        path.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "launcher", "user": {"token": TOKEN}}],
            "contexts": [{"name": "fake", "context": {
                "cluster": "fake", "user": "launcher", "namespace": "kineflow"}}],
        }))  # fmt: skip
        return path


@contextmanager
def fake_cluster() -> Iterator[FakeCluster]:
    """A stand-in that listens on a free port."""
    cluster = FakeCluster()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(cluster))
    cluster.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(cluster: FakeCluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            with cluster.lock:
                cluster.requests.append((self.command, url.path))
                cluster.bodies.append(body.decode())
            assert self.headers["Authorization"] == f"Bearer {TOKEN}"
            status: int | None = cluster.trouble(self.command, url.path)
            if status is None:
                status, answer = self._answer(url.path, parse_qs(url.query), json.loads(body) if body else None)
                trouble = cluster.after(self.command, url.path)
                status, answer = (status, answer) if trouble is None else (trouble, "")
            else:
                answer = _refusal(status, f"no {self.command} today")
            if status == CUT:
                self.close_connection = True
                self.connection.close()
                return
            sent = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if not isinstance(answer, str) else "text/plain")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_DELETE = _handle  # noqa: N815

        def _answer(self, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
            jobs = f"{GROUP}/namespaces/kineflow/trainjobs"
            with cluster.lock:
                if path == jobs and self.command == "POST":
                    return _create(cluster, body)
                if path == jobs:
                    return 200, {"kind": "TrainJobList", "items": _selected([*cluster.jobs.values()], query)}
                if path.startswith(f"{jobs}/"):
                    return _one(cluster, self.command, path.removeprefix(f"{jobs}/"))
                if path == f"{GROUP}/clustertrainingruntimes/torch-distributed":
                    return 200, RUNTIME
                if path == "/api/v1/namespaces/kineflow/pods":
                    return 200, {"kind": "PodList", "items": _selected(cluster.pods, query)}
                log = re.fullmatch("/api/v1/namespaces/kineflow/pods/([^/]+)/log", path)
                if log and log[1] in cluster.logs:
                    return 200, _log(cluster.logs[log[1]], query)
            return 404, _refusal(404, f"{path} not found")

    return Handler


def _selected(objects: list[dict[str, Any]], query: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Those that have the label that is asked for."""
    name, _, value = query["labelSelector"][0].partition("=")
    return [each for each in objects if (each["metadata"].get("labels") or {}).get(name) == value]


def _create(cluster: FakeCluster, job: Job) -> tuple[int, Any]:
    name, wrong = job["metadata"]["name"], faults(job)
    if wrong:
        return 422, _refusal(422, f"TrainJob {name} is invalid: {'; '.join(wrong)}")
    if name in cluster.jobs:
        return 409, _refusal(409, f"trainjobs {name} already exists")
    cluster.created.append(copy.deepcopy(job))
    cluster.jobs[name] = job
    job["metadata"] |= {"namespace": "kineflow", "uid": f"uid-{len(cluster.created)}", "creationTimestamp": now()}
    threading.Thread(target=cluster.controller, args=[copy.deepcopy(job)], daemon=True).start()
    return 201, job


def _one(cluster: FakeCluster, method: str, name: str) -> tuple[int, Any]:
    if name not in cluster.jobs:
        return 404, _refusal(404, f"trainjobs {name} not found")
    if method == "DELETE":
        if cluster.linger:
            cluster.jobs[name]["metadata"]["deletionTimestamp"] = now()
        else:
            del cluster.jobs[name]
        return 200, {"kind": "Status", "status": "Success"}
    return 200, cluster.jobs[name]


def _log(text: str, query: dict[str, list[str]]) -> str:
    """A pod's log: lines that begin with their time, of which the asker may not want to see any."""
    lines = text.splitlines()
    if "tailLines" in query:
        lines = lines[-int(query["tailLines"][0]) :]
    if "timestamps" not in query:
        lines = [line.partition(" ")[2] for line in lines]
    return "\n".join(lines)


def _refusal(status: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "status": "Failure", "code": status, "message": message}
