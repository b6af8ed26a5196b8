from typing import Any

import pytest

from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from pipelines.dag.cluster_settings import ClusterParams
from tests.pipelines.clusters import IMAGE, cluster

MIG = "nvidia.com/mig-1g.10gb"
VOLUME = {"claim": "kineflow-data", "path": "/cache"}


def test_a_task_gets_its_own_resources_then_its_steps_then_the_default() -> None:
    given = cluster()
    teacher, plain, ingest = (
        given.resources("train", "teacher"), given.resources("train", "plain"), given.resources("ingest", "ingest"),
    )  # fmt: skip
    assert (teacher.memory, teacher.gpus, teacher.cpu, teacher.timeout_sec) == ("64Gi", 1, "2", 3600)
    assert (plain.memory, plain.gpus, plain.cpu) == ("8Gi", 1, "2")
    assert (ingest.memory, ingest.gpus, ingest.cpu) == ("8Gi", 0, "2")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"imagine": 1}, "cluster.imagine: unknown key"),
        ({"image": "registry/kineflow:latest"}, "by its digest"),
        ({"image": "registry/kineflow@sha256:12"}, "by its digest"),
        ({"steps": {"train": {"gpu": 1}}}, "steps.train.gpu: unknown key"),
        ({"steps": {"train": {"gpus": -1}}}, "gpus"),
        ({"steps": {"train": {"retry_after_most_sec": 600}}}, "steps.train: retry_after_most_sec is a key no more"),
        ({"steps": {"train": {"memory": "lots"}}}, "steps.train.memory: an amount of Kubernetes is expected"),
        ({"steps": {"train": {"memory": "64"}}}, "steps.train.memory: a size of a megabyte or more is expected"),
        ({"steps": {"train": {"gpu_type": "gpu"}}}, "steps.train.gpu_type: the name of a resource is expected"),
        ({"steps": {"train": {"queue": "my queue"}}}, "steps.train.queue: the name of a LocalQueue is expected"),
        ({"steps": {"default": {"gpu_type": MIG}, "train": {"gpus": 2}}}, "use one share of a GPU only"),
        ({"volume": {"claim": "kineflow.data", "path": "/cache"}}, "a name without '.'"),
        ({"volume": {"claim": "shared-memory", "path": "/cache"}}, "that no other volume of the pods has"),
        ({"secrets": {"mlflow": "m"}, "environment": {"MLFLOW_TRACKING_USERNAME": "me"}}, "set by environment, and by"),
        ({"keep_finished_sec": 0}, "1 removes pods and logs at once"),
        ({"environment": {"AWS_SECRET_ACCESS_KEY": "x"}}, "a credential, "),
        ({"environment": {"MLFLOW_TRACKING_URI": "http://me:word@host"}}, "holds a credential"),
        ({"volume": {"claim": "data", "path": "cache"}}, "absolute"),
        ({"secrets": {"s3": "Not A Name"}}, "secrets.s3"),
    ],
)
def test_a_wrong_section_is_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(KineflowError) as error:
        parse_params(ClusterParams, {"volume": VOLUME} | section, where="cluster")
    assert message in str(error.value)
    assert "me:word" not in str(error.value)


def test_resources_of_an_unknown_step_are_refused() -> None:
    with pytest.raises(KineflowError, match=r"cluster\.steps\.trian: no step or task is called so"):
        cluster(steps={"trian": {"gpus": 1}}).check_names({"train", "teacher"})


def test_the_image_may_be_named_later() -> None:
    assert ClusterParams.model_validate({"volume": VOLUME}).image == ""
    assert ClusterParams.model_validate({"volume": VOLUME, "image": IMAGE}).image == IMAGE
