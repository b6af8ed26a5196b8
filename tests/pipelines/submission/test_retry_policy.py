"""What ``kineflow submit`` says of retries, by what it sees of Argo's settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.submission import retry_policy
from pipelines.submission.retry_policy import SETTINGS, retry_notices
from tests.deploy.kubeflow.excerpts import BASES, base_file
from tests.deploy.manifests import DEPLOY
from tests.pipelines.submission.conftest import Ended
from tests.pipelines.submission.kube_server import KubeServer, kube_server


@pytest.fixture
def kube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeServer]:
    with kube_server() as served:
        monkeypatch.setenv("KUBECONFIG", str(served.kubeconfig(tmp_path)))
        yield served


def settings_in(path: Path) -> dict[str, str]:
    (found,) = [one for one in yaml.safe_load_all(path.read_text()) if one["metadata"]["name"] == SETTINGS]
    data: dict[str, str] = found["data"]
    return data


@pytest.mark.parametrize("namespace", ["anna", "team", "kubeflow"])
def test_kubeflows_own_settings_are_told_wherever_they_are(kube: KubeServer, namespace: str) -> None:
    kube.config_maps[namespace, SETTINGS] = settings_in(base_file(BASES[1]))
    (notice,) = retry_notices("team")
    assert "retries will do nothing" in notice
    assert "retryPolicy OnError" in notice
    assert f"namespace {namespace} " in notice


def test_nothing_is_said_of_the_settings_of_our_overlay(kube: KubeServer) -> None:
    kube.config_maps["anna", SETTINGS] = settings_in(DEPLOY / "kubeflow" / "workflow_controller.yaml")
    assert retry_notices() == ()
    assert len(kube.requests) == 1


@pytest.mark.parametrize(
    "defaults", ["", "spec: 7", "[", "spec: {templateDefaults: {retryStrategy: {limit: 2}}}", "[" * 5000]
)
def test_settings_that_say_nothing_or_nonsense_are_passed_over(kube: KubeServer, defaults: str) -> None:
    kube.config_maps["anna", SETTINGS] = {"workflowDefaults": defaults}
    assert retry_notices() == ()


def test_what_cannot_be_seen_is_not_spoken_of(
    kube: KubeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube.status = 403
    assert retry_notices() == ()
    kube.url = "http://127.0.0.1:9"
    kube.kubeconfig(tmp_path)
    assert retry_notices() == ()
    for nonsense in (tmp_path / "none", Path(__file__)):
        monkeypatch.setenv("KUBECONFIG", str(nonsense))
        assert retry_notices() == ()


def test_a_login_that_waits_for_a_person_holds_nothing_up(
    kube: KubeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logged_in = tmp_path / "logged-in"
    script = f"until [ -e {logged_in} ]; do sleep 0.05; done; exit 1"
    config = kube.kubeconfig(tmp_path)
    content = yaml.safe_load(config.read_text())
    login = {"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script]}
    content["users"][0]["user"] = {"exec": login}
    config.write_text(yaml.safe_dump(content))
    monkeypatch.setattr(retry_policy, "_PATIENCE_SEC", 0.1)
    assert retry_notices() == ()
    (waiting,) = [thread for thread in threading.enumerate() if thread.name == "retries"]
    logged_in.touch()
    waiting.join(30)
    assert not caplog.records


def test_submit_says_it_and_submits(kube: KubeServer, submit: Callable[..., Ended]) -> None:
    kube.config_maps["kubeflow", SETTINGS] = settings_in(base_file(BASES[1]))
    ended = submit("--json")
    assert ended.code == 0
    assert "note: retries will do nothing" in ended.err
