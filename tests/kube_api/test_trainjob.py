"""Our training job, as a real Kubernetes API server takes it: stored, defaulted, refused, waited for, deleted."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.launch.trainjob import run_trainjob
from components.launch.trainjob_api import GROUP, PLURAL, VERSION, TrainJobs
from components.launch.trainjob_settings import TRAINJOB, TrainJobSettings
from components.launch.trainjob_spec import job_name
from kineflow.storage.errors import KineflowError
from tests.components.launch.fake_cluster import RUNTIME, definition, now

pytestmark = pytest.mark.kube_api

NAMESPACE = "kineflow"
PATHS: dict[str, Any] = {"inputs": ("clips", "flow", "initial"), "outputs": ("model",)}  # of the step train
# Of the runtimes, the server need only know that they are: what is in them is Kubeflow's own concern.
ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@pytest.fixture(scope="session")
def trainer(kube_api) -> Any:
    """Definitions as Kubeflow Trainer installs them, and its runtime for torch; a client."""
    from kubernetes.client import ApiextensionsV1Api, CustomObjectsApi

    client = kube_api.client()
    definitions, objects = ApiextensionsV1Api(client), CustomObjectsApi(client)
    definitions.create_custom_resource_definition(definition())
    definitions.create_custom_resource_definition(_runtimes("ClusterTrainingRuntime", "Cluster"))
    definitions.create_custom_resource_definition(_runtimes("TrainingRuntime", "Namespaced"))
    for plural in (PLURAL, "trainingruntimes", "clustertrainingruntimes"):
        _wait_until_served(objects, plural)
    objects.create_cluster_custom_object(GROUP, VERSION, "clustertrainingruntimes", RUNTIME)
    return objects


def _wait_until_served(objects: Any, plural: str) -> None:
    """A definition is served some moments after it is stored."""
    from kubernetes.client import ApiException

    until = time.monotonic() + 60
    while True:
        try:
            objects.list_cluster_custom_object(GROUP, VERSION, plural)
        except ApiException as error:
            if error.status != 404 or time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return


def _runtimes(kind: str, scope: str) -> dict[str, Any]:
    plural = f"{kind.lower()}s"
    version = {"name": VERSION, "served": True, "storage": True, "schema": {"openAPIV3Schema": ANYTHING}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "versions": [version],
        },
    }


@pytest.fixture
def given(kube_api, trainer, tmp_path, monkeypatch, request) -> dict:
    volume, clips, initial = (tmp_path / name for name in ("volume", "clips", "initial"))
    for folder in (volume, clips, initial):
        folder.mkdir()
    settings = TrainJobSettings.model_validate({
        "image": f"registry.example.com/kineflow@sha256:{'0' * 64}",
        "volume": {"claim": "kineflow-data", "path": str(volume)},
        "per_node": {"cpu": "8", "memory": "64Gi", "gpus": 1},
        "shared_memory": "16Gi",
        "node_selector": {"pool": "gpu"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule", "seconds": 60}],
        "environment": {"AWS_DEFAULT_REGION": "us-east-1"},
        "secrets": {"kineflow-s3": ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]},
        "image_pull_secrets": ["registry"],
        "service_account": "kineflow-training",
        "user": 10001,
        "poll_sec": 0.1,
    })  # fmt: skip
    monkeypatch.setenv(TRAINJOB, settings.to_json())
    monkeypatch.setenv("KUBECONFIG", str(kube_api.kubeconfig))
    monkeypatch.setenv("KINEFLOW_NAMESPACE", NAMESPACE)
    monkeypatch.setenv("KINEFLOW_RUN_ID", request.node.name)
    return {"clips": clips, "initial": initial, "params": {"nodes": 2}, "name": "plain", "seed": 1,
            "model": tmp_path / "model"}  # fmt: skip


class Controller(threading.Thread):
    """Plays Kubeflow's controller for one job: writes what the job would, and patches its status.

    Attributes:
        seen: The job as the server stored it.
    """

    def __init__(self, objects: Any, job: str, kind: str, reason: str) -> None:
        super().__init__(daemon=True)
        self._objects, self._job, self._kind, self._reason = objects, job, kind, reason
        self.seen: dict[str, Any] = {}

    def run(self) -> None:
        from kubernetes.client import ApiException

        until = time.monotonic() + 60
        while not self.seen and time.monotonic() < until:
            try:
                self.seen = self._objects.get_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL, self._job)
            except ApiException:
                time.sleep(0.1)
        arguments = self.seen["spec"]["trainer"]["args"]
        model, metrics = (Path(arguments[arguments.index(flag) + 1]) for flag in ("--model", "--metrics"))
        model.mkdir(parents=True)
        metrics.write_text(json.dumps({"val/top1": 0.5}))
        stated = {"type": self._kind, "status": "True", "reason": self._reason, "message": "it is over",
                  "lastTransitionTime": now()}  # fmt: skip
        self._objects.patch_namespaced_custom_object_status(
            GROUP, VERSION, NAMESPACE, PLURAL, self._job, {"status": {"conditions": [stated]}}
        )


def jobs(objects: Any) -> list[str]:
    listed = objects.list_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL)
    return [job["metadata"]["name"] for job in listed["items"]]


def test_our_job_is_stored_whole_with_the_servers_defaults_and_goes_when_it_is_complete(trainer, given, request):
    controller = Controller(trainer, job_name(request.node.name, "train", "plain"), "Complete", "JobsCompleted")
    controller.start()
    assert run_trainjob("components.train", given, **PATHS, nodes=2, devices=1) == {"val/top1": 0.5}
    spec = controller.seen["spec"]
    assert spec["suspend"] is False
    assert spec["managedBy"] == "trainer.kubeflow.org/trainjob-controller"
    assert spec["runtimeRef"]["apiGroup"] == GROUP
    golden = yaml.safe_load(
        (Path(__file__).parents[1] / "components" / "launch" / "golden" / "trainjob.yaml").read_text()
    )
    assert shape(golden["spec"]) <= shape(spec), "the server has dropped something that it does not know"
    assert not jobs(trainer)
    assert given["model"].is_dir()


def test_a_status_that_says_failed_ends_the_wait_and_the_job(trainer, given, request):
    controller = Controller(trainer, job_name(request.node.name, "train", "plain"), "Failed", "DeadlineExceeded")
    controller.start()
    with pytest.raises(KineflowError, match="DeadlineExceeded: it is over"):
        run_trainjob("components.train", given, **PATHS, nodes=2, devices=1)
    assert not jobs(trainer)


def test_a_job_that_is_none_is_refused_in_the_servers_words(trainer, given):
    from kubeflow.trainer import CustomTrainerContainer
    from kubeflow.trainer.options import Name, TrainerCommand

    options = [Name("too-long"), TrainerCommand(["true"])]
    with pytest.raises(KineflowError, match=r"422 .*spec.trainer.image: Too long") as error:
        TrainJobs().create("torch-distributed", CustomTrainerContainer(image="x" * 501), options, {})
    assert error.value.remedy == "correct the cluster section of the parameters"
    options = [Name("0-digit"), TrainerCommand(["true"])]
    with pytest.raises(KineflowError, match=r"422 .*RFC 1035"):
        TrainJobs().create("torch-distributed", CustomTrainerContainer(image="kineflow"), options, {})
    assert not jobs(trainer)


def test_a_number_of_nodes_in_words_is_refused(trainer):
    from kubernetes.client import ApiException

    job = {
        "apiVersion": f"{GROUP}/{VERSION}", "kind": "TrainJob", "metadata": {"name": "two-nodes"},
        "spec": {"runtimeRef": {"name": "torch-distributed"}, "trainer": {"numNodes": "two"}},
    }  # fmt: skip
    with pytest.raises(ApiException) as error:
        trainer.create_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL, job)
    assert error.value.status == 422
    assert "spec.trainer.numNodes" in json.loads(error.value.body)["message"]


def test_a_second_job_of_a_name_is_a_conflict_that_the_launcher_takes_over(trainer, given, request):
    """The server's own 409, which the launcher meets when an answer of its was lost."""
    from kubeflow.trainer import CustomTrainerContainer
    from kubeflow.trainer.options import Name, TrainerCommand

    from components.launch.trainjob_api import AlreadyThereError

    container, options = CustomTrainerContainer(image="kineflow"), [Name("twice"), TrainerCommand(["true"])]
    ours = TrainJobs()
    ours.create("torch-distributed", container, options, {})
    with pytest.raises(AlreadyThereError, match="already exists"):
        ours.create("torch-distributed", container, options, {})
    ours.delete("twice")
    ours.delete("twice")
    assert ours.read("twice") is None


def shape(value: Any, path: str = "") -> set[str]:
    """Paths of all keys, so that what the server dropped is found."""
    if isinstance(value, dict):
        return {f"{path}.{key}" for key in value}.union(*(shape(part, f"{path}.{key}") for key, part in value.items()))
    if isinstance(value, list):
        return set().union(*(shape(part, f"{path}[]") for part in value))
    return set()
