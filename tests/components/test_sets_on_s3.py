"""Clip sets and flow sets whose media lie on a real S3 server: written by the steps, read by everything that reads."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from components.extract_flow import extract_flow
from components.ingest import ingest
from components.merge_clips import merge_clips
from components.merge_flow import merge_flow
from kineflow.data import ingestion
from kineflow.data.dataset import ClipDataset, Geometry
from kineflow.data.ingest_settings import IngestSettings
from kineflow.evaluation.protocol import score_clips
from kineflow.flow.extraction.shards import described
from kineflow.flow.settings import FlowSettings
from kineflow.models.card import ModelCard
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import read_flow
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.shard import Shard
from kineflow.spec.split import Split
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import RemoteFile
from kineflow.storage.ranges import StorageError, traffic
from kineflow.video.decode import read_frames
from kineflow.video.encode import write_video
from tests.cutting_proxy import CuttingProxy, cutting_proxy
from tests.swift import Swift

pytestmark = pytest.mark.slow

FAST: dict[str, Any] = {"preset": "fast", "bound_px": 5.0, "workers": 1, "device": "cpu"}
NAMES = ("a/one", "a/two", "b/one", "b/two ü+%")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four videos of 12 to 18 frames, 48x32, and their list; one is listed in two parts."""
    folder = tmp_path_factory.mktemp("source")
    for number, name in enumerate(NAMES):
        world = np.random.default_rng(number).integers(0, 255, (8, 40, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        world = cv2.GaussianBlur(world, (0, 0), 2)
        write_video(folder / f"{name}.mp4", (world[:, 60 - t : 108 - t] for t in range(12 + 2 * number)), fps=25)
    rows = ["path,label,split,start,end", "a/one.mp4,a,train,,", "a/two.mp4,a,val,0,0.3", "b/one.mp4,b,train,,"]
    (folder / "clips.csv").write_text("\n".join([*rows, "b/two ü+%.mp4,b,test,,"]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def local(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``clips`` and ``flow`` made from the source, all on the local disk."""
    folder = tmp_path_factory.mktemp("local")
    ingest(params=IngestSettings(source=str(source)), clips=folder / "clips")
    extract_flow(clips=folder / "clips", params=FlowSettings(**FAST), flow=folder / "flow")
    return folder


@pytest.fixture(scope="module")
def remote(swift: Swift, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with all media on S3, clips and flow made in two shards each and merged."""
    folder, root = tmp_path_factory.mktemp("remote"), f"s3://{swift.make_bucket()}/team"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (swift.environment | {"KINEFLOW_CACHE_DIR": str(folder / "cache")}).items():
            patch.setenv(name, value)
        settings = IngestSettings(source=str(source), media_root=f"{root}/clips/")
        parts = [folder / "shards" / name for name in ("clips-0", "clips-1")]
        for index, part in enumerate(parts):
            ingest(params=settings, shard=f"{index}/2", clips=part)
        merge_clips(shards=parts, clips=folder / "clips")
        params = FlowSettings(**FAST, media_root=f"{root}/flow")
        for index in range(2):
            shard = folder / "shards" / f"{index}"
            extract_flow(clips=folder / "clips", params=params, shard=f"{index}/2", flow=shard)
        merge_flow(shards=[folder / "shards" / name for name in ("0", "1")], flow=folder / "flow")
    return folder


@pytest.fixture(autouse=True)
def server(swift: Swift, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in swift.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KINEFLOW_CACHE_DIR", str(tmp_path / "cache"))


def objects(swift: Swift, root: str) -> dict[str, bytes]:
    client, bucket = swift.client(), root.split("/")[2]
    listed = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {item["Key"]: client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read() for item in listed}


def clips_of(folder: Path) -> dict[str, Clip]:
    return {clip.clip_id: clip for clip in ClipSet.load(folder / "clips").clips}


def test_clips_are_those_of_a_local_set(swift: Swift, local: Path, remote: Path) -> None:
    here, there = ClipSet.load(local / "clips"), ClipSet.load(remote / "clips")
    assert [dataclasses.replace(clip, path="") for clip in here.clips] == [
        dataclasses.replace(clip, path="") for clip in there.clips
    ]
    assert sorted(path.name for path in (remote / "clips").iterdir()) == [
        "clipset.json", "manifest.parquet", "rejected.csv",
    ]  # fmt: skip
    stored = objects(swift, there.media_root)
    for clip in here.clips:
        media = there.locate(clips_of(remote)[clip.clip_id])
        assert isinstance(media, RemoteFile)
        assert stored[media.uri.split("/", 3)[3]] == here.locate(clip).read_bytes()
        assert np.array_equal(read_frames(media), read_frames(here.locate(clip)))


def test_flow_in_shards_is_that_of_one_local_run(swift: Swift, local: Path, remote: Path) -> None:
    here, there = FlowSet.load(local / "flow"), FlowSet.load(remote / "flow")
    assert here.entries == there.entries  # names too: the digest of a clip on S3 is that of its bytes
    assert here.params == there.params
    assert there.media_root.endswith("/team/flow")
    stored = objects(swift, there.media_root)
    for clip_id, entry in here.entries.items():
        assert stored[f"team/flow/{entry.path}"] == here.locate(clip_id).read_bytes()
        assert np.array_equal(read_flow(there.locate(clip_id), [3, 1]), read_flow(here.locate(clip_id), [3, 1]))


def test_nothing_is_left_on_the_disk(remote: Path) -> None:
    assert {path.name for path in remote.iterdir()} - {"cache"} == {"clips", "flow", "shards"}
    assert not list((remote / "shards").rglob("*.mp4"))


def dataset(folder: Path) -> ClipDataset:
    clip_set, flow_set = ClipSet.load(folder / "clips"), FlowSet.load(folder / "flow")
    geometry = Geometry(ClipSpec(4, 1), short_side=24, crop=20)
    return ClipDataset(clip_set, clip_set.usable(), modalities=("rgb", "flow"), geometry=geometry, flow_set=flow_set)


@pytest.mark.parametrize("workers", [0, 2])
def test_training_samples_are_the_same(local: Path, remote: Path, workers: int) -> None:
    here = list(DataLoader(dataset(local), batch_size=2))
    there = list(DataLoader(dataset(remote), batch_size=2, num_workers=workers, multiprocessing_context=None))
    assert len(here) == 2
    for expected, found in zip(here, there, strict=True):
        assert all(torch.equal(expected[name], found[name]) for name in ("rgb", "flow", "label"))


def test_a_second_epoch_asks_s3_for_nothing(remote: Path) -> None:
    samples = dataset(remote)
    first = [samples[index]["rgb"] for index in range(len(samples))]
    before = traffic()
    assert all(torch.equal(samples[index]["rgb"], first[index]) for index in range(len(samples)))
    assert (traffic() - before).requests == 0


def test_scores_are_the_same(local: Path, remote: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.Linear(24, 2)).eval()
    wanted = Preprocessing("rgb", 4, 1, short_side=24, crop=20, mean=(128.0,) * 3, std=(64.0,) * 3)
    card = ModelCard("probe", "probe", {}, ("a", "b"), wanted, {})
    scores = [
        score_clips(network, card, ClipSet.load(folder / "clips"), None, Split.TEST, clips_per_video=2, batch_size=2)
        for folder in (local, remote)
    ]
    assert np.array_equal(scores[0].logits, scores[1].logits)


class TestAgain:
    def test_nothing_is_encoded_or_uploaded_twice(
        self, swift: Swift, source: Path, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def never(*_: object, **__: object) -> None:
            raise AssertionError("encoded again")

        monkeypatch.setattr(ingestion, "store_video", never)
        monkeypatch.setattr(ingestion, "index_video", never)
        there = ClipSet.load(remote / "clips")
        params = IngestSettings(source=str(source), media_root=there.media_root)
        result = ingest(params=params, clips=tmp_path / "clips")
        assert ClipSet.load(tmp_path / "clips") == there
        assert result.metrics["bytes"] == sum(
            len(content) for key, content in objects(swift, there.media_root).items() if "/clips/clips/" in key
        )
        flow = FlowSettings(**FAST, media_root=FlowSet.load(remote / "flow").media_root)
        again = extract_flow(clips=tmp_path / "clips", params=flow, flow=tmp_path / "flow")
        assert again.metrics["pairs_per_second"] == 0
        assert FlowSet.load(tmp_path / "flow") == FlowSet.load(remote / "flow")

    def test_another_form_leaves_the_clips_of_the_first_alone(
        self, swift: Swift, source: Path, remote: Path, tmp_path: Path
    ) -> None:
        first = ClipSet.load(remote / "clips")
        before = objects(swift, first.media_root)
        params = IngestSettings(source=str(source), media_root=first.media_root, short_side=24)
        ingest(params=params, clips=tmp_path / "clips")
        second, after = ClipSet.load(tmp_path / "clips"), objects(swift, first.media_root)
        assert {clip.path for clip in first.clips}.isdisjoint(clip.path for clip in second.clips)
        assert {key: after[key] for key in before} == before
        for clip in [*first.clips, *second.clips]:
            swift.client().head_object(Bucket=first.media_root.split("/")[2], Key=f"team/clips/{clip.path}")


class TestBadNetwork:
    @pytest.fixture
    def proxy(self, swift: Swift, monkeypatch: pytest.MonkeyPatch) -> Iterator[CuttingProxy]:
        monkeypatch.setattr("kineflow.storage.client._ATTEMPTS", 1)
        with cutting_proxy(swift.endpoint_url) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint_url)
            yield proxy

    def test_an_outage_stops_the_extraction_and_blames_no_clip(
        self, swift: Swift, remote: Path, local: Path, tmp_path: Path, proxy: CuttingProxy
    ) -> None:
        root = f"s3://{swift.make_bucket()}/flow"
        params = FlowSettings(**FAST, media_root=root)
        proxy.cut_after(sent=20_000, stay_down=True)
        with pytest.raises(StorageError):
            extract_flow(clips=remote / "clips", params=params, flow=tmp_path / "flow")
        assert proxy.cuts == 1
        assert not (tmp_path / "flow").exists()
        proxy.mend()
        extract_flow(clips=remote / "clips", params=params, flow=tmp_path / "flow")
        assert FlowSet.load(tmp_path / "flow").entries == FlowSet.load(local / "flow").entries

    def test_an_outage_stops_the_ingestion_and_it_goes_on_later(
        self, swift: Swift, source: Path, local: Path, tmp_path: Path, proxy: CuttingProxy
    ) -> None:
        params = IngestSettings(source=str(source), media_root=f"s3://{swift.make_bucket()}/clips", workers=1)
        proxy.cut_after(sent=8_000, stay_down=True)
        with pytest.raises(StorageError):
            ingest(params=params, clips=tmp_path / "clips")
        assert not (tmp_path / "clips").exists()
        proxy.mend()
        ingest(params=params, clips=tmp_path / "clips")
        stored = {key: content for key, content in objects(swift, params.media_root).items() if key.endswith(".mp4")}
        assert len(stored) == 4
        here = ClipSet.load(local / "clips")
        assert sorted(stored.values()) == sorted(here.locate(clip).read_bytes() for clip in here.clips)
        assert {path.name for path in tmp_path.iterdir()} - {"cache"} == {"clips"}


def test_the_source_may_be_there_too(swift: Swift, source: Path, local: Path, tmp_path: Path) -> None:
    bucket = swift.make_bucket()
    for path in source.rglob("*.*"):
        swift.client().upload_file(str(path), bucket, f"raw videos/{path.relative_to(source).as_posix()}")
    params = IngestSettings(source=f"s3://{bucket}/raw videos", media_root=f"s3://{bucket}/clips")
    ingest(params=params, clips=tmp_path / "clips")
    found, expected = (ClipSet.load(folder / "clips").clips for folder in (tmp_path, local))
    assert [dataclasses.replace(clip, path="") for clip in found] == [
        dataclasses.replace(clip, path="") for clip in expected
    ]


def test_shards_in_different_places_are_joined_at_what_they_share(tmp_path: Path) -> None:
    def save(index: int, root: str) -> None:
        shard = Shard(index, 2)
        FlowSet(20.0, {}, root, described(shard, [])).save(tmp_path / "shards" / f"{index}")

    from kineflow.flow.extraction.shards import merge_shards

    folders = [tmp_path / "shards" / f"{index}" for index in range(2)]
    save(0, "s3://bucket/flow/a")
    for root, joined in (("s3://bucket/flow/b", "s3://bucket/flow"), ("s3://bucket/c", "s3://bucket")):
        save(1, root)
        assert merge_shards(folders).media_root == joined
    for root in ("s3://other/flow", "/volume/flow"):
        save(1, root)
        with pytest.raises(KineflowError, match="nothing in common"):
            merge_shards(folders)


class TestCredentials:
    @pytest.mark.parametrize("key", ["media_root", "source", "annotations"])
    def test_in_an_address_are_refused_and_not_shown(self, key: str) -> None:
        with pytest.raises(KineflowError, match="credentials") as caught:
            parse_params(IngestSettings, {key: "s3://AKIDAKID:verysecret@bucket/x"}, where="ingest")
        assert "verysecret" not in str(caught.value)

    @pytest.mark.parametrize("kind", ["clips", "flow"])
    def test_in_a_set_are_refused_and_not_shown(self, remote: Path, tmp_path: Path, kind: str) -> None:
        name = {"clips": "clipset.json", "flow": "flowset.json"}[kind]
        for path in (remote / kind).iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        described = json.loads((tmp_path / name).read_text())
        root = "s3://AKIDAKID:verysecret@bucket/x"
        (tmp_path / name).write_text(json.dumps({**described, "media_root": root}))
        load: Any = {"clips": ClipSet.load, "flow": FlowSet.load}[kind]
        with pytest.raises(KineflowError, match="credentials") as caught:
            load(tmp_path)
        assert "verysecret" not in str(caught.value)
        with pytest.raises(KineflowError, match="credentials"):
            dataclasses.replace(load(remote / kind), media_root=root).save(tmp_path / "saved")

    def test_are_nowhere_in_what_the_steps_leave(self, swift: Swift, remote: Path) -> None:
        left = [path for path in remote.rglob("*") if path.is_file()]
        assert len(left) > 6
        assert not [path for path in left if swift.access_key.encode() in path.read_bytes()]
        assert not [path for path in left if b"AWS4-HMAC" in path.read_bytes()]
