"""The preview video."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner

from kineflow.flow import preview as module
from kineflow.flow.preview import PreviewSettings, preview
from kineflow.spec.tvl1 import PRESETS
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames, read_video
from kineflow.video.encode import write_video
from pipelines.cli_flow import flow_app

FAST = PRESETS["fast"]
CAPTION, GAP, SIDE = 32, 4, 240  # px; panels of the clip below are enlarged to this


def settings(**changes: object) -> PreviewSettings:
    return PreviewSettings(params=FAST, **changes)  # type: ignore[arg-type]


def panning(frames: int, height: int = 60, width: int = 60) -> npt.NDArray[np.uint8]:
    """RGB frames whose whole content moves right by 1 px a frame."""
    rng = np.random.default_rng(0)
    world = rng.integers(0, 255, (height // 4 + 1, (width + frames) // 4 + 2, 3), dtype=np.uint8)
    world = world.repeat(4, 0).repeat(4, 1)
    return np.stack([world[:height, frames - t : frames - t + width] for t in range(frames)])


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    write_video(tmp_path / "clip.mp4", panning(5), fps=12, crf=4)
    return tmp_path / "clip.mp4"


def panels(shown: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float64]]:
    """Mean colours of the middle of each panel, [T, 3] each."""
    starts = range(0, shown.shape[2], SIDE + GAP)
    return [shown[:, CAPTION + 40 : -40, start + 40 : start + SIDE - 40].mean((1, 2)) for start in starts]


def test_frame_flow_and_warped_flow_side_by_side(clip: Path, tmp_path: Path) -> None:
    done = preview(clip, tmp_path / "out.mp4", settings())
    shown = read_video(tmp_path / "out.mp4")
    assert (done.pairs, done.width, done.height) == (4, 60, 60)
    assert shown.fps == 12
    assert shown.frames.shape == (4, CAPTION + SIDE, 3 * SIDE + 2 * GAP, 3)
    enlarged = read_frames(clip)[:4].repeat(4, 1).repeat(4, 2).astype(int)
    assert np.abs(shown.frames[:, CAPTION:, :SIDE] - enlarged).mean() < 10
    _, flow, warped = panels(shown.frames)
    assert (flow[:, 0] > 230).all()
    assert (flow[:, 1:] < 120).all()  # red: it moves right
    assert (warped > 225).all()  # white: nothing but the camera moves


def test_captions_are_there(clip: Path, tmp_path: Path) -> None:
    preview(clip, tmp_path / "out.mp4", settings())
    captions = read_frames(tmp_path / "out.mp4")[:, :CAPTION]
    for start in range(0, captions.shape[2], SIDE + GAP):
        left, right = captions[:, :, start + 6 : start + 60], captions[:, :, start + SIDE - 60 : start + SIDE]
        assert left.max() > 150
        assert right.max() > 100
    wheel = captions[0, :, 2 * SIDE + GAP - 36 : 2 * SIDE + GAP - 4].astype(int)
    assert (wheel.max(-1) - wheel.min(-1)).max() > 100  # the only coloured thing
    frame = captions[0, :, :SIDE].astype(int)
    assert (frame.max(-1) - frame.min(-1)).max() < 60


def test_without_warped_flow(clip: Path, tmp_path: Path) -> None:
    preview(clip, tmp_path / "out.mp4", settings(warped=False))
    shown = read_frames(tmp_path / "out.mp4")
    assert shown.shape[2] == 2 * SIDE + GAP
    assert (panels(shown)[1][:, 0] > 230).all()


def test_a_given_scale_makes_slow_motion_pale(clip: Path, tmp_path: Path) -> None:
    done = preview(clip, tmp_path / "out.mp4", settings(max_px=10.0))
    assert done.max_px == 10.0
    assert (panels(read_frames(tmp_path / "out.mp4"))[1] > 200).all()


@pytest.mark.slow
def test_the_scale_is_that_of_the_whole_clip(tmp_path: Path) -> None:
    still = panning(1).repeat(30, 0)
    fast = np.stack([np.roll(still[0], 3 * t, axis=1) for t in range(4)])
    write_video(tmp_path / "clip.mp4", np.concatenate([still, fast]), fps=12, crf=4)
    assert preview(tmp_path / "clip.mp4", tmp_path / "out.mp4", settings(warped=False)).max_px > 2.5


def test_only_the_first_seconds(clip: Path, tmp_path: Path) -> None:
    assert preview(clip, tmp_path / "out.mp4", settings(seconds=0.25)).pairs == 3
    assert len(read_frames(tmp_path / "out.mp4")) == 3
    assert preview(clip, tmp_path / "out.mp4", settings(seconds=0.001)).pairs == 1
    assert preview(clip, tmp_path / "out.mp4", settings(seconds=99)).pairs == 4


@pytest.mark.slow
def test_people_are_looked_for(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def left_half(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        return np.indices(frame.shape[:2])[1] < frame.shape[1] // 2

    monkeypatch.setattr(module, "detect_people", left_half)
    preview(clip, tmp_path / "out.mp4", settings(people=True))
    preview(clip, tmp_path / "without.mp4", settings())
    with_people, without = (read_frames(tmp_path / name)[0, CAPTION:, :SIDE] for name in ("out.mp4", "without.mp4"))
    differs = np.abs(with_people.astype(int) - without).max(-1) > 60
    assert differs[:, : SIDE // 2 + 8].mean() > 0.05  # an outline
    assert differs[:, SIDE // 2 + 8 :].mean() < 0.01


def test_people_are_not_background(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "detect_people", lambda frame: np.ones(frame.shape[:2], bool))
    preview(clip, tmp_path / "out.mp4", settings(people=True))
    warped = panels(read_frames(tmp_path / "out.mp4"))[2]
    assert (warped[:, 1:] < 120).all()  # no background, so no camera, and the warped flow is the flow


@pytest.mark.parametrize("batch_pixels", [1, 2 * 60 * 60, 1 << 20])
def test_batches_do_not_show(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_pixels: int) -> None:
    preview(clip, tmp_path / "whole.mp4", settings())
    monkeypatch.setattr(module, "_BATCH_PIXELS", batch_pixels)
    preview(clip, tmp_path / "out.mp4", settings())
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


@pytest.mark.slow
def test_a_long_clip_is_never_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "clip.mp4", panning(60), fps=12)
    monkeypatch.setattr(module, "_BATCH_PIXELS", 4 * 60 * 60)
    original, flow, read, solved = module.iter_frames, module.tvl1_flow, 0, 0

    def counted(clip: Path, *, stop: int | None = None) -> Iterator[npt.NDArray[np.uint8]]:
        nonlocal read
        read = 0
        for frame in original(clip, stop=stop):
            read += 1
            yield frame

    def watched(*args: object, **how: object) -> object:
        nonlocal solved
        solved += 1
        assert read == min(60, 4 * solved + 1)  # no frame is read before its batch is due
        return flow(*args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "iter_frames", counted)
    monkeypatch.setattr(module, "tvl1_flow", watched)
    preview(tmp_path / "clip.mp4", tmp_path / "out.mp4", settings(warped=False, max_px=1.0))
    assert solved == 15


def test_few_pairs_fix_the_scale_of_a_long_clip(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", panning(90), fps=12)
    survey = module._survey(tmp_path / "clip.mp4", None)
    assert survey.frames == 90
    assert 8 <= len(survey.pairs) < 16


@pytest.mark.parametrize("size", [(33, 35), (1, 1), (1, 40), (7, 300), (61, 20)])
def test_any_size_gives_a_playable_video(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, *size, 3), dtype=np.uint8)
    write_video(tmp_path / "odd.mp4", frames, fps=25, pixel_format="yuv444p")
    done = preview(tmp_path / "odd.mp4", tmp_path / "out.mp4", settings())
    assert (done.height, done.width) == size
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.width % 2 == stream.height % 2 == 0
        assert stream.frames == 2


def test_large_frames_are_scaled_down(tmp_path: Path) -> None:
    write_video(tmp_path / "large.mp4", panning(2, 300, 1300), fps=25)
    done = preview(tmp_path / "large.mp4", tmp_path / "out.mp4", settings())
    assert (done.width, done.height) == (640, 148)
    assert read_frames(tmp_path / "out.mp4").shape[2] == 3 * 640 + 2 * GAP


@pytest.mark.parametrize("pixel_format", ["gray", "gray16le", "yuv420p10le", "rgb48le"])
def test_grey_and_16_bit_videos(tmp_path: Path, pixel_format: str) -> None:
    deep = pixel_format == "gray16le"
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 60, 60, pixel_format
        for image in panning(3):
            grey = np.ascontiguousarray(image[..., 0])
            frame = av.VideoFrame.from_ndarray(
                grey.astype(np.uint16) * 257 if deep else grey, "gray16le" if deep else "gray"
            )
            container.mux(stream.encode(frame.reformat(format=pixel_format)))
        container.mux(stream.encode())
    preview(tmp_path / "clip.mkv", tmp_path / "out.mp4", settings())
    _, flow, warped = panels(read_frames(tmp_path / "out.mp4"))
    assert (flow[:, 0] > 230).all()
    assert (flow[:, 1:] < 120).all()
    assert (warped > 225).all()


def test_flat_clips_are_white(tmp_path: Path) -> None:
    write_video(tmp_path / "flat.mp4", np.full((3, 60, 60, 3), 90, np.uint8), fps=25)
    assert preview(tmp_path / "flat.mp4", tmp_path / "out.mp4", settings()).max_px == 1.0
    assert all((colour > 250).all() for colour in panels(read_frames(tmp_path / "out.mp4"))[1:])


def test_progress_is_shown(clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "kineflow"):
        preview(clip, tmp_path / "out.mp4", settings())
    assert "flow preview: 4/4" in caplog.text


def test_one_frame_is_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "one.mp4", np.zeros((1, 32, 32, 3), np.uint8), fps=25)
    with pytest.raises(KineflowError, match="one frame"):
        preview(tmp_path / "one.mp4", tmp_path / "out.mp4", settings())
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_missing_device_is_named(clip: Path, tmp_path: Path, device: str) -> None:
    with pytest.raises(KineflowError, match=device):
        preview(clip, tmp_path / "out.mp4", settings(device=device))


def test_a_solver_that_cannot_run_here_is_refused(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="'cluster' cannot"):
        preview(clip, tmp_path / "out.mp4", settings(solver="cluster"))


@pytest.mark.parametrize("values", [{"seconds": 0.0}, {"seconds": float("nan")}, {"max_px": -1.0}])
def test_impossible_settings_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(KineflowError, match=next(iter(values))):
        settings(**values)


def test_the_command(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    command = ["preview", str(clip), "--output", str(out), "--preset", "fast", "--no-warped", "--seconds", "0.1"]
    result = CliRunner().invoke(flow_app, command)
    assert result.exit_code == 0, result.output
    assert read_frames(out).shape[0] == 1
    assert read_frames(out).shape[2] == 2 * SIDE + GAP
    assert CliRunner().invoke(flow_app, ["preview", str(tmp_path / "none.mp4"), "--output", str(out)]).exit_code == 2
