"""``kineflow submit --parts``: a large source in parts, each made once by a run of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from pipelines.cluster.data_version import DataVersion
from pipelines.cluster.parts import PartsPlan
from pipelines.dag.params import graph_for, load_cluster, load_params
from tests.pipelines.submission.conftest import CLUSTER, Ended
from tests.pipelines.submission.kfp_server import KfpServer

Submit = Callable[..., Ended]
SPLITS = ("train", "val", "test", "unlabelled")
DONE = [{"state": "RUNNING"}, {"state": "SUCCEEDED"}]


def parts_of(kfp: KfpServer) -> list[str]:
    return [run["runtime_config"]["parameters"]["part"] for run in kfp.runs.values()]


def test_all_parts_are_made_and_so_many_at_once(kfp: KfpServer, submit: Submit) -> None:
    kfp.script = DONE
    ended = submit("--parts", 5, "--at-once", 2, "--json")
    assert ended.code == 0, ended.err
    assert parts_of(kfp) == [f"{index}/5" for index in range(5)]
    assert {each["state"] for each in ended.json["parts"]} == {"SUCCEEDED"}
    assert len(kfp.versions) == 1
    under_way = most = 0
    for line in ended.err.splitlines():
        under_way += ("started" in line) - ("succeeded" in line)
        most = max(most, under_way)
    assert (most, under_way) == (2, 0)


def test_asking_again_starts_what_is_missing_or_failed(kfp: KfpServer, submit: Submit) -> None:
    kfp.script = DONE
    assert submit("--parts", 3).code == 0
    first, second, third = kfp.runs.values()
    second["state"], third["state"] = "FAILED", "RUNNING"
    kfp.looks[third["run_id"]] = iter([{"state": "SUCCEEDED"}])
    ended = submit("--parts", 3)
    assert ended.code == 0, ended.err
    assert "3 parts: 1 made, 1 under way, 1 to start" in ended.out
    assert parts_of(kfp) == ["0/3", "1/3", "2/3", "1/3"]
    assert submit("--parts", 3).code == 0
    assert len(kfp.runs) == 4
    assert first["state"] == "SUCCEEDED"


def test_a_part_that_fails_is_said_and_the_others_are_made(kfp: KfpServer, submit: Submit) -> None:
    kfp.script = [{"state": "FAILED"}]
    ended = submit("--parts", 2, "--at-once", 1)
    assert ended.code == 1
    assert parts_of(kfp) == ["0/2", "1/2"]
    assert "2 of 2 parts are not made" in ended.out


def test_other_parameters_are_another_plan(kfp: KfpServer, submit: Submit, params: Callable[..., Path]) -> None:
    kfp.script = DONE
    one = submit("--parts", 2, "--json")
    other = submit("--parts", 2, "--json", file=params(seed=9))
    learns_otherwise = submit("--parts", 2, "--json", file=params(evaluation={}))
    assert one.json["place"] != other.json["place"]
    assert one.json["parts"] == learns_otherwise.json["parts"]
    assert len(kfp.runs) == 4


def test_other_data_are_another_plan_and_so_is_another_image(params: Callable[..., Path]) -> None:
    file = params()
    graph = graph_for("d3d", file)
    cluster = load_cluster(file)
    assert cluster is not None
    other = cluster.model_copy(update={"image": f"a@sha256:{'b' * 64}"})
    given = [(cluster, None), (cluster, DataVersion("1", "r")), (cluster, DataVersion("2", "r")), (other, None)]
    values = load_params(graph, file)
    assert len({PartsPlan.of(graph, values, each, 2, data=data).place for each, data in given}) == 4


def test_without_the_cache_all_parts_are_made_anew(kfp: KfpServer, submit: Submit) -> None:
    kfp.script = DONE
    assert submit("--parts", 2).code == 0
    assert submit("--parts", 2, "--no-cache").code == 0
    assert parts_of(kfp) == ["0/2", "1/2", "0/2", "1/2"]
    next(reversed(kfp.runs.values()))["state"] = "RUNNING"
    refused = submit("--parts", 2, "--no-cache")
    assert (refused.code, len(kfp.runs)) == (2, 4)


def test_more_parts_than_videos_and_parts_of_clip_sets_are_refused(
    kfp: KfpServer, submit: Submit, params: Callable[..., Path], tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    rows = [f"{split}.mp4,{'' if split == 'unlabelled' else 'a'},{split}" for split in SPLITS]
    (videos / "clips.csv").write_text("\n".join(["path,label,split", *rows]))
    for split in SPLITS:
        (videos / f"{split}.mp4").write_bytes(b"1")
    local = {"source": str(videos), "layout": "csv", "annotations": ""}
    joined = {"source": "s3://a/sets", "layout": "clip_sets"}
    for ingestion, words in ((local, "ask for 4 or fewer"), (joined, "not made in parts")):
        ended = submit("--parts", 5, file=params(ingestion=ingestion))
        assert ended.code == 2
        assert words in ended.err
    assert not kfp.runs


def test_the_package_makes_clips_and_each_flow_and_stores_them(
    kfp: KfpServer, submit: Submit, params: Callable[..., Path]
) -> None:
    kfp.script = DONE
    file = params({**CLUSTER, "media": "s3://bucket/media", "flow_shards": 2})
    ended = submit("--parts", 2, "--json", file=file)
    (package,) = kfp.packages.values()
    pipeline: Any = next(yaml.safe_load_all(package))
    groups = [pipeline["root"], *pipeline["components"].values()]
    tasks = {name: task for group in groups for name, task in group.get("dag", {}).get("tasks", {}).items()}
    assert {task["componentRef"]["name"].rstrip("-0123456789") for task in tasks.values()} >= {
        "comp-ingest", "comp-extract-flow", "comp-merge-flow", "comp-store-set", "comp-close-run",
    }  # fmt: skip
    assert not {"train", "validate", "evaluate", "register"} & tasks.keys()
    assert tasks["ingest"]["inputs"]["parameters"]["shard"]["componentInputParameter"].endswith("part")
    places = {
        task["inputs"]["parameters"]["params"]["runtimeValue"]["constant"]["place"]
        for name, task in tasks.items()
        if name.startswith("store-set")
    }
    trained_with = ended.json["train_with"]
    assert places == {trained_with["ingestion"]["source"], trained_with["flow"]["existing"]}
    assert all(place.startswith("s3://bucket/media/sets/") for place in places)


def test_a_dry_run_says_what_each_part_holds_and_sends_nothing(
    kfp: KfpServer, cli: Submit, params: Callable[..., Path], tmp_path: Path
) -> None:
    source = tmp_path / "videos"
    for name, size in (("a/1", 500), ("a/2", 300), ("b/1", 200)):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / f"{name}.mp4").write_bytes(bytes(size))
    local = {"source": str(source), "layout": "folder"}
    file = params(ingestion=local)
    ended = cli("submit", "d3d", "--host", kfp.url, "--params", file, "--parts", 2, "--dry-run", "--json")
    assert ended.code == 0, ended.err
    assert [(each["videos"], each["clips"], each["bytes"]) for each in ended.json["parts"]] == [
        (1, 1, 500),
        (2, 2, 500),
    ]
    assert kfp.requests == []
    file = params({**CLUSTER, "image": ""}, ingestion=local)
    ended = cli("submit", "d3d", "--host", kfp.url, "--params", file, "--parts", 2, "--dry-run")
    assert "no image is named yet" in ended.out


def test_options_that_do_not_go_together_are_refused(submit: Submit) -> None:
    for words in (["--dry-run"], ["--parts", 1], ["--parts", 2, "--watch"], ["--parts", 2, "--name", "mine"]):
        assert submit(*words).code == 2, words
