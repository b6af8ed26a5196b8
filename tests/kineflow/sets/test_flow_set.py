"""Flow as a video, and the flow set."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kineflow.sets.flow_file import read_flow, write_flow
from kineflow.sets.flow_set import FLOW_INDEX_FILE, FLOWSET_FILE, FlowEntry, FlowSet
from kineflow.spec.quantise import quantise
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames


def smooth_levels(fields: int = 14, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    rng = np.random.default_rng(0)
    world = np.stack([cv2.GaussianBlur(rng.normal(size=(90, 110)), (0, 0), 7) for _ in range(2)], axis=-1)
    flow = np.stack([world[t : t + size[0], t : t + size[1]] for t in range(fields)]) * 30
    return quantise(flow, 5.0)


def test_lossless_is_exact(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (5, 33, 31, 2), dtype=np.uint8)
    write_flow(tmp_path / "flow.mp4", levels, crf=0)
    np.testing.assert_array_equal(read_flow(tmp_path / "flow.mp4"), levels)


def test_default_quality_errs_by_about_a_level(tmp_path: Path) -> None:
    levels = smooth_levels()
    write_flow(tmp_path / "flow.mp4", levels)
    error = np.abs(read_flow(tmp_path / "flow.mp4").astype(int) - levels)
    assert error.mean() < 0.8  # measured: 0.5
    assert np.quantile(error, 0.99) <= 3


@pytest.mark.parametrize("level", [0, 1, 15, 128, 236, 255])
def test_the_whole_range_survives_in_both_planes(tmp_path: Path, level: int) -> None:
    levels = np.full((2, 32, 32, 2), 128, dtype=np.uint8)
    levels[0, ..., 0] = levels[1, ..., 1] = level
    write_flow(tmp_path / "flow.mp4", levels)
    assert np.abs(read_flow(tmp_path / "flow.mp4").astype(int) - levels).max() <= 2


def test_the_third_plane_is_grey(tmp_path: Path) -> None:
    write_flow(tmp_path / "flow.mp4", smooth_levels(2), crf=0)
    assert (read_frames(tmp_path / "flow.mp4", pixel_format="yuv444p")[..., 2] == 128).all()


def test_fields_are_read_in_any_order(tmp_path: Path) -> None:
    write_flow(tmp_path / "flow.mp4", smooth_levels(30), gop=4)
    whole = read_flow(tmp_path / "flow.mp4")
    picked = read_flow(tmp_path / "flow.mp4", [29, 3, 3, 17])
    assert picked.shape == (4, 48, 64, 2)
    np.testing.assert_array_equal(picked, whole[[29, 3, 3, 17]])
    with pytest.raises(KineflowError):
        read_flow(tmp_path / "flow.mp4", [30])


def test_every_field_is_a_key_frame(tmp_path: Path) -> None:
    write_flow(tmp_path / "flow.mp4", smooth_levels(5))
    with av.open(str(tmp_path / "flow.mp4")) as container:
        assert all(packet.is_keyframe for packet in container.demux(video=0) if packet.size)


@pytest.mark.parametrize("crf", [10, 14, 18])
def test_u_and_v_are_kept_equally_well(tmp_path: Path, crf: int) -> None:
    levels = smooth_levels(6)
    both = np.concatenate([levels, levels[..., ::-1]])
    write_flow(tmp_path / "flow.mp4", both, crf=crf)
    error_u, error_v = np.abs(read_flow(tmp_path / "flow.mp4").astype(int) - both).mean(axis=(0, 1, 2))
    assert error_v == pytest.approx(error_u, rel=0.25)


def entry(clip_id: str, status: Status = Status.OK, reason: str = "") -> FlowEntry:
    return FlowEntry(clip_id, f"{clip_id}.mp4" if status is Status.OK else "", 11, 64, 48, status, reason)


def flow_set(media_root: Path) -> FlowSet:
    entries = {e.clip_id: e for e in (entry("a/b"), entry("a/c", Status.SHORT, "one frame"))}
    return FlowSet(5.0, entries, str(media_root), {"algorithm": "tvl1", "warps": 3})


def test_a_set_survives_the_disk_and_moves_with_its_folder(tmp_path: Path) -> None:
    saved = flow_set(tmp_path / "flow" / "media")
    saved.save(tmp_path / "flow")
    assert FlowSet.load(tmp_path / "flow") == saved
    (tmp_path / "flow" / "media" / "a").mkdir(parents=True)
    (tmp_path / "flow" / "media" / "a" / "b.mp4").touch()
    (tmp_path / "flow").rename(tmp_path / "moved")
    assert FlowSet.load(tmp_path / "moved").locate("a/b") == tmp_path / "moved" / "media" / "a" / "b.mp4"


def test_media_elsewhere_stay_there(tmp_path: Path) -> None:
    flow_set(tmp_path / "volume").save(tmp_path / "flow")
    (tmp_path / "volume" / "a").mkdir(parents=True)
    (tmp_path / "volume" / "a" / "b.mp4").touch()
    assert FlowSet.load(tmp_path / "flow").locate("a/b") == tmp_path / "volume" / "a" / "b.mp4"


def test_only_good_clips_are_found(tmp_path: Path) -> None:
    found = flow_set(tmp_path)
    assert found.usable_ids() == {"a/b"}
    with pytest.raises(KineflowError, match="one frame"):
        found.locate("a/c")
    with pytest.raises(KineflowError, match="no flow of clip 'z'"):
        found.locate("z")


def test_no_path_leads_out_of_the_root(tmp_path: Path) -> None:
    bad = FlowEntry("a", "../../secret.mp4", 1, 2, 2, Status.OK, "")
    with pytest.raises(KineflowError, match="outside"):
        FlowSet(5.0, {"a": bad}, str(tmp_path)).locate("a")


DAMAGES = ["no folder", "no index", "no json", "not json", "a list", "other columns", "no bound", "no version"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_flow_set_is_named(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "flow"
    if damage != "no folder":
        flow_set(folder / "media").save(folder)
    if damage == "no index":
        (folder / FLOW_INDEX_FILE).unlink()
    elif damage == "no json":
        (folder / FLOWSET_FILE).unlink()
    elif damage == "not json":
        (folder / FLOWSET_FILE).write_text("{")
    elif damage == "a list":
        (folder / FLOWSET_FILE).write_text("[1]")
    elif damage == "no version":
        described = json.loads((folder / FLOWSET_FILE).read_text())
        (folder / FLOWSET_FILE).write_text(json.dumps(described | {"format_version": "latest"}))
    elif damage == "other columns":
        pq.write_table(pa.table({"x": [1]}), folder / FLOW_INDEX_FILE)
    elif damage == "no bound":
        (folder / FLOWSET_FILE).write_text(json.dumps({"media_root": "media"}))
    with pytest.raises(KineflowError, match="flow set") as caught:
        FlowSet.load(folder)
    assert caught.value.where == folder


def test_the_format_is_told_and_a_later_one_refused(tmp_path: Path) -> None:
    flow_set(tmp_path / "media").save(tmp_path / "flow")
    file = tmp_path / "flow" / FLOWSET_FILE
    described = json.loads(file.read_text())
    assert described["format_version"] == 2
    file.write_text(json.dumps(described | {"format_version": 3, "media_root": None}))
    (tmp_path / "flow" / FLOW_INDEX_FILE).write_bytes(b"in a form yet unknown")
    with pytest.raises(KineflowError, match="format 3; this Kineflow reads up to 2"):
        FlowSet.load(tmp_path / "flow")


def test_a_set_that_does_not_tell_its_format_is_of_the_first(tmp_path: Path) -> None:
    saved = flow_set(tmp_path / "media")
    saved.save(tmp_path / "flow")
    file = tmp_path / "flow" / FLOWSET_FILE
    described = json.loads(file.read_text())
    del described["format_version"]
    file.write_text(json.dumps(described))
    assert FlowSet.load(tmp_path / "flow") == saved
