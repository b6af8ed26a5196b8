"""The preview video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kineflow.errors import KineflowError
from kineflow.flow.preview import preview
from kineflow.flow.quantise import quantise
from kineflow.flow.store import write_flow
from kineflow.video.decode import read_frames, read_video
from kineflow.video.encode import write_video


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    world = np.random.default_rng(0).integers(0, 255, (12, 30, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    frames = [world[:, 40 - t : 100 - t] for t in range(5)]
    write_video(tmp_path / "clip.mp4", frames, fps=12, crf=4)
    return tmp_path / "clip.mp4"


def test_frame_beside_flow(clip: Path, tmp_path: Path) -> None:
    preview(clip, tmp_path / "out.mp4")
    shown = read_video(tmp_path / "out.mp4")
    assert shown.frames.shape == (4, 48, 120, 3)
    assert shown.fps == 12
    difference = np.abs(shown.frames[:, :, :60].astype(int) - read_frames(clip)[:4])
    assert difference.mean() < 10
    red, green, blue = shown.frames[:, 8:-8, 68:-8].mean(axis=(0, 1, 2))
    assert red > 200 > max(green, blue)  # it moves right


def test_stored_flow_is_shown(clip: Path, tmp_path: Path) -> None:
    left = np.zeros((4, 48, 60, 2))
    left[..., 0] = -3
    write_flow(tmp_path / "flow.mp4", quantise(left, 5.0))
    preview(clip, tmp_path / "out.mp4", flow=tmp_path / "flow.mp4", bound_px=5.0, max_px=3.5)
    red, _, blue = read_frames(tmp_path / "out.mp4")[:, :, 60:].mean(axis=(0, 1, 2))
    assert blue > 200 > red


def test_odd_heights(tmp_path: Path) -> None:
    frames = np.zeros((3, 33, 35, 3), np.uint8)
    write_video(tmp_path / "odd.mp4", frames, fps=25, pixel_format="yuv444p")
    preview(tmp_path / "odd.mp4", tmp_path / "out.mp4")
    assert read_frames(tmp_path / "out.mp4").shape == (2, 32, 70, 3)


def test_flow_of_another_clip_is_refused(clip: Path, tmp_path: Path) -> None:
    write_flow(tmp_path / "flow.mp4", np.zeros((7, 48, 60, 2), np.uint8))
    with pytest.raises(KineflowError, match="7 fields"):
        preview(clip, tmp_path / "out.mp4", flow=tmp_path / "flow.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_one_frame_is_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "one.mp4", np.zeros((1, 32, 32, 3), np.uint8), fps=25)
    with pytest.raises(KineflowError, match="one frame"):
        preview(tmp_path / "one.mp4", tmp_path / "out.mp4")
