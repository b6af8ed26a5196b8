from typing import Any

import pytest

from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from pipelines.dag.cluster_settings import ClusterParams
from tests.pipelines.clusters import IMAGE, cluster

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
        ({"steps": {"train": {"gpu": 1}}}, "steps.train: unknown key 'gpu'"),
        ({"steps": {"train": {"gpus": -1}}}, "gpus"),
        ({"steps": {"train": {"retry_after_most_sec": 600}}}, "steps.train: retry_after_most_sec is a key no more"),
        ({"steps": {"train": {"memory": "lots"}}}, "memory"),
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
