from typing import Any

import pytest

from kineflow.storage.errors import KineflowError
from pipelines.cluster.data import place_data
from pipelines.dag.graph import graph_of
from pipelines.dag.params import demo_params, load_params
from pipelines.dag.sources import ROOT
from tests.pipelines.clusters import DATA, cluster

GRAPH = graph_of("d3d")
FETCHED = "/cache/data/0123456789abcdef0123456789abcdef"


def params(**changes: dict[str, Any]) -> dict[str, Any]:
    checked = load_params(GRAPH, ROOT / "params.yaml")
    return {key: value | changes[key] if key in changes else value for key, value in checked.items()}


def test_tracked_data_are_found_in_the_folder_of_their_version() -> None:
    given = params(ingestion={"source": "data", "annotations": "data/lists/clips.csv"})
    placed = place_data(GRAPH, given, cluster(), DATA)["ingestion"]
    assert placed["source"] == FETCHED
    assert placed["annotations"] == f"{FETCHED}/lists/clips.csv"


@pytest.mark.parametrize("source", ["s3://bucket/videos", "/cache/videos"])
def test_what_the_cluster_can_reach_stays_as_it_is(source: str) -> None:
    placed = place_data(GRAPH, params(ingestion={"source": source}), cluster(), None)
    assert placed["ingestion"]["source"] == source


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ingestion": {"source": "data"}}, "ingestion.source: 'data'"),
        ({"ingestion": {"source": "/videos"}}, "ingestion.source: '/videos'"),
        ({"network": {"checkpoint": "weights/s3d.pth"}}, "network.checkpoint: 'weights/s3d.pth'"),
        ({"flow": {"media_root": "/mnt/flow"}}, "flow.media_root: '/mnt/flow'"),
        (
            {"evaluation": {"imported": [{"name": "a", "path": "scores.csv"}]}},
            "evaluation.imported.0.path: 'scores.csv'",
        ),
    ],
)
def test_places_that_the_cluster_does_not_have_are_all_named(changes: dict[str, Any], message: str) -> None:
    given = {"ingestion": {"source": "s3://bucket/videos"}} | changes
    with pytest.raises(KineflowError) as error:
        place_data(GRAPH, params(**given), cluster(), None)
    assert message in error.value.problem


@pytest.mark.parametrize("media", ["", "/cache/ours", "s3://bucket/media"])
@pytest.mark.parametrize("recipe", ["d3d", "alstm", "videolstm"])
def test_media_of_all_runs_go_to_one_place(recipe: str, media: str) -> None:
    graph = graph_of(recipe)
    given = load_params(graph, ROOT / demo_params(recipe))
    placed = place_data(graph, given, cluster(media=media), DATA)
    roots = {
        key: value["media_root"] for key, value in placed.items() if isinstance(value, dict) and "media_root" in value
    }
    assert {"ingestion", "flow"} <= set(roots)
    features = {roots.pop(key) for key in list(roots) if key not in ("ingestion", "flow")}
    assert set(roots.values()) == {media or "/cache/media"}
    # A backbone's features are read from a disk only.
    assert features <= {"/cache/media" if "://" in media else media or "/cache/media"}


def test_a_place_that_is_named_stays() -> None:
    given = params(ingestion={"source": "s3://bucket/videos"}, flow={"media_root": "/cache/elsewhere"})
    assert place_data(GRAPH, given, cluster(), None)["flow"]["media_root"] == "/cache/elsewhere"
