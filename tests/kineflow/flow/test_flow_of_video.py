"""Flow of any video against what ingesting it and extracting its flow gives."""

from __future__ import annotations

import dataclasses
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from kineflow.data.ingestion import Ingestion, ingest_clips
from kineflow.data.layouts.rows import ListedClip
from kineflow.data.source import open_source
from kineflow.flow import flow_of_video as module
from kineflow.flow.extraction.engine import extract_set
from kineflow.flow.extraction.settings import ExtractSettings
from kineflow.flow.flow_of_video import as_ingested, flow_of_video, flow_of_windows, flow_size
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.flow_file import read_flow
from kineflow.spec.flow_source import FlowSource
from kineflow.spec.split import Split
from kineflow.spec.tvl1 import PRESETS
from kineflow.storage.errors import KineflowError
from kineflow.storage.stores import LocalStore
from kineflow.video.encode import write_video
from kineflow.video.index import index_video
from kineflow.video.store import StoredForm

SHORT_SIDE = 48
FRAMES = 12
FAST = {"scales": 4, "scale_step": 0.7, "warps": 4, "epsilon": 0.0, "outer_iterations": 1, "inner_iterations": 8,
        "median": 1}  # fmt: skip
SOURCES = {
    "kept": FlowSource(tvl1=FAST, bound_px=5.0, short_side=SHORT_SIDE),
    "removed": FlowSource(tvl1=FAST, bound_px=5.0, short_side=SHORT_SIDE, camera_motion="removed"),
}


def moving(size: tuple[int, int], *, frames: int = FRAMES, speed_px: int = 2) -> np.ndarray:
    """uint8 RGB [T, H, W, 3]: a smooth coloured texture that moves right, and a square that moves down."""
    height, width = size
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (height // 4 + 1, width // 4 + 30, 3)).astype(np.float32)
    world = coarse.repeat(4, 0).repeat(4, 1)
    world = sum(np.roll(world, (dy, dx), (0, 1)) for dy in range(-2, 3) for dx in range(-2, 3)) / 25
    start = frames * speed_px
    images = np.stack([world[:height, start - t * speed_px :][:, :width] for t in range(frames)]).astype(np.uint8)
    for t, image in enumerate(images):
        image[t : t + height // 4, width // 3 : width // 2] //= 2
    return images


def write_avi(path: Path, images: np.ndarray) -> Path:
    """A video that has to be stored anew: of another codec and too large."""
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = images.shape[2], images.shape[1], "yuv420p"
        stream.bit_rate = 4_000_000
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
    return path


def ingested(video: Path, folder: Path) -> ClipSet:
    source = open_source(str(video.parent))
    listed = ListedClip(video.name, "x", Split.TEST, "g", "here")
    ingestion = Ingestion(source, LocalStore(folder / "media"), StoredForm(short_side=SHORT_SIDE), min_frames=2)
    done = ingest_clips([("clip", listed)], ingestion, workers=1)
    return ClipSet(("x",), tuple(done), str(folder / "media"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "stored.mp4", moving((48, 64)), fps=25)
    write_video(folder / "small.mp4", moving((32, 40)), fps=25, gop=1000)
    return {
        "as stored": folder / "stored.mp4",
        "small": folder / "small.mp4",
        "large": write_avi(folder / "large.avi", moving((96, 134))),
    }


@pytest.mark.parametrize("camera_motion", ["kept", "removed"])
@pytest.mark.parametrize("which", ["as stored", "small", "large"])
def test_it_is_the_flow_of_the_ingested_clip_to_the_bit(
    videos: dict[str, Path], which: str, camera_motion: str, tmp_path: Path
) -> None:
    clips, source = ingested(videos[which], tmp_path), SOURCES[camera_motion]
    asked = {"tvl1": PRESETS["fast"], "camera_motion": camera_motion, "bound_px": source.bound_px}
    settings = ExtractSettings(**asked, crf=0)
    [entry] = extract_set(clips, clips.clips, tmp_path / "flow", settings).entries
    expected = read_flow(tmp_path / "flow" / entry.path)
    assert np.abs(expected.astype(int) - 128).max() > 10

    index = index_video(videos[which])
    assert flow_size(index, SHORT_SIDE) == (entry.width, entry.height)
    with as_ingested(videos[which], index, SHORT_SIDE) as stored:
        np.testing.assert_array_equal(flow_of_video(stored, range(FRAMES - 1), source), expected)
        np.testing.assert_array_equal(flow_of_video(stored, [0, 3, 4, 10], source), expected[[0, 3, 4, 10]])


def test_a_video_in_the_stored_form_is_not_copied_and_a_copy_is_removed(videos: dict[str, Path]) -> None:
    with as_ingested(videos["as stored"], index_video(videos["as stored"]), SHORT_SIDE) as stored:
        assert stored == videos["as stored"]
    assert stored.is_file()
    with as_ingested(videos["large"], index_video(videos["large"]), SHORT_SIDE) as stored:
        assert min(read.shape[0] for read in module._grey(stored, [0])) == SHORT_SIDE
    assert not stored.parent.exists()


def test_a_field_that_windows_share_is_computed_once(videos: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    video, source = videos["as stored"], SOURCES["kept"]
    every = flow_of_video(video, range(FRAMES - 1), source)
    asked: list[int] = []

    def counted(path: Path, fields: list[int], *rest: object, **keywords: object) -> np.ndarray:
        asked.extend(fields)
        return flow_of_video(path, fields, *rest, **keywords)

    monkeypatch.setattr(module, "flow_of_video", counted)
    windows = [np.array(window) for window in ([0, 2, 4], [1, 3, 5], [2, 4, 6], [2, 4, 6], [10])]
    for window, levels in zip(windows, flow_of_windows(video, windows, source), strict=True):
        np.testing.assert_array_equal(levels, every[window])
    assert asked == [0, 2, 4, 1, 3, 5, 6, 10]


def test_nothing_is_kept_that_no_later_window_wants(videos: dict[str, Path]) -> None:
    windows = [np.array([first, first + 1]) for first in range(8)]
    flow = flow_of_windows(videos["as stored"], windows, SOURCES["kept"])
    for number, _ in enumerate(flow):
        assert set(flow.gi_frame.f_locals["known"]) == {number, number + 1}


def test_batches_make_no_difference(videos: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = flow_of_video(videos["as stored"], range(FRAMES - 1), SOURCES["kept"])
    monkeypatch.setattr(module, "_PIXELS_A_BATCH", 3 * 48 * 64)
    parts = flow_of_video(videos["as stored"], range(FRAMES - 1), SOURCES["kept"])
    np.testing.assert_array_equal(parts, whole)


@pytest.mark.parametrize("lacking", [{"frames": 1}, {"width": 1}, {"height": 1}])
def test_a_video_without_motion_is_refused(videos: dict[str, Path], lacking: dict[str, int]) -> None:
    index = dataclasses.replace(index_video(videos["as stored"]), **lacking)
    problem = f"no motion to measure (frames: {index.frames}, of {index.width}x{index.height} px)"
    with pytest.raises(KineflowError, match=re.escape(problem)):
        flow_size(index, SHORT_SIDE)


def test_a_video_of_one_frame_at_the_rate_of_the_network_is_refused(videos: dict[str, Path]) -> None:
    index = index_video(videos["as stored"])
    with pytest.raises(KineflowError, match=r"frames: 1 at 0\.1 a second"):
        flow_size(index, SHORT_SIDE, 0.1)


def test_a_field_past_the_end_is_named(videos: dict[str, Path]) -> None:
    with pytest.raises(KineflowError, match=f"frame {FRAMES} was asked for"):
        flow_of_video(videos["as stored"], [FRAMES - 1], SOURCES["kept"])
