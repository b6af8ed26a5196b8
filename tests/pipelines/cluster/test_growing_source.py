"""A source that nobody versions is listed in every run, and the cache is asked with what was seen."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from pipelines.cluster.package import compile_for_cluster
from pipelines.dag.graph import graph_of
from pipelines.dag.params import load_params
from tests.pipelines.cluster.test_package import DATA, ROOT, cluster, tasks_of


def package(source: str, **section: Any) -> dict[str, Any]:
    graph = graph_of("d3d")
    params = load_params(graph, ROOT / "params.yaml")
    params["ingestion"] |= {"source": source, "annotations": "", **section}
    return next(iter(yaml.safe_load_all(compile_for_cluster("d3d", params, cluster(), data=DATA))))


@pytest.mark.parametrize("source", ["s3://videos/cameras", "/cache/cameras"])
def test_every_shard_is_asked_for_by_what_the_source_has_now(source: str) -> None:
    tasks = tasks_of(package(source))
    assert tasks["list-source"]["cachingOptions"] == {}
    for name in ("ingest", "ingest-2"):
        assert tasks[name]["cachingOptions"] == {"enableCache": True}
        assert tasks[name]["inputs"]["parameters"]["params"] == {
            "taskOutputParameter": {"outputParameterKey": "listed", "producerTask": "list-source"}
        }


def test_data_of_a_version_are_not_listed_again_but_lists_elsewhere_are() -> None:
    assert "list-source" not in tasks_of(package("data/videos"))
    listing = tasks_of(package("data/videos", annotations="s3://videos/lists"))["list-source"]
    assert listing["dependentTasks"] == ["fetch-data"]
