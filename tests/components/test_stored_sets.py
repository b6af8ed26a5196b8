"""Sets of several runs in one place, joined for training: what they say is what one run would have made."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from components.extract_flow import extract_flow
from components.ingest import ingest
from components.store_set import store_set
from kineflow.data.ingest_settings import IngestSettings
from kineflow.flow.settings import FlowSettings
from kineflow.sets.clip_set import CLIP_FILES, ClipSet
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.sets.joined_media import JoinedMedia
from kineflow.sets.store_settings import StoreSetSettings
from kineflow.sets.stored import fetched_sets, holds_sets
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.client import s3_client
from kineflow.storage.errors import KineflowError
from kineflow.video.encode import write_video
from tests.swift import Swift

FAST = {"preset": "fast", "device": "cpu", "workers": 1}


def write_source(folder: Path, count: int, first: int = 0) -> Path:
    rows = ["path,label,split"]
    for number in range(count):
        name = f"{'ab'[number % 2]}/{number}.mp4"
        pixels = np.random.default_rng(first + number).integers(0, 255, (4, 24, 24, 3), np.uint8)
        write_video(folder / name, iter(pixels), fps=25)
        rows.append(f"{name},{name[0]},{'test' if number == count - 1 else 'train'}")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("source"), 7)


def run_part(work: Path, place: str, media: str, source: Path, part: str) -> None:
    """What a run of a part does."""
    settings = IngestSettings(source=str(source), media_root=f"{media}/clips", val_share=0.4)
    ingest(params=settings, seed=1, shard=part, clips=work / "clips")
    extract_flow(clips=work / "clips", params=FlowSettings(**FAST, media_root=f"{media}/flow"), flow=work / "flow")
    for kind in ("clips", "flow"):
        params = StoreSetSettings(place=f"{place}/{kind}")
        store_set(made=work / kind, params=params, part=part, stored=work / f"{kind}.json")


def join(work: Path, place: str, **given: object) -> tuple[ClipSet, FlowSet]:
    """What a training run does first."""
    settings = IngestSettings.model_validate({"source": f"{place}/clips", "layout": "clip_sets"} | given)
    ingest(params=settings, seed=5, clips=work / "clips")
    extract_flow(clips=work / "clips", params=FlowSettings(existing=f"{place}/flow"), flow=work / "flow")
    return ClipSet.load(work / "clips"), FlowSet.load(work / "flow")


@pytest.fixture(params=["disk", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "disk":
        return str(tmp_path / "volume")
    swift: Swift = request.getfixturevalue("swift")
    for name, value in (swift.environment | {"KINEFLOW_CACHE_DIR": str(tmp_path / "cache")}).items():
        monkeypatch.setenv(name, value)
    return f"s3://{swift.make_bucket()}/team"


def test_parts_of_a_source_are_the_sets_of_one_run(source: Path, tmp_path: Path, root: str) -> None:
    whole = tmp_path / "whole"
    settings = IngestSettings(source=str(source), media_root=f"{root}/clips", val_share=0.4)
    ingest(params=settings, seed=5, clips=whole / "clips")
    extract_flow(clips=whole / "clips", params=FlowSettings(**FAST, media_root=f"{root}/flow"), flow=whole / "flow")
    for index in range(3):
        run_part(tmp_path / f"{index}", f"{root}/sets", root, source, f"{index}/3")
    clips, flow = join(tmp_path / "joined", f"{root}/sets", val_share=0.4)
    expected = ClipSet.load(whole / "clips")
    assert (list(clips.clips), clips.media_root) == (list(expected.clips), expected.media_root)
    assert clips.usable(Split.VAL)
    wanted = FlowSet.load(whole / "flow")
    assert (dict(flow.entries), flow.media_root) == (dict(wanted.entries), wanted.media_root)
    assert (flow.params, flow.bound_px) == (wanted.params, wanted.bound_px)


def test_sets_of_different_sources_stand_side_by_side(tmp_path: Path) -> None:
    for name, count in (("one", 3), ("two", 4)):
        folder = tmp_path / "sets"
        settings = IngestSettings(source=str(write_source(tmp_path / name, count, count)), val_share=0)
        ingest(params=settings, clips=folder / "clips" / name)
        extract_flow(clips=folder / "clips" / name, params=FlowSettings(**FAST), flow=folder / "flow" / name)
    clips, flow = join(tmp_path / "joined", str(tmp_path / "sets"), val_share=0)
    assert [clip.clip_id for clip in clips.clips] == [f"one/{id_}" for id_ in ("a/0", "a/2", "b/1")] + [
        f"two/{id_}" for id_ in ("a/0", "a/2", "b/1", "b/3")
    ]
    assert {clip.group for clip in clips.clips} == {clip.clip_id for clip in clips.clips}
    assert flow.usable_ids() == {clip.clip_id for clip in clips.usable()}
    own = FlowSet.load(tmp_path / "sets" / "flow" / "two").locate("a/0")
    assert flow.locate("two/a/0") == own
    assert Path(str(clips.locate(clips.clips[0]))).is_file()


def test_what_does_not_belong_together_is_refused(source: Path, tmp_path: Path) -> None:
    place, media = str(tmp_path / "sets"), str(tmp_path / "media")
    run_part(tmp_path / "0", place, media, source, "0/2")
    with pytest.raises(KineflowError, match="shard 1/2 is missing"):
        join(tmp_path / "joined", place)
    with pytest.raises(KineflowError, match="no clip set here"):
        join(tmp_path / "joined", str(tmp_path / "nowhere"))
    run_part(tmp_path / "1", place, media, source, "1/2")
    (tmp_path / "sets" / "flow" / "part-1-of-2").rename(tmp_path / "aside")
    with pytest.raises(KineflowError, match="clips are in none of the 1 flow sets"):
        join(tmp_path / "joined", place)
    (tmp_path / "aside").rename(tmp_path / "sets" / "flow" / "part-1-of-2")
    changed = tmp_path / "sets" / "flow" / "part-1-of-2"
    flow = FlowSet.load(changed)
    dataclasses.replace(flow, bound_px=5.0).save(changed)
    with pytest.raises(KineflowError, match="its bound_px is 5"):
        join(tmp_path / "joined", place)


def test_a_set_that_is_being_stored_is_not_there(tmp_path: Path) -> None:
    ClipSet((), [], str(tmp_path)).save(tmp_path / "sets" / ".two-1234abcd.partial")
    assert not holds_sets(str(tmp_path / "sets"), CLIP_FILES)
    ClipSet((), [], str(tmp_path)).save(tmp_path / "sets" / "one")
    with fetched_sets(str(tmp_path / "sets"), CLIP_FILES) as found:
        assert [*found] == ["one"]


def test_an_object_without_a_folder_is_no_set(tmp_path: Path, swift: Swift, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in swift.environment.items():
        monkeypatch.setenv(name, value)
    bucket = swift.make_bucket()
    ClipSet((), [], f"s3://{bucket}/media").save(tmp_path / "set")
    params = StoreSetSettings(place=f"s3://{bucket}/sets")
    store_set(made=tmp_path / "set", params=params, name="one", stored=tmp_path / "stored.json")
    s3_client().put_object(Bucket=bucket, Key="sets//clipset.json", Body=b"{}")
    with fetched_sets(f"s3://{bucket}/sets", CLIP_FILES) as found:
        assert [*found] == ["one"]


def test_a_set_of_the_other_kind_is_not_replaced(tmp_path: Path) -> None:
    ClipSet((), [], str(tmp_path / "media")).save(tmp_path / "clips")
    FlowSet(20.0, {}, str(tmp_path / "media"), {}).save(tmp_path / "flow")
    params = StoreSetSettings(place=str(tmp_path / "sets"))
    for made, other in (("clips", "flow"), ("flow", "clips")):
        store_set(made=tmp_path / made, params=params, name=made, stored=tmp_path / "stored.json")
        with pytest.raises(KineflowError, match=f"a {made.removesuffix('s')} set is here"):
            store_set(made=tmp_path / other, params=params, name=made, stored=tmp_path / "stored.json")


@pytest.mark.parametrize("path", ["../secret.mp4", "/secret.mp4"])
def test_a_path_out_of_its_set_is_not_joined(tmp_path: Path, path: str) -> None:
    media = JoinedMedia.of({str(tmp_path / "one"), str(tmp_path / "two")})
    with pytest.raises(KineflowError, match="leads outside its root"):
        media.row(FlowEntry("a", path, 4, 8, 6, Status.OK, ""), str(tmp_path / "one"))


def test_a_form_that_joined_clips_do_not_have_is_refused(source: Path, tmp_path: Path) -> None:
    ingest(params=IngestSettings(source=str(source), size=(20, 16)), clips=tmp_path / "sets" / "one")
    settings = IngestSettings(source=str(tmp_path / "sets"), layout="clip_sets")
    for given in ({"fps": 10.0}, {"size": (24, 24)}):
        with pytest.raises(KineflowError, match=f"ingestion.{next(iter(given))} is "):
            ingest(params=settings.model_copy(update=given), clips=tmp_path / "joined")
    agrees = settings.model_copy(update={"size": (20, 16), "short_side": 128})
    joined = ingest(params=agrees, clips=tmp_path / "joined")
    assert "short_side changes nothing" in joined.summary


@pytest.mark.parametrize(("form", "words"), [({"fps": 10}, "10 .0: those of"), ({"size": [20, 16]}, "all 20x16")])
def test_sets_of_other_forms_are_not_joined(source: Path, tmp_path: Path, form: dict[str, object], words: str) -> None:
    for name, given in (("one", {}), ("two", form)):
        settings = IngestSettings.model_validate({"source": str(source), "val_share": 0} | given)
        ingest(params=settings, clips=tmp_path / "sets" / "clips" / name)
    settings = IngestSettings(source=str(tmp_path / "sets" / "clips"), layout="clip_sets")
    with pytest.raises(KineflowError, match=words):
        ingest(params=settings, clips=tmp_path / "joined")


def test_a_set_that_keeps_its_media_is_not_stored_without_them(source: Path, tmp_path: Path) -> None:
    ingest(params=IngestSettings(source=str(source)), shard="0/2", clips=tmp_path / "clips")
    params = StoreSetSettings(place=str(tmp_path / "sets"))
    with pytest.raises(KineflowError, match="would not come along"):
        store_set(made=tmp_path / "clips", params=params, part="0/2", stored=tmp_path / "stored")
    with pytest.raises(KineflowError, match="no name of a set"):
        store_set(made=tmp_path / "clips", params=params, name="../mine", stored=tmp_path / "stored")
    assert not (tmp_path / "sets").exists()
