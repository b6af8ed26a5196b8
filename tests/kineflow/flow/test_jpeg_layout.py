"""Flow sets over JPEG planes of other tools, and written as such."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from kineflow.flow import jpeg_layout
from kineflow.flow.jpeg_layout import export_jpeg_flow, import_jpeg_flow, index_jpeg_flow
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import read_flow, write_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.sets.jpeg_planes import read_jpeg_flow, write_jpeg_flow
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from pipelines.cli import app

FRAMES, HEIGHT, WIDTH = 5, 18, 24


def clip(
    clip_id: str = "wave/v_wave_g01", *, frames: int = FRAMES, source: str = "somewhere.avi", label: str = "wave"
) -> Clip:
    return Clip(
        clip_id=clip_id,
        path=f"{clip_id}.mp4",
        label=label,
        group="g01",
        split=Split.TRAIN,
        frames=frames,
        fps=25.0,
        width=64,
        height=48,
        rotation=0,
        sha256="0",
        status=Status.OK,
        reason="",
        source=source,
    )


def levels(fields: int = FRAMES - 1, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(128, 40, (fields, 4, 4, 2))
    return np.stack([cv2.resize(field, (WIDTH, HEIGHT)) for field in noise]).clip(0, 255).astype(np.uint8)


def index_one(root: Path, wanted: Clip) -> FlowEntry:
    return index_jpeg_flow(root, [wanted])[wanted.clip_id]


# Which folder is a clip's


@pytest.mark.parametrize(
    ("folder", "clip_id", "source"),
    [
        ("wave/v_wave_g01", "wave/v_wave_g01", "other.avi"),  # by id
        ("v_wave_g01", "wave/v_wave_g01", "other.avi"),  # without its class
        ("waving/v_wave_g01", "v_wave_g01", "other.avi"),  # below a class that its id does not tell
        ("wave/original", "0001", "videos/original.avi"),  # by the file that it came from
        ("v.1_g01", "wave/v.1_g01", "other.avi"),  # a dot is no suffix
        ("a/b/c/d", "a/b/c/d", "other.avi"),  # by id, however deep
    ],
)
def test_the_folder_of_a_clip(tmp_path: Path, folder: str, clip_id: str, source: str) -> None:
    write_jpeg_flow(tmp_path / folder, levels())
    write_jpeg_flow(tmp_path / "wave" / "another", levels())
    expected = FlowEntry(clip_id, folder, FRAMES - 1, WIDTH, HEIGHT, Status.OK, "")
    assert index_one(tmp_path, clip(clip_id, source=source)) == expected


@pytest.mark.parametrize("clip_id", ["wave/v_wave_g01", "v_wave_g01"])
def test_u_and_v_in_folders_apart(tmp_path: Path, clip_id: str) -> None:
    write_jpeg_flow(tmp_path / "flow", levels())
    for axis, home in (("x", "u"), ("y", "v")):
        (tmp_path / home / "v_wave_g01").mkdir(parents=True)
        for number in range(1, FRAMES):
            plane = tmp_path / "flow" / f"flow_{axis}_{number:05d}.jpg"
            plane.rename(tmp_path / home / "v_wave_g01" / f"frame{number:06d}.jpg")
    entry = index_one(tmp_path, clip(clip_id))
    assert entry.path == "u/v_wave_g01"
    assert len(read_flow(tmp_path / entry.path)) == FRAMES - 1


def test_two_folders_of_one_name_are_not_guessed_between(tmp_path: Path) -> None:
    for name in ("walk", "run"):
        write_jpeg_flow(tmp_path / name / "v_1", levels())
    entry = index_one(tmp_path, clip("v_1"))
    assert entry.status is Status.UNREADABLE
    assert "run/v_1, walk/v_1" in entry.reason
    assert index_one(tmp_path, clip("walk/v_1")).path == "walk/v_1"


def test_the_flow_of_another_class_is_not_taken_nor_one_folder_twice(tmp_path: Path) -> None:
    write_jpeg_flow(tmp_path / "walk" / "01", levels())
    write_jpeg_flow(tmp_path / "long", levels())
    wanted = [
        clip("walk/01", label="walk"),
        clip("set/run/01", label="run"),
        clip("long_0-200ms", source="long.avi"),
        clip("long_200-400ms", source="long.avi"),
    ]
    entries = index_jpeg_flow(tmp_path, wanted)
    assert {clip_id: (entry.path, entry.reason) for clip_id, entry in entries.items()} == {
        "walk/01": ("walk/01", ""),
        "set/run/01": ("", "the one folder named '01' is that of class 'walk': walk/01"),
        "long_0-200ms": ("", "2 clips answer to the folder 'long'"),
        "long_200-400ms": ("", "2 clips answer to the folder 'long'"),
    }


# What is wrong with it


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (FRAMES - 1, "one too many"),
        (FRAMES + 1, "4 flow frames for 6 frames, where 5 are expected"),
        (2, "4 flow frames for 2 frames, where 1 are expected"),
    ],
)
def test_a_wrong_count_is_told(tmp_path: Path, frames: int, message: str) -> None:
    write_jpeg_flow(tmp_path / "v", levels())
    entry = index_one(tmp_path, clip("v", frames=frames))
    assert (entry.status, entry.path, entry.fields) == (Status.UNREADABLE, "", 0)
    assert message in entry.reason


def damage(folder: Path, kind: str) -> None:
    plane = folder / "flow_y_00002.jpg"
    if kind == "no folder":
        shutil.rmtree(folder)
    elif kind == "a file":
        shutil.rmtree(folder)
        folder.write_text("flow")
    elif kind == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif kind == "gap":
        plane.unlink()
        (folder / "flow_x_00002.jpg").unlink()
    elif kind == "u without v":
        plane.unlink()
    elif kind == "no jpeg":
        plane.write_bytes(b"GIF89a")
    elif kind == "size":
        cv2.imwrite(str(plane), np.zeros((HEIGHT, WIDTH + 1), np.uint8))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no folder", "no folder is named 'v' or 'somewhere'"),
        ("a file", "no folder is named"),
        ("empty", "no flow planes"),
        ("gap", "frame 2 is missing"),
        ("u without v", "no plane v"),
        ("no jpeg", "flow_y_00002.jpg is no JPEG"),
        ("size", "flow_y_00002.jpg is 25x18, planes before it 24x18"),
    ],
)
def test_a_bad_clip_has_a_reason_and_does_not_stop_others(tmp_path: Path, kind: str, message: str) -> None:
    for name in ("v", "w"):
        write_jpeg_flow(tmp_path / name, levels())
    damage(tmp_path / "v", kind)
    entries = index_jpeg_flow(tmp_path, [clip("v"), clip("w")])
    assert entries["v"].status is Status.UNREADABLE
    assert message in entries["v"].reason
    assert entries["w"].status is Status.OK


def test_a_clip_of_one_frame_is_short(tmp_path: Path) -> None:
    assert index_one(tmp_path, clip(frames=1)).status is Status.SHORT


def test_no_path_leads_out_of_the_root(tmp_path: Path) -> None:
    write_jpeg_flow(tmp_path / "secret", levels())
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "secret")
    for clip_id in ("../secret", "linked"):
        entry = index_one(tmp_path / "root", clip(clip_id))
        assert entry.status is Status.UNREADABLE
        assert "outside" in entry.reason


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="no such folder") as caught:
        index_jpeg_flow(tmp_path / "none", [clip()])
    assert caught.value.where == tmp_path / "none"


def test_import_fails_when_not_one_clip_is_found(tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="not one of 1 clips has usable flow: v: no folder"):
        import_jpeg_flow(tmp_path, [clip("v")])


# Export


@pytest.fixture
def flow_set(tmp_path: Path) -> FlowSet:
    """Two clips with flow, and one without."""
    entries = {}
    for seed, clip_id in enumerate(("wave/a", "wave/b")):
        write_flow(tmp_path / "media" / f"{clip_id}.mp4", levels(seed=seed), crf=0)
        entries[clip_id] = FlowEntry(clip_id, f"{clip_id}.mp4", FRAMES - 1, WIDTH, HEIGHT, Status.OK, "")
    entries["c"] = FlowEntry("c", "", 0, 2, 2, Status.SHORT, "one frame")
    return FlowSet(15.0, entries, str(tmp_path / "media"))


@pytest.mark.parametrize("workers", [1, 2])
def test_round_trip_of_a_set(flow_set: FlowSet, tmp_path: Path, workers: int) -> None:
    done = export_jpeg_flow(flow_set, tmp_path / "jpeg", workers=workers)
    assert (done.written, done.kept, dict(done.failed)) == (2, 0, {"c": "one frame"})
    again = import_jpeg_flow(tmp_path / "jpeg", [clip("wave/a"), clip("wave/b"), clip("c")], bound_px=15.0)
    again.save(tmp_path / "flow")
    loaded = FlowSet.load(tmp_path / "flow")
    assert loaded.bound_px == 15.0
    assert loaded.usable_ids() == {"wave/a", "wave/b"}
    for seed, clip_id in enumerate(("wave/a", "wave/b")):
        error = np.abs(read_flow(loaded.locate(clip_id)).astype(int) - levels(seed=seed))
        assert error.mean() < 2


def test_export_goes_on_where_it_stopped(flow_set: FlowSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dying(folder: Path, *rest: object, **named: object) -> None:
        if folder.name == "b":
            raise KeyboardInterrupt
        write_jpeg_flow(folder, *rest, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(jpeg_layout, "write_jpeg_flow", dying)
        with pytest.raises(KeyboardInterrupt):
            export_jpeg_flow(flow_set, tmp_path / "jpeg")
    assert [path.name for path in (tmp_path / "jpeg" / "wave").iterdir()] == ["a"]
    kept = (tmp_path / "jpeg" / "wave" / "a").stat().st_mtime_ns
    (tmp_path / "jpeg" / "wave" / "b").mkdir()  # begun by another tool
    done = export_jpeg_flow(flow_set, tmp_path / "jpeg")
    assert (done.written, done.kept) == (1, 1)
    assert (tmp_path / "jpeg" / "wave" / "a").stat().st_mtime_ns == kept
    assert len(read_jpeg_flow(tmp_path / "jpeg" / "wave" / "b")) == FRAMES - 1


def test_a_clip_that_cannot_be_read_does_not_stop_others(flow_set: FlowSet, tmp_path: Path) -> None:
    flow_set.locate("wave/a").write_bytes(b"damaged")
    done = export_jpeg_flow(flow_set, tmp_path / "jpeg")
    assert done.written == 1
    assert set(done.failed) == {"wave/a", "c"}
    assert not (tmp_path / "jpeg" / "wave" / "a").exists()


def test_export_writes_only_below_its_folder(tmp_path: Path) -> None:
    write_flow(tmp_path / "a.mp4", levels())
    entry = FlowEntry("../escaped", "a.mp4", FRAMES - 1, WIDTH, HEIGHT, Status.OK, "")
    with pytest.raises(KineflowError, match="outside"):
        export_jpeg_flow(FlowSet(20.0, {entry.clip_id: entry}, str(tmp_path)), tmp_path / "jpeg")
    assert not (tmp_path / "escaped").exists()


# The commands


def test_commands_go_there_and_back(flow_set: FlowSet, tmp_path: Path) -> None:
    flow_set.save(tmp_path / "flow")
    ClipSet(("wave",), (clip("wave/a"), clip("wave/b")), "media").save(tmp_path / "clips")
    export = ["flow", "export", str(tmp_path / "flow"), "--output", str(tmp_path / "jpeg"), "--quality", "90"]
    for told in ("2 clips written, 0 kept, 1 without flow", "0 clips written, 2 kept, 1 without flow"):
        result = CliRunner().invoke(app, export)
        assert result.exit_code == 0
        assert told in result.output
        assert "c: one frame" in result.output
    give_back = ["flow", "import", str(tmp_path / "jpeg"), "--clips", str(tmp_path / "clips")]
    give_back += ["--output", str(tmp_path / "again"), "--bound", "15"]
    result = CliRunner().invoke(app, give_back)
    assert result.exit_code == 0
    assert "2 of 2 clips have flow" in result.output
    again = FlowSet.load(tmp_path / "again")
    assert again.bound_px == 15.0
    assert again.media_root == str(tmp_path / "jpeg")

    result = CliRunner().invoke(app, give_back)
    assert result.exit_code == 2  # what is there is not replaced
    assert FlowSet.load(tmp_path / "again") == again


def test_commands_name_a_users_mistake(tmp_path: Path) -> None:
    ClipSet(("wave",), (clip("a"),), "media").save(tmp_path / "clips")
    for told, arguments in {
        "no such folder": ["import", str(tmp_path / "none"), "--clips", str(tmp_path / "clips")],
        "no readable clip set": ["import", str(tmp_path), "--clips", str(tmp_path / "none")],
        "no readable flow set": ["export", str(tmp_path)],
    }.items():
        result = CliRunner().invoke(app, ["flow", *arguments, "--output", str(tmp_path / "out")])
        assert result.exit_code == 2
        assert told in result.output
        assert not (tmp_path / "out").exists()
