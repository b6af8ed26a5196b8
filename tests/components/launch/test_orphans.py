"""Jobs that a run has left, against a stand-in of the Kubernetes API over HTTP."""

from __future__ import annotations

import pytest

from components.kubernetes.labels import RUN_LABEL
from components.launch.orphans import delete_orphans
from tests.components.launch.fake_cluster import GROUP, FakeCluster, fake_cluster


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    with fake_cluster() as cluster:
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig(tmp_path / "kubeconfig")))
        monkeypatch.setenv("KINEFLOW_NAMESPACE", "kineflow")
        for name, run in (("kf-teacher", "run-1"), ("kf-plain", "run-1"), ("kf-other", "run-2")):
            cluster.jobs[name] = {"metadata": {"name": name, "labels": {RUN_LABEL: run}}}
        yield cluster


def test_only_the_jobs_of_the_run_are_deleted(cluster: FakeCluster) -> None:
    assert delete_orphans("run-1") == ["kf-teacher", "kf-plain"]
    assert list(cluster.jobs) == ["kf-other"]


@pytest.mark.parametrize(("status", "warned"), [(404, False), (403, True), (503, True)])
def test_a_run_is_closed_whatever_becomes_of_its_jobs(
    cluster: FakeCluster, caplog: pytest.LogCaptureFixture, status: int, warned: bool
) -> None:
    """404: Kubeflow Trainer is not installed."""
    cluster.trouble = lambda method, path: status if path.startswith(GROUP) else None
    assert delete_orphans("run-1") == []
    assert ("were not deleted" in caplog.text) == warned


def test_away_from_a_cluster_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KINEFLOW_NAMESPACE", raising=False)
    assert delete_orphans("run-1") == []
