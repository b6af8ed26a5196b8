import dataclasses
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kineflow.sets.clip_set import CLIPSET_FILE, MANIFEST_FILE, Clip, ClipSet
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.spec.video_bounds import MAX_FILE_FRAMES
from kineflow.storage.errors import KineflowError


def make_clip(clip_id: str = "a", **changes) -> Clip:
    clip = Clip(
        clip_id=clip_id,
        path=f"{clip_id}.mp4",
        label="wave",
        group="g1",
        split=Split.TRAIN,
        frames=12,
        fps=25.0,
        width=64,
        height=48,
        rotation=0,
        sha256="0" * 64,
        status=Status.OK,
        reason="",
        source=f"raw/{clip_id}.avi",
    )
    return dataclasses.replace(clip, **changes)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
counts = st.integers(0, MAX_FILE_FRAMES + 1000)  # a rejected row counts a few frames past the bound
clips = st.builds(
    Clip,
    clip_id=texts,
    path=texts,
    label=st.none() | texts,
    group=texts,
    split=st.sampled_from(Split),
    frames=counts,
    fps=st.floats(0, 1e6),
    width=counts,
    height=counts,
    rotation=st.integers(-360, 360),
    sha256=texts,
    status=st.sampled_from(Status),
    reason=texts,
    source=texts,
    video_sha256=texts,
    first_frame=counts,
)
clip_sets = st.builds(
    ClipSet,
    classes=st.lists(texts, unique=True, max_size=4).map(tuple),
    clips=st.lists(clips, max_size=5, unique_by=lambda clip: clip.clip_id).map(tuple),
    media_root=st.sampled_from(["/volume/clips", "s3://bucket/clips", "/elsewhere"]),
).map(
    lambda made: dataclasses.replace(
        made,
        classes=tuple(dict.fromkeys([*made.classes, *(clip.label for clip in made.clips if clip.label is not None)])),
    )
)


class TestRoundTrip:
    @pytest.mark.slow
    @settings(max_examples=60, deadline=None)
    @given(clip_sets)
    def test_what_is_saved_is_loaded_ordered_by_id(self, tmp_path_factory, clip_set):
        folder = tmp_path_factory.mktemp("clips")
        clip_set.save(folder)
        in_order = tuple(sorted(clip_set.clips, key=lambda clip: clip.clip_id))
        assert ClipSet.load(folder) == dataclasses.replace(clip_set, clips=in_order)

    def test_media_inside_the_set_move_with_it(self, tmp_path):
        here, there = tmp_path / "here", tmp_path / "there"
        ClipSet(("wave",), (make_clip(),), str(here / "media")).save(here)
        (here / "media").mkdir()
        (here / "media" / "a.mp4").touch()
        here.rename(there)
        assert ClipSet.load(there).locate(make_clip()) == there / "media" / "a.mp4"

    def test_media_elsewhere_stay_there(self, tmp_path):
        ClipSet(("wave",), (make_clip(),), str(tmp_path / "volume")).save(tmp_path / "clips")
        (tmp_path / "volume").mkdir()
        (tmp_path / "volume" / "a.mp4").touch()
        assert ClipSet.load(tmp_path / "clips").locate(make_clip()) == tmp_path / "volume" / "a.mp4"

    def test_leaves_no_other_file(self, tmp_path):
        ClipSet((), (), "/volume").save(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {MANIFEST_FILE, CLIPSET_FILE}


class TestBadFolder:
    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        ClipSet(("wave",), (make_clip(),), "/volume").save(tmp_path)
        return tmp_path

    def refuses(self, folder: Path) -> None:
        with pytest.raises(KineflowError, match="no readable clip set here") as caught:
            ClipSet.load(folder)
        assert caught.value.where == folder
        assert "ingest" in caught.value.remedy

    @pytest.mark.parametrize("name", [MANIFEST_FILE, CLIPSET_FILE])
    def test_missing_file(self, folder, name):
        (folder / name).unlink()
        self.refuses(folder)

    @pytest.mark.parametrize("name", [MANIFEST_FILE, CLIPSET_FILE])
    @pytest.mark.parametrize("content", [b"", b"no such format", b"\xff\xfe", b"[1]", b"{}"])
    def test_damaged_file(self, folder, name, content):
        (folder / name).write_bytes(content)
        self.refuses(folder)

    def test_a_file_instead_of_a_folder(self, folder):
        self.refuses(folder / MANIFEST_FILE)

    @pytest.mark.parametrize(
        "column",
        [
            {"split": ["holdout"]},
            {"status": ["fine"]},
            {"frames": ["many"]},
            {"frames": pa.array([None], pa.int32())},
            {"path": pa.array([None], pa.string())},
        ],
    )
    def test_values_that_no_clip_has(self, folder, column):
        table = pq.read_table(folder / MANIFEST_FILE)
        ((name, values),) = column.items()
        place = table.schema.get_field_index(name)
        pq.write_table(table.set_column(place, name, pa.array(values)), folder / MANIFEST_FILE)
        self.refuses(folder)

    def test_other_columns(self, folder):
        table = pq.read_table(folder / MANIFEST_FILE)
        pq.write_table(table.drop_columns(["fps"]), folder / MANIFEST_FILE)
        self.refuses(folder)

    def test_media_root_must_be_named(self, folder):
        (folder / CLIPSET_FILE).write_text(json.dumps({"classes": ["wave"]}))
        self.refuses(folder)


class TestClipSet:
    def test_usable_clips_are_ok_and_of_the_asked_splits(self):
        good, broken = make_clip("a"), make_clip("b", status=Status.TRUNCATED)
        val, unlabelled = make_clip("c", split=Split.VAL), make_clip("d", split=Split.UNLABELLED, label=None)
        clip_set = ClipSet(("wave",), (good, broken, val, unlabelled), "/volume")
        assert clip_set.usable() == [good, val, unlabelled]
        assert clip_set.usable(Split.TRAIN) == [good]
        assert clip_set.usable(Split.VAL, Split.UNLABELLED) == [val, unlabelled]

    def test_label_index_is_the_place_among_the_classes(self):
        clip_set = ClipSet(("jump", "wave"), (), "/volume")
        assert clip_set.label_index(make_clip(label="wave")) == 1
        assert clip_set.label_index(make_clip(label=None)) == -1

    def test_a_label_left_on_an_unlabelled_clip_is_not_used(self):
        clip_set = ClipSet(("jump", "wave"), (), "/volume")
        assert clip_set.label_index(make_clip(label="wave", split=Split.UNLABELLED)) == -1

    @pytest.mark.parametrize("path", ["../secret.mp4", "/etc/passwd", "a/../../secret"])
    def test_locate_refuses_paths_that_lead_out_of_the_media(self, tmp_path, path):
        clip_set = ClipSet(("wave",), (), str(tmp_path / "media"))
        with pytest.raises(KineflowError, match="leads outside"):
            clip_set.locate(make_clip(path=path))
