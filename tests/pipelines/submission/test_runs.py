"""``kineflow runs list``, ``cancel`` and ``logs``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.frontend.run import execute
from kineflow.storage.errors import KineflowError
from kineflow.tracking.store import prepare_store
from pipelines.submission.access import Access
from pipelines.submission.runs import list_runs
from pipelines.submission.server import Server
from pipelines.submission.submit import Submission
from tests.components.frontend.brew import brew
from tests.pipelines.submission.conftest import Ended
from tests.pipelines.submission.kfp_server import Fault, KfpServer, tasks
from tests.pipelines.submission.kube_server import KubeServer, kube_server

Cli = Callable[..., Ended]
Send = Callable[..., Submission]


@pytest.fixture
def runs(cli: Cli, kfp: KfpServer) -> Cli:
    def call(command: str, *words: object) -> Ended:
        return cli("runs", command, *words, "--host", kfp.url)

    return call


def test_runs_are_listed_newest_first(kfp: KfpServer, send: Send, runs: Cli) -> None:
    made = [send(name=f"night [{number}]").run_id for number in range(3)]
    history = [{"state": state} for state in ("RUNNING", "CANCELING", "FAILED")]
    kfp.runs[made[0]] |= {"state": "FAILED", "state_history": history}
    ended = runs("list", "--json")
    assert [run["run_id"] for run in ended.json["runs"]] == made[::-1]
    assert ended.json["runs"][2] == {
        "run_id": made[0], "url": f"{kfp.url}/#/runs/details/{made[0]}", "state": "CANCELED", "name": "night [0]",
        "experiment_id": kfp.runs[made[0]]["experiment_id"], "created_at": kfp.runs[made[0]]["created_at"],
    }  # fmt: skip
    lines = runs("list").out.splitlines()
    assert [line.split()[0] for line in lines] == ["run", *made[::-1]]
    assert "cancelled" in lines[3]
    assert "night [0]" in lines[3]


def test_as_many_runs_are_listed_as_are_asked_for(kfp: KfpServer, send: Send, runs: Cli) -> None:
    made = [send().run_id for _ in range(3)]
    assert [run["run_id"] for run in runs("list", "--last", "2", "--json").json["runs"]] == [made[2], made[1]]


@pytest.mark.slow
def test_a_list_goes_over_pages(kfp: KfpServer, send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.submission.runs._PAGE", 2)
    made = [send().run_id for _ in range(5)]
    found = list_runs(Server(Access(kfp.url, kfp.url)), last=100)
    assert [run["run_id"] for run in found] == made[::-1]


def test_runs_of_one_experiment_are_listed(kfp: KfpServer, send: Send, runs: Cli) -> None:
    send()
    assert len(runs("list", "--experiment", "kineflow", "--json").json["runs"]) == 1
    ended = runs("list", "--experiment", "none")
    assert ended.code == 2
    assert "no experiment 'none'" in ended.err


def test_no_runs_are_said_to_be_none(runs: Cli) -> None:
    assert runs("list").out == "no runs\n"
    assert runs("list", "--json").json == {"runs": []}


def test_a_run_is_cancelled(kfp: KfpServer, send: Send, runs: Cli) -> None:
    run_id = send().run_id
    ended = runs("cancel", run_id, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["cancel_requested"] is True
    assert ended.json["state"] == "CANCELING"
    assert runs("watch", run_id).code == 3
    assert kfp.runs[run_id]["state"] == "FAILED", "Kubeflow has no other word for it"
    assert "has ended already, cancelled" in runs("cancel", run_id).out


def test_a_run_that_has_ended_is_not_cancelled(kfp: KfpServer, send: Send, runs: Cli) -> None:
    run_id = send().run_id
    kfp.runs[run_id]["state"] = "SUCCEEDED"
    ended = runs("cancel", run_id)
    assert ended.code == 0
    assert "has ended already, succeeded" in ended.out
    assert kfp.asked("POST", ":terminate") == []


def test_cancelling_outlives_a_cut_connection(kfp: KfpServer, send: Send, runs: Cli) -> None:
    run_id = send().run_id
    kfp.fail("POST", ":terminate", Fault(cut="silent", done=True), Fault(status=503))
    assert runs("cancel", run_id).code == 0
    assert kfp.runs[run_id]["state"] == "CANCELING"


@pytest.mark.parametrize("command", ["cancel", "watch", "logs"])
def test_a_run_that_is_not_there_is_named(kfp: KfpServer, runs: Cli, command: str) -> None:
    ended = runs(command, "../7 x")
    assert ended.code == 2
    assert "run ../7 x not found" in ended.err
    assert {request.template for request in kfp.requests} == {"/apis/v2beta1/runs/{run_id}"}


@pytest.fixture
def kube() -> Iterator[KubeServer]:
    with kube_server() as served:
        yield served


@pytest.fixture
def failed_run(kfp: KfpServer, send: Send, kube: KubeServer) -> str:
    """A run whose step ``teacher`` failed, and its pods."""
    run_id = send().run_id
    kfp.looks[run_id] = iter([{"state": "FAILED", **tasks(train="FAILED")}])
    kube.add(run_id, "wf-driver-1", "driver", node="wf.root.train-driver")
    kube.add(run_id, "wf-impl-2", "epoch 1\nepoch 2\nout of memory\n", task="teacher", node="wf.root.train.executor(0)")
    kube.add("another", "wf-impl-3", "another run", task="teacher")
    return run_id


def test_the_logs_of_a_failed_step_come_from_its_pod(
    kube: KubeServer, runs: Cli, failed_run: str, tmp_path: Path
) -> None:
    ended = runs("logs", failed_run, "--kubeconfig", kube.kubeconfig(tmp_path))
    assert ended.code == 0, ended.err
    assert ended.out.splitlines() == [
        "teacher: failed", "", "── teacher (wf-impl-2, failed)", "epoch 1", "epoch 2", "out of memory",
    ]  # fmt: skip


@pytest.mark.parametrize("step", ["teacher", "train"])
def test_a_step_is_named_as_the_recipe_or_kfp_does(
    kube: KubeServer, runs: Cli, failed_run: str, tmp_path: Path, step: str
) -> None:
    ended = runs("logs", failed_run, step, "--lines", "1", "--json", "--kubeconfig", kube.kubeconfig(tmp_path))
    assert ended.json["logs"] == [
        {"step": "teacher", "pod": "wf-impl-2", "phase": "Failed", "text": "out of memory\n"}
    ]  # fmt: skip


def test_pods_without_our_label_are_known_by_their_place_in_the_graph(
    kube: KubeServer, runs: Cli, failed_run: str, tmp_path: Path
) -> None:
    for pod in kube.pods:
        pod["metadata"]["labels"].pop("kineflow.io/task", None)
    ended = runs("logs", failed_run, "--json", "--kubeconfig", kube.kubeconfig(tmp_path))
    assert [log["pod"] for log in ended.json["logs"]] == ["wf-impl-2"]


def test_an_unknown_step_is_refused_with_those_there_are(runs: Cli, failed_run: str) -> None:
    ended = runs("logs", failed_run, "treacher")
    assert ended.code == 2
    assert "choose one of teacher" in ended.err


def test_the_namespace_can_be_given_or_is_the_contexts(
    kube: KubeServer, runs: Cli, failed_run: str, tmp_path: Path
) -> None:
    config = kube.kubeconfig(tmp_path)
    ended = runs("logs", failed_run, "--kubeconfig", config, "--pod-namespace", "other")
    assert ended.code == 2
    assert "no pods of teacher are left" in ended.err
    assert "teacher: failed" in ended.out
    assert kube.requests[-1][0].endswith("/namespaces/other/pods")
    runs("logs", failed_run, "--kubeconfig", kube.kubeconfig(tmp_path, namespace=""))
    assert kube.requests[-1][0].endswith("/namespaces/kubeflow/pods")


def test_without_a_cluster_the_states_are_told_and_what_is_missing(
    runs: Cli, failed_run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    ended = runs("logs", failed_run, "--json")
    assert ended.code == 2
    assert ended.json["steps"][0]["state"] == "FAILED"
    assert ended.json["logs"] == []
    assert "no Kubernetes is configured" in ended.json["logs_missing"]
    assert "--kubeconfig" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.slow
def test_where_the_pods_are_gone_the_log_that_mlflow_keeps_is_shown(
    kube: KubeServer, runs: Cli, failed_run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    prepare_store()
    given = {"water": tmp_path / "none", "leaves": [tmp_path / "oolong"], "params": {}, "tea": tmp_path / "tea"}
    with monkeypatch.context() as pod:  # the step itself, as a pod runs it
        for name, value in (("RUN_ID", failed_run), ("TASK", "teacher"), ("RECIPE", "d3d")):
            pod.setenv(f"KINEFLOW_{name}", value)
        for name in ("some", "teacher"):
            with pytest.raises(KineflowError, match="no water"):
                execute(brew, {**given, "name": name})
            pod.setenv("KINEFLOW_TASK", "another")
    kube.pods.clear()
    ended = runs("logs", failed_run, "--json", "--kubeconfig", kube.kubeconfig(tmp_path))
    assert ended.code == 0, ended.err
    assert [(log["step"], log["phase"]) for log in ended.json["logs"]] == [("teacher", "FAILED"), ("another", "FAILED")]
    assert f"error: {tmp_path}/none: no water" in ended.json["logs"][0]["text"]
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    ended = runs("logs", failed_run, "--lines", "1")
    assert ended.out.splitlines()[-1] == "  → fetch some"
    assert "── teacher (kept in MLflow, failed)" in ended.out
    ended = runs("logs", failed_run, "plain")
    assert ended.code == 2


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda kube: setattr(kube, "status", 403), "Kubernetes refuses (403)"),
        (lambda kube: setattr(kube, "url", "http://127.0.0.1:9"), "Kubernetes cannot be reached"),
    ],
    ids=["forbidden", "not there"],
)
def test_a_cluster_that_does_not_answer_is_named(
    kube: KubeServer, runs: Cli, failed_run: str, tmp_path: Path, break_it: Callable[[Any], None], message: str
) -> None:
    break_it(kube)
    ended = runs("logs", failed_run, "--kubeconfig", kube.kubeconfig(tmp_path))
    assert ended.code == 2
    assert message in ended.err
    assert "kube-token" not in ended.err + ended.out


def test_a_kubeconfig_that_is_none_is_named(runs: Cli, failed_run: str, tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("nonsense")
    ended = runs("logs", failed_run, "--kubeconfig", tmp_path / "broken")
    assert ended.code == 2
    assert "correct --kubeconfig" in ended.err
