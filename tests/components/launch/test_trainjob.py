"""Training jobs, against a stand-in of the Kubernetes API over HTTP.

``KINEFLOW_WRITE_GOLDEN=1 python -m pytest tests/components/launch/test_trainjob.py -k golden`` writes the golden job
anew.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from components.launch import trainjob
from components.launch.trainjob import run_trainjob
from components.launch.trainjob_settings import TRAINJOB, TrainJobSettings
from kineflow.storage.errors import KineflowError
from tests.components.launch.fake_cluster import CUT, GROUP, TOKEN, FakeCluster, fake_cluster

GOLDEN = Path(__file__).parent / "golden" / "trainjob.yaml"
ROOT = Path(__file__).resolve().parents[3]
RUN = "5f0c7e6a-run"
JOB = "kf-plain-900ef4e81a"
SECRET = "planted-secret-access-key"
PATHS: dict = {"inputs": ("clips", "flow", "initial"), "outputs": ("model",)}  # of the step train
METRICS = {"val/top1": 0.75, "val/loss": 0.5}


@pytest.fixture
def cluster():
    with fake_cluster() as cluster:
        yield cluster


@pytest.fixture
def volume(tmp_path) -> Path:
    volume = tmp_path / "volume"
    volume.mkdir()
    return volume


def settings(volume: Path, **changes) -> TrainJobSettings:
    return TrainJobSettings.model_validate({
        "image": f"registry.example.com/team/kineflow@sha256:{'0' * 64}",
        "volume": {"claim": "kineflow-data", "path": str(volume)},
        "per_node": {"cpu": "8", "memory": "64Gi", "gpus": 2},
        "shared_memory": "16Gi",
        "node_selector": {"pool": "gpu"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "environment": {
            "MLFLOW_TRACKING_URI": "http://mlflow.kineflow-mlflow.svc:5000",
            "AWS_DEFAULT_REGION": "us-east-1",
        },
        "secrets": {"kineflow-s3": ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]},
        "image_pull_secrets": ["registry"],
        "service_account": "kineflow-training",
        "queue": "team-gpus",
        "user": 10001,
        "timeout_sec": 3600,
        "queue_sec": 40,
        "poll_sec": 0.02,
        **changes,
    })  # fmt: skip


@pytest.fixture
def environment(cluster, volume, tmp_path, monkeypatch) -> dict[str, str]:
    """What the launcher's pod has."""
    variables = {
        "KUBECONFIG": str(cluster.kubeconfig(tmp_path / "kubeconfig")),
        TRAINJOB: settings(volume).to_json(),
        "KINEFLOW_RUN_ID": RUN,
        "KINEFLOW_RECIPE": "d3d",
        "KINEFLOW_NAMESPACE": "kineflow",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }
    for name in ("KINEFLOW_IMAGE", "KINEFLOW_DATA_VERSION", "KINEFLOW_GIT_COMMIT", "KFP_RUN_ID",
                 "MLFLOW_TRACKING_URI", "KUBERNETES_SERVICE_HOST"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(trainjob, "_SET_UP_SEC", 40)  # a test that goes wrong ends
    return variables


@pytest.fixture
def given(tmp_path, volume, environment) -> dict:
    """Arguments of a train step: clips on the pod's own disk, initial weights on the volume."""
    clips, initial = tmp_path / "clips", volume / "initial"
    for folder in (clips, initial):
        folder.mkdir()
        (folder / "content").write_text(folder.name)
    return {"clips": clips, "flow": None, "initial": initial, "params": {"nodes": 2, "devices": 2}, "name": "plain",
            "seed": 3, "model": tmp_path / "artifacts" / "model"}  # fmt: skip


def train(given: dict) -> dict[str, float]:
    return run_trainjob("components.train", given, **PATHS, nodes=2, devices=2)


def argument(job: dict, flag: str) -> Path:
    arguments = job["spec"]["trainer"]["args"]
    return Path(arguments[arguments.index(flag) + 1])


def succeed(cluster: FakeCluster):
    """A controller under which every job writes its outputs, and completes."""

    def control(job: dict) -> None:
        assert (argument(job, "--clips") / "content").read_text() == "clips"
        model = argument(job, "--model")
        model.mkdir(parents=True, exist_ok=True)
        (model / "weights").write_text("learnt")
        argument(job, "--metrics").write_text(json.dumps(METRICS))
        cluster.says(job["metadata"]["name"], "Complete", "JobsCompleted", "all done")

    return control


def fail(cluster: FakeCluster, message: str = "a pod failed"):
    return lambda job: cluster.says(job["metadata"]["name"], "Failed", "JobFailed", message)


def wait_until(happened) -> None:
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


def lingering(cluster: FakeCluster) -> list[str]:
    return list(cluster.jobs)


@pytest.mark.slow
def test_a_job_runs_and_its_model_and_figures_come_back(cluster, given, volume):
    cluster.controller = succeed(cluster)
    assert train(given) == METRICS
    assert (given["model"] / "weights").read_text() == "learnt"
    assert not lingering(cluster)
    assert list((volume / "jobs").iterdir()) == []
    assert list(given["model"].parent.iterdir()) == [given["model"]]


def test_the_job_that_is_sent_is_the_golden_one(cluster, given, volume, request):
    cluster.controller = succeed(cluster)
    train(given)
    text = yaml.safe_dump(cluster.created[0], sort_keys=True, width=110).replace(str(volume), "/cache")
    job = yaml.safe_load(text)
    del job["metadata"]["annotations"]  # a digest of all else, with this test's folder in it
    sent = yaml.safe_dump(job, sort_keys=True, width=110)
    if os.environ.get("KINEFLOW_WRITE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(sent)
    assert sent == GOLDEN.read_text()


def test_no_secret_value_leaves_the_launcher(cluster, given, caplog):
    def control(job: dict) -> None:
        cluster.has_pod(JOB, 0, "Running", f"2026-01-01T00:00:00.000000001Z my key is {SECRET}")
        time.sleep(0.2)
        succeed(cluster)(job)

    caplog.set_level(logging.DEBUG)
    cluster.controller = control
    train(given)
    [job] = cluster.created
    [variable] = [each for each in job["spec"]["trainer"]["env"] if each["name"] == "AWS_SECRET_ACCESS_KEY"]
    reference = {"name": "kineflow-s3", "key": "AWS_SECRET_ACCESS_KEY"}
    assert variable == {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": {"secretKeyRef": reference}}
    sent_and_said = "".join(cluster.bodies) + json.dumps(job) + caplog.text
    assert "my key is ***" in caplog.text
    assert SECRET not in sent_and_said
    assert TOKEN not in sent_and_said


def test_a_failed_job_gives_its_reason_and_the_last_lines_of_the_pods_that_failed(cluster, given, volume):
    def control(job: dict) -> None:
        ended = {"containerStatuses": [{"state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}
        cluster.has_pod(JOB, 0, "Running", "t all is well here")
        cluster.has_pod(JOB, 1, "Failed", "\n".join(f"t line {n}" for n in range(50)), **ended)
        fail(cluster, "jobset failed")(job)

    cluster.controller = control
    with pytest.raises(KineflowError) as error:
        train(given)
    message = str(error.value)
    assert "JobFailed: jobset failed" in message
    assert "node 1: Failed, exit code 1 (Error)" in message
    assert "line 49" in message
    assert "line 34" not in message
    assert "all is well here" not in message
    assert f"TrainJob kineflow/{JOB}" in message
    assert not lingering(cluster)
    assert not given["model"].exists()
    assert (volume / "jobs" / RUN / JOB).is_dir(), "the next attempt resumes from what is in it"


@pytest.mark.slow
def test_a_retry_after_a_failure_makes_a_new_job_on_the_same_folder(cluster, given):
    def control(job: dict) -> None:
        checkpoint = argument(job, "--model").parent / ".model-work"
        checkpoint.mkdir(parents=True)
        fail(cluster)(job)

    def control_again(job: dict) -> None:
        assert (argument(job, "--model").parent / ".model-work").is_dir()
        succeed(cluster)(job)

    cluster.controller = control
    with pytest.raises(KineflowError, match="a pod failed"):
        train(given)
    cluster.controller = control_again
    assert train(given) == METRICS
    assert len(cluster.created) == 2


def test_a_mistake_that_a_node_has_found_is_said_in_its_words(cluster, given):
    def control(job: dict) -> None:
        mistake = {"problem": "no clips to learn from", "where": "clips", "remedy": "add some", "exit_code": 2}
        variables = {each["name"]: each.get("value") for each in job["spec"]["trainer"]["env"]}
        Path(variables["KINEFLOW_LAUNCH"], "mistake.json").write_text(json.dumps(mistake))
        cluster.says(JOB, "Complete", "JobsCompleted")

    cluster.controller = control
    with pytest.raises(KineflowError) as error:
        train(given)
    assert str(error.value) == "clips: no clips to learn from\n  → add some"
    cluster.controller = succeed(cluster)
    assert train(given) == METRICS, "a mistake that was mended is forgotten"


def test_a_deadline_that_the_cluster_finds_passed(cluster, given):
    def control(job: dict) -> None:
        cluster.says(JOB, "Failed", "DeadlineExceeded", "TrainJob was active longer than specified deadline")

    cluster.controller = control
    with pytest.raises(KineflowError, match="DeadlineExceeded: TrainJob was active longer"):
        train(given)
    least = 3600 + 40  # the cluster counts from the job's creation, with the time that nodes may wait
    assert cluster.created[0]["spec"]["activeDeadlineSeconds"] > least


def test_a_deadline_counts_from_when_all_nodes_run(cluster, given, volume, monkeypatch):
    monkeypatch.setenv(TRAINJOB, settings(volume, timeout_sec=1, queue_sec=600).to_json())
    cluster.controller = lambda job: cluster.runs(JOB)
    with pytest.raises(KineflowError, match="took longer than 1 s"):
        train(given)
    assert not lingering(cluster)


def test_nodes_wait_for_machines_for_a_time_of_its_own(cluster, given, volume, monkeypatch):
    def control(job: dict) -> None:
        cluster.says(JOB, "Suspended", "Suspended")
        cluster.says(JOB, "Suspended", "Resumed", status="False")
        cluster.runs(JOB, ready=0)
        unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no gpu free"}
        cluster.has_pod(JOB, 1, "Pending", conditions=[unscheduled])

    monkeypatch.setenv(TRAINJOB, settings(volume, timeout_sec=1, queue_sec=2).to_json())
    cluster.controller = control
    with pytest.raises(KineflowError, match="waited for machines for 2 s") as error:
        train(given)
    assert "node 1: Pending, Unschedulable: no gpu free" in str(error.value)
    assert not lingering(cluster)


LAUNCHER = """
import json, sys
from components.frontend.exits import exit_code, say_progress
from components.launch.trainjob import run_trainjob
say_progress()
given, paths = json.loads(sys.argv[1]), json.loads(sys.argv[2])
sys.exit(exit_code(lambda: print(run_trainjob("components.train", given, **paths, nodes=2, devices=2))))
"""


def launch(given: dict, environment: dict[str, str], **options) -> subprocess.Popen:
    arguments = json.dumps({key: str(value) if isinstance(value, Path) else value for key, value in given.items()})
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, arguments, json.dumps(PATHS)],
        cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **options,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT], ids=lambda stop: stop.name)
def test_a_launcher_that_is_told_to_stop_deletes_the_job(cluster, given, environment, stop):
    with launch(given, environment) as launcher:
        wait_until(lambda: cluster.count("GET", f"trainjobs/{JOB}") > 2)
        launcher.send_signal(stop)
        _, output = launcher.communicate(timeout=60)
    assert launcher.returncode == 130
    assert not lingering(cluster)
    assert f"TrainJob kineflow/{JOB}: deleted" in output
    assert "Traceback" not in output
    assert SECRET not in output
    assert TOKEN not in output


@pytest.mark.slow
def test_a_pod_that_is_gone_as_soon_as_it_was_told_to_stop_has_deleted_the_job(cluster, given, environment):
    """Argo signals all processes of the pod; KFP's launcher ends at once, Argo's then, and the container with them."""
    with launch(given, environment, start_new_session=True) as launcher:
        wait_until(lambda: cluster.count("GET", f"trainjobs/{JOB}") > 2)
        cluster.after = lambda method, path: os.killpg(launcher.pid, signal.SIGKILL) if method == "DELETE" else None
        asked = len(cluster.requests)
        os.killpg(launcher.pid, signal.SIGTERM)
        launcher.communicate(timeout=60)
    assert launcher.returncode == -signal.SIGKILL
    assert not lingering(cluster)
    since = [method for method, path in cluster.requests[asked:]]
    assert since.index("DELETE") <= 1, "one question may have been under way"


@pytest.mark.slow
def test_a_launcher_that_was_killed_is_succeeded_by_one_that_takes_over_the_job(cluster, given, environment):
    with launch(given, environment) as launcher:
        wait_until(lambda: cluster.count("GET", f"trainjobs/{JOB}") > 2)
        launcher.kill()
    assert lingering(cluster) == [JOB]
    succeed(cluster)(cluster.jobs[JOB])
    assert train(given) == METRICS
    assert len(cluster.created) == 1
    assert not lingering(cluster)


@pytest.fixture
def predecessor(cluster, given, monkeypatch) -> dict:
    """A job of an earlier attempt, whose launcher could not delete it."""
    cluster.controller = fail(cluster)
    cluster.trouble = lambda method, path: 403 if method == "DELETE" else None
    with pytest.raises(KineflowError, match="a pod failed"):
        train(given)
    cluster.trouble = lambda method, path: None
    cluster.controller = succeed(cluster)
    return cluster.jobs[JOB]


def test_a_predecessors_job_that_failed_is_replaced(cluster, given, predecessor):
    assert train(given) == METRICS
    assert len(cluster.created) == 2


def test_a_job_of_that_name_that_does_other_work_is_replaced(cluster, given, predecessor):
    predecessor["status"]["conditions"] = []
    assert train({**given, "seed": 4}) == METRICS
    assert len(cluster.created) == 2


def test_a_job_that_its_nodes_have_given_up_is_replaced(cluster, given):
    def control(job: dict) -> None:
        folder = argument(job, "--metrics").parent
        (folder / "abandoned").touch()
        cluster.says(JOB, "Complete", "JobsCompleted")

    cluster.controller = control
    with pytest.raises(KineflowError, match="no step had looked after them"):
        train(given)
    cluster.controller = succeed(cluster)
    assert train(given) == METRICS
    assert len(cluster.created) == 2


def test_a_job_belongs_to_the_workflow_of_its_run(cluster, given):
    cluster.has_step_pod("d3d-x1-train", RUN, "d3d-x1")
    cluster.controller = succeed(cluster)
    train(given)
    assert cluster.created[0]["metadata"]["ownerReferences"] == [
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "d3d-x1", "uid": "uid-d3d-x1"}
    ]


def test_a_job_that_is_being_deleted_is_waited_for(cluster, given):
    cluster.controller = fail(cluster)
    cluster.linger = True
    with pytest.raises(KineflowError):
        train(given)
    cluster.linger, cluster.controller = False, succeed(cluster)
    seen = []

    def leaves_after_a_while(method: str, path: str) -> None:
        seen.append(path)
        if len(seen) == 5:
            cluster.jobs.clear()

    cluster.trouble = leaves_after_a_while
    assert train(given) == METRICS
    assert len(cluster.created) == 2


@pytest.mark.slow
@pytest.mark.parametrize("status", [500, 503, 429, CUT], ids=["error", "overload", "too many", "cut"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_requests_that_fail_for_a_while_are_made_again(cluster, given, method, status):
    failures = []

    def fails_thrice(asked: str, path: str) -> int | None:
        if asked == method and "trainjobs" in path and len(failures) < 3:
            failures.append(path)
            return status
        return None

    cluster.controller, cluster.trouble = succeed(cluster), fails_thrice
    assert train(given) == METRICS
    assert len(failures) == 3
    assert len(cluster.created) == 1


def test_a_server_that_is_away_while_the_job_runs_is_asked_again(cluster, given, caplog):
    refused = []

    def control(job: dict) -> None:
        wait_until(lambda: cluster.count("GET", f"trainjobs/{JOB}") > 2)
        cluster.trouble = lambda method, path: refused.append(path) or CUT
        wait_until(lambda: len(refused) > 2)
        cluster.trouble = lambda method, path: None
        succeed(cluster)(job)

    caplog.set_level(logging.INFO, "kineflow")
    cluster.controller = control
    assert train(given) == METRICS
    assert caplog.text.count("does not answer") == 1
    assert "answers again" in caplog.text


def test_a_job_whose_creation_was_not_answered_is_not_created_twice(cluster, given):
    cut = []

    def loses_the_answer(method: str, path: str) -> int | None:
        if method == "POST" and not cut:
            cut.append(path)
            return CUT
        return None

    cluster.controller, cluster.after = succeed(cluster), loses_the_answer
    assert train(given) == METRICS
    assert len(cluster.created) == 1
    assert cluster.count("POST", "trainjobs") == 2, "the second is refused with 409, and the first's job is taken over"


def test_a_launcher_without_the_rights_says_which_it_needs(cluster, given):
    cluster.trouble = lambda method, path: 403 if method == "POST" else None
    with pytest.raises(KineflowError, match="could not create a TrainJob") as error:
        train(given)
    assert "components/launch/trainjob.py" in str(error.value)
    assert not cluster.created


def test_a_runtime_that_is_not_there(cluster, given, volume, monkeypatch):
    monkeypatch.setenv(TRAINJOB, settings(volume, runtime="torch-tpu").to_json())
    with pytest.raises(KineflowError, match="with the runtime torch-tpu: 404") as error:
        train(given)
    assert "name a runtime that there is" in str(error.value)


def test_a_job_that_the_server_refuses(cluster, given, monkeypatch):
    monkeypatch.setattr("components.launch.trainjob_spec._COMMAND", ("x",) * 129)
    with pytest.raises(KineflowError, match=r"422 .*is too long") as error:
        train(given)
    assert len(str(error.value)) < 3000


def test_a_server_that_never_answers(cluster, given, monkeypatch):
    monkeypatch.setattr(trainjob, "_SET_UP_SEC", 0.3)
    monkeypatch.setattr(trainjob, "_CLEAN_UP_SEC", 0.1)
    cluster.trouble = lambda method, path: 503
    with pytest.raises(KineflowError, match="has not answered for 0 s: 503"):
        train(given)


def test_a_job_that_someone_deletes(cluster, given):
    cluster.controller = lambda job: cluster.jobs.clear()
    with pytest.raises(KineflowError, match="deleted by someone else"):
        train(given)


def test_a_job_that_cannot_be_deleted_is_named(cluster, given, monkeypatch, caplog):
    monkeypatch.setattr(trainjob, "_CLEAN_UP_SEC", 0.1)
    cluster.controller = fail(cluster)
    cluster.trouble = lambda method, path: 500 if method == "DELETE" else None
    with pytest.raises(KineflowError, match="a pod failed"):
        train(given)
    assert f"TrainJob kineflow/{JOB} was not deleted; the last step of the run does it" in caplog.text


@pytest.mark.slow
def test_the_first_nodes_log_is_shown_once_as_it_comes(cluster, given, caplog):
    def is_seen(phase: str, log: str = "", **status) -> None:
        cluster.has_pod(JOB, 0, phase, log, **status)
        looks = cluster.count("GET", "/pods")
        wait_until(lambda: cluster.count("GET", "/pods") > looks + 2)

    def control(job: dict) -> None:
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
        is_seen("Pending", containerStatuses=[{"state": waiting}])
        lines = [f"2026-01-01T00:00:00.{n:09d}Z step {n}." for n in range(6)]
        for count in (2, 4, 6):
            is_seen("Running", "\n".join(lines[:count]))
        succeed(cluster)(job)

    caplog.set_level(logging.INFO, "kineflow")
    cluster.controller = control
    train(given)
    assert [caplog.text.count(f"node 0 | step {n}.") for n in range(6)] == [1] * 6
    assert caplog.text.count("node 0: Pending, ImagePullBackOff: no such image") == 1
    assert caplog.text.count("node 0: Running") == 1


def test_pods_that_may_not_be_read_are_no_failure(cluster, given, caplog):
    def control(job: dict) -> None:
        wait_until(lambda: cluster.count("GET", f"trainjobs/{JOB}") > 4)
        succeed(cluster)(job)

    cluster.controller = control
    cluster.trouble = lambda method, path: 403 if "/pods" in path else None
    assert train(given) == METRICS
    assert caplog.text.count("could not list the pods") == 1


def test_what_a_finished_job_does_not_leave_is_a_failure(cluster, given):
    cluster.controller = lambda job: cluster.says(JOB, "Complete", "JobsCompleted")
    with pytest.raises(KineflowError, match="figures cannot be read"):
        train(given)

    def only_figures(job: dict) -> None:
        argument(job, "--metrics").write_text("{}")
        cluster.says(JOB, "Complete", "JobsCompleted")

    cluster.jobs.clear()
    cluster.controller = only_figures
    with pytest.raises(KineflowError, match="wrote no model"):
        train(given)
    assert not given["model"].exists()


def test_a_copy_that_fails_is_made_by_the_next_attempt_without_training_again(cluster, given):
    cluster.controller = succeed(cluster)
    given["model"].parent.parent.mkdir(exist_ok=True)
    given["model"].parent.write_text("in the way")
    with pytest.raises(OSError, match="exists"):
        train(given)
    given["model"].parent.unlink()
    assert train(given) == METRICS
    assert len(cluster.created) == 1
    assert not lingering(cluster)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("KINEFLOW_RUN_ID", "", "KINEFLOW_RUN_ID: not set"),
        ("KINEFLOW_RUN_ID", "..", "KINEFLOW_RUN_ID: not set"),
        (TRAINJOB, "", "KINEFLOW_TRAINJOB: unset"),
        (TRAINJOB, "[]", "a mapping of keys to values is expected"),
        ("MLFLOW_TRACKING_URI", "https://me:word@mlflow", "holds a user name and password"),
        ("KUBECONFIG", "/nowhere", "no way to a Kubernetes cluster"),
    ],
    ids=["no run", "no name of a folder", "no settings", "no mapping", "a password", "no cluster"],
)
def test_a_launcher_that_lacks_something_says_what_before_it_does_anything(
    cluster, given, volume, monkeypatch, variable, value, says
):
    monkeypatch.setenv(TRAINJOB, settings(volume, environment={}).to_json())
    monkeypatch.setenv(variable, value)
    with pytest.raises(KineflowError, match=says):
        train(given)
    assert not cluster.requests


def test_as_many_gpus_as_processes(cluster, given):
    with pytest.raises(KineflowError, match="3 processes a node, but 2 GPUs"):
        run_trainjob("components.train", given, **PATHS, nodes=2, devices=3)


def test_the_stand_in_refuses_what_the_definition_does(cluster, given):
    from tests.components.launch.fake_cluster import faults

    cluster.controller = succeed(cluster)
    train(given)
    [job] = cluster.created
    assert faults(job) == []
    spec = job["spec"]
    wrong = {
        "$.spec.trainer.numNodes": {**job, "spec": {**spec, "trainer": {"numNodes": "two"}}},
        "Additional properties": {**job, "spec": {**spec, "nodes": 2}},
        "RFC 1035": {**job, "metadata": {**job["metadata"], "name": "0-starts-with-a-digit"}},
        "runtimeRef": {**job, "spec": {"trainer": {}}},
        "duplicate entry": {**job, "spec": {**spec, "trainer": {"env": [{"name": "A"}, {"name": "A"}]}}},
        "reserved": {**job, "spec": {**spec, "trainer": {"env": [{"name": "PET_NNODES", "value": "2"}]}}},
    }
    for says, each in wrong.items():
        assert any(says in fault for fault in faults(each)), says


def test_only_what_the_documented_rights_allow_is_asked_of_the_server(cluster, given):
    cluster.controller = succeed(cluster)
    train(given)
    allowed = {
        ("POST", f"{GROUP}/namespaces/kineflow/trainjobs"),
        ("GET", f"{GROUP}/namespaces/kineflow/trainjobs/{JOB}"),
        ("DELETE", f"{GROUP}/namespaces/kineflow/trainjobs/{JOB}"),
        ("GET", f"{GROUP}/namespaces/kineflow/trainingruntimes/torch-distributed"),
        ("GET", f"{GROUP}/clustertrainingruntimes/torch-distributed"),
        ("GET", "/api/v1/namespaces/kineflow/pods"),
        # The SDK's look at the version of the control plane; it goes on where that is refused.
        ("GET", "/api/v1/namespaces/kubeflow-system/configmaps/kubeflow-trainer-public"),
    }
    assert set(cluster.requests) <= allowed
