"""Flow as a video, and the flow set."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kineflow.data.manifest import Status
from kineflow.errors import KineflowError
from kineflow.flow.quantise import quantise
from kineflow.flow.store import FLOWSET_FILE, INDEX_FILE, FlowEntry, FlowSet, read_flow, write_flow
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


def entry(clip_id: str, status: Status = Status.OK, reason: str = "") -> FlowEntry:
    return FlowEntry(clip_id, f"{clip_id}.mp4" if status is Status.OK else "", 11, 64, 48, status, reason)


def flow_set(media_root: Path) -> FlowSet:
    entries = {e.clip_id: e for e in (entry("a/b"), entry("a/c", Status.SHORT, "one frame"))}
    return FlowSet(5.0, entries, str(media_root), {"algorithm": "tvl1", "warps": 3})


def test_a_set_survives_the_disk_and_moves_with_its_folder(tmp_path: Path) -> None:
    saved = flow_set(tmp_path / "flow" / "media")
    saved.save(tmp_path / "flow")
    assert FlowSet.load(tmp_path / "flow") == saved
    (tmp_path / "flow").rename(tmp_path / "moved")
    assert FlowSet.load(tmp_path / "moved").locate("a/b") == tmp_path / "moved" / "media" / "a" / "b.mp4"


def test_media_elsewhere_stay_there(tmp_path: Path) -> None:
    flow_set(tmp_path / "volume").save(tmp_path / "flow")
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


@pytest.mark.parametrize("damage", ["no folder", "no index", "no json", "not json", "other columns", "no bound"])
def test_what_is_no_flow_set_is_named(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "flow"
    if damage != "no folder":
        flow_set(folder / "media").save(folder)
    if damage == "no index":
        (folder / INDEX_FILE).unlink()
    elif damage == "no json":
        (folder / FLOWSET_FILE).unlink()
    elif damage == "not json":
        (folder / FLOWSET_FILE).write_text("{")
    elif damage == "other columns":
        pq.write_table(pa.table({"x": [1]}), folder / INDEX_FILE)
    elif damage == "no bound":
        (folder / FLOWSET_FILE).write_text(json.dumps({"media_root": "media"}))
    with pytest.raises(KineflowError, match="flow set") as caught:
        FlowSet.load(folder)
    assert caught.value.where == folder
