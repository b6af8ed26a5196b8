"""A cluster with Kubeflow and `deploy/` on it, and commands of ours that talk to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.site import MLFLOW_NAMESPACE, NAMESPACE, ROOT, Site

KUBEFLOW, MLFLOW = "http://localhost:8080", "http://localhost:5000"
_TRAINER = "https://github.com/kubeflow/trainer.git/manifests/overlays"
_TRAINER_VERSION = "v2.3.0"
_FINALIZER = "workflows.argoproj.io/status"
_CRDS_TRIES = 4  # a definition is served some moments after it was applied, with what needs it


def kubectl(*arguments: str, given: str = "", timeout_sec: int = 300) -> str:
    """What kubectl prints; the test fails, in kubectl's words, where it does."""
    done = subprocess.run(
        ["kubectl", *arguments], input=given, capture_output=True, text=True, timeout=timeout_sec, check=False
    )
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}\n{done.stderr}"
    return done.stdout


def objects(kind: str, *, namespace: str = NAMESPACE, selector: str = "") -> list[dict[str, Any]]:
    """Objects of a kind, as the cluster holds them."""
    listed = kubectl("-n", namespace, "get", kind, "-o", "json", *(["-l", selector] if selector else []))
    items: list[dict[str, Any]] = json.loads(listed)["items"]
    return items


def until(what: str, holds: Callable[[], Any], *, timeout_sec: float, every_sec: float = 5.0) -> Any:
    """What ``holds`` gives once it is true; the test fails where that takes too long."""
    until_sec = time.monotonic() + timeout_sec
    while not (result := holds()):
        assert time.monotonic() < until_sec, f"after {timeout_sec:.0f} s still not: {what}"
        time.sleep(every_sec)
    return result


@dataclass(frozen=True)
class Cluster:
    """The cluster under test.

    Attributes:
        site: What is its own.
        folder: Of the project that recipes are submitted from.
        runs: Ids of runs, by name.
    """

    site: Site
    folder: Path
    runs: dict[str, str] = field(default_factory=dict)

    def kineflow(self, *arguments: str, expects: int = 0, timeout_sec: int = 3600) -> str:
        """What a command of ours prints."""
        command = [str(Path(sys.executable).parent / "kineflow"), *arguments]
        print("\n$ kineflow", *arguments, flush=True)  # noqa: T201
        environment = {**os.environ, "KF_PIPELINES_ENDPOINT": KUBEFLOW, "MLFLOW_TRACKING_URI": MLFLOW}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=timeout_sec,
            check=False,
        )
        assert done.returncode == expects, f"exit code {done.returncode}\n{done.stdout}"
        return done.stdout

    def submit(self, name: str, params: Mapping[str, Any]) -> str:
        """Submit the recipe D3D; the id of its run."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(dict(params)), encoding="utf-8")
        told = self.kineflow(
            "submit", "d3d", "--params", path.name, "--name", name, "--allow-dirty", "--no-cache", "--json"
        )
        self.runs[name] = str(json.loads(told)["run_id"])
        return self.runs[name]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Everything installed as docs/cluster.md says, and removed again."""
    site = Site.from_environment()
    assert site.image, "KINEFLOW_TEST_IMAGE is not set: name an image by its digest (tests/kubernetes/README.md)"
    folder = tmp_path_factory.mktemp("project")
    present = {one["metadata"]["name"] for one in json.loads(kubectl("get", "namespaces", "-o", "json"))["items"]}
    is_there = bool(present & {NAMESPACE, MLFLOW_NAMESPACE})
    assert not is_there or site.keep, (
        f"the cluster has a namespace {NAMESPACE} or {MLFLOW_NAMESPACE}, and somebody may work there; if it is left of "
        "an earlier test, delete both (docs/cluster.md, Cleaning up), or set KINEFLOW_TEST_KEEP=1 to go on with it"
    )
    with ExitStack() as after:
        if not site.keep:  # the last is called first, and each whatever becomes of those before it
            for namespace in (MLFLOW_NAMESPACE, NAMESPACE):
                after.callback(_remove, namespace)
            after.callback(_end_workflows)
        after.callback(_show_pods)
        _install(site, folder / "overlay")
        after.enter_context(_forwarded(NAMESPACE, "service/ml-pipeline-ui", "8080:80"))
        after.enter_context(_forwarded(MLFLOW_NAMESPACE, "service/mlflow", "5000:5000"))
        tested = Cluster(site, folder)
        tested.kineflow("init", ".")
        yield tested


def _install(site: Site, overlay: Path) -> None:
    _apply("-k", str(ROOT / "deploy" / "kubeflow"))
    for part, deployment in (("manager", "kubeflow-trainer-controller-manager"), ("runtimes", "")):
        _apply("-k", f"{_TRAINER}/{part}?ref={_TRAINER_VERSION}")
        if deployment:
            kubectl("-n", "kubeflow-system", "rollout", "status", f"deployment/{deployment}", timeout_sec=900)
    _apply("-f", str(ROOT / "deploy" / "base" / "mlflow" / "namespace.yaml"))
    _secret("kineflow-mlflow-s3", {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"})
    _secret("kineflow-database", {
        "PGHOST": "postgres", "PGPORT": "5432", "PGDATABASE": "mlflow", "PGUSER": "mlflow", "PGSSLMODE": "disable",
        "PGPASSWORD": os.urandom(24).hex(),
    })  # fmt: skip
    _apply("-k", str(site.write_overlay(overlay)))
    for namespace, name in ((NAMESPACE, "ml-pipeline"), (MLFLOW_NAMESPACE, "mlflow")):
        kubectl("-n", namespace, "rollout", "status", f"deployment/{name}", "--timeout=15m", timeout_sec=1000)
    pod = site.data_pod()["metadata"]["name"]
    kubectl("-n", NAMESPACE, "delete", "pod", pod, "--ignore-not-found")
    kubectl("apply", "-f", "-", given=json.dumps(site.data_pod()))
    phase = "jsonpath={.status.phase}=Succeeded"
    kubectl("-n", NAMESPACE, "wait", f"pod/{pod}", f"--for={phase}", "--timeout=15m", timeout_sec=1000)


def _apply(*what: str) -> None:
    print("\n$ kubectl apply --server-side", *what, flush=True)  # noqa: T201
    for last in (*[False] * (_CRDS_TRIES - 1), True):
        try:
            kubectl("apply", "--server-side", "--force-conflicts", *what, timeout_sec=600)
        except AssertionError as refusal:
            if last or "no matches for kind" not in str(refusal):
                raise
            time.sleep(10)
        else:
            return


def _secret(name: str, values: Mapping[str, str]) -> None:
    """Make a secret of MLflow's; one that an earlier test left is kept, for the database has its password."""
    present = {one["metadata"]["name"] for one in objects("secrets", namespace=MLFLOW_NAMESPACE)}
    if name not in present:
        metadata = {"name": name, "namespace": MLFLOW_NAMESPACE}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(values)}
        kubectl("create", "-f", "-", given=json.dumps(secret))


def _show_pods() -> None:
    """What there is in the end: most of what a failure here wants to be understood."""
    for namespace in (NAMESPACE, MLFLOW_NAMESPACE):
        for kind in ("pods", "trainjobs"):
            _try("-n", namespace, "get", kind, "--ignore-not-found")


def _end_workflows() -> None:
    """Argo's controller takes its finalizer off their pods, and goes with the namespace: without it nobody would."""
    _try("-n", NAMESPACE, "delete", "workflows.argoproj.io", "--all", "--wait", "--timeout=5m")
    until("pods are without Argo's finalizer", lambda: not any(map(_has_finalizer, objects("pods"))), timeout_sec=300)


def _has_finalizer(pod: Mapping[str, Any]) -> bool:
    return _FINALIZER in pod["metadata"].get("finalizers", ())


def _try(*arguments: str) -> None:
    """Let kubectl print what it has to say, a failure too."""
    print("\n$ kubectl", *arguments, flush=True)  # noqa: T201
    subprocess.run(["kubectl", *arguments], timeout=400, check=False)


def _remove(namespace: str) -> None:
    kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=10m", timeout_sec=700)


class _forwarded:  # noqa: N801  # used as a function
    """A port of this machine that leads to a service, and goes on leading there when a pod is replaced."""

    def __init__(self, namespace: str, service: str, ports: str) -> None:
        self._command = ["kubectl", "-n", namespace, "port-forward", service, ports]

    def __enter__(self) -> None:
        loop = 'while true; do "$@" >/dev/null 2>&1; sleep 1; done'
        self._process = subprocess.Popen(["sh", "-c", loop, "sh", *self._command], start_new_session=True)
        time.sleep(3)

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, 15)
        self._process.wait(timeout=30)
