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
    ("changes", "said"),
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
def test_places_that_the_cluster_does_not_have_are_all_named(changes: dict[str, Any], said: str) -> None:
    given = {"ingestion": {"source": "s3://bucket/videos"}} | changes
    with pytest.raises(KineflowError) as error:
        place_data(GRAPH, params(**given), cluster(), None)
    assert said in error.value.problem


def test_stored_clips_and_flow_go_to_the_volume_in_a_folder_of_what_they_are() -> None:
    def roots(data: Any = DATA, **changes: Any) -> tuple[str, str]:
        placed = place_data(GRAPH, params(**changes), cluster(), data)
        return placed["ingestion"]["media_root"], placed["flow"]["media_root"]

    clips, flow = roots()
    assert clips.startswith("/cache/media/ingestion-")
    assert flow.startswith("/cache/media/flow-")
    assert roots() == (clips, flow)
    assert roots(flow={"bound_px": 9.0}) == (clips, roots(flow={"bound_px": 9.0})[1])
    assert roots(flow={"bound_px": 9.0})[1] != flow
    other_clips, other_flow = roots(ingestion={"short_side": 32})
    assert (other_clips != clips, other_flow != flow) == (True, True)
    other_data = roots(data=type(DATA)("f" * 32 + ".dir", DATA.remote))
    assert (other_data[0] != clips, other_data[1] != flow) == (True, True)


def test_media_may_go_to_s3() -> None:
    placed = place_data(GRAPH, params(), cluster(media="s3://bucket/media"), DATA)
    assert placed["flow"]["media_root"].startswith("s3://bucket/media/flow-")


@pytest.mark.parametrize("recipe", ["alstm", "videolstm"])
def test_features_go_to_the_volume_too(recipe: str) -> None:
    graph = graph_of(recipe)
    placed = place_data(graph, load_params(graph, ROOT / demo_params(recipe)), cluster(), DATA)
    assert placed["features"]["media_root"].startswith("/cache/media/features-")
