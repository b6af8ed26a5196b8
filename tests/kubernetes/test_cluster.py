"""Recipes on a cluster, in the order in which a team would meet them; `make test-kubernetes`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.kubernetes.conftest import Cluster, objects, until
from tests.kubernetes.site import MODEL, long_on_two_nodes, out_of_memory, small_params

pytestmark = pytest.mark.kubernetes

SUCCEEDS, FAILS, CANCELLED = "succeeds", "fails", "cancelled"
_TASK, _RUN, _JOB_RUN = "kineflow.io/task", "pipeline/runid", "kineflow.io/run"


def pods_of(run: str, task: str) -> list[dict[str, Any]]:
    return objects("pods", selector=f"{_RUN}={run},{_TASK}={task}")


def phases_of_nodes(job: str) -> list[str]:
    return [pod["status"]["phase"] for pod in objects("pods", selector=f"jobset.sigs.k8s.io/jobset-name={job}")]


def test_a_recipe_succeeds_and_is_followed_to_its_end(cluster: Cluster) -> None:
    run = cluster.submit(SUCCEEDS, small_params(cluster.site.image))
    cluster.kineflow("runs", "watch", run)
    listed = json.loads(cluster.kineflow("runs", "list", "--json"))
    assert run in json.dumps(listed)


def test_its_logs_are_there(cluster: Cluster) -> None:
    logs = cluster.kineflow("runs", "logs", cluster.runs[SUCCEEDS], "ingest", "--pod-namespace", "kineflow")
    assert "videos" in logs or "clips" in logs


def test_its_model_is_promoted(cluster: Cluster) -> None:
    cluster.kineflow("promote", MODEL, "--dry-run")
    cluster.kineflow("promote", MODEL)
    assert MODEL in cluster.kineflow("history", MODEL)


def test_a_step_that_is_killed_is_tried_again_and_its_words_are_kept(cluster: Cluster) -> None:
    run = cluster.submit(FAILS, out_of_memory(cluster.site.image))
    cluster.kineflow("runs", "watch", run, expects=1)
    assert len(pods_of(run, "validate")) == 2, "retries: 1"
    assert "validate" in cluster.kineflow("runs", "logs", run, "--pod-namespace", "kineflow")


def test_a_run_that_is_cancelled_leaves_no_training_job(cluster: Cluster) -> None:
    run = cluster.submit(CANCELLED, long_on_two_nodes(cluster.site.image))
    of_run = f"{_JOB_RUN}={run}"
    [job] = until("the training job is there", lambda: objects("trainjobs", selector=of_run), timeout_sec=3600)
    owners = [owner["kind"] for owner in job["metadata"].get("ownerReferences", [])]
    assert owners == ["Workflow"]
    name = job["metadata"]["name"]
    until("both of its nodes run", lambda: phases_of_nodes(name) == ["Running", "Running"], timeout_sec=1800)
    cluster.kineflow("runs", "cancel", run)
    until("the job is gone", lambda: not objects("trainjobs", selector=of_run), timeout_sec=300)
    until("its nodes are gone", lambda: not phases_of_nodes(name), timeout_sec=300)
    cluster.kineflow("runs", "watch", run, expects=3)
