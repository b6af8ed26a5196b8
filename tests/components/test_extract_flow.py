"""The step ``extract_flow``, from a clip set to a flow set."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from components.extract_flow.params import FlowParams
from components.extract_flow.step import extract_flow
from kineflow.config import parse_params
from kineflow.data.manifest import Clip, ClipSet, Split, Status
from kineflow.errors import KineflowError
from kineflow.flow import extract
from kineflow.flow.store import FlowSet, read_flow
from kineflow.flow.tvl1 import TVL1Params
from kineflow.video.decode import iter_frames
from kineflow.video.encode import write_video

ROOT = Path(__file__).resolve().parents[2]
FAST: dict[str, Any] = {"preset": "fast", "bound_px": 5.0, "workers": 1, "device": "cpu"}


def save_clips(folder: Path, videos: dict[str, np.ndarray]) -> Path:
    """A clip set with its media inside; videos are uint8 [T, H, W, 3]."""
    rows = []
    for name, frames in videos.items():
        write_video(folder / "media" / f"{name}.mp4", frames, fps=25, crf=10)
        count, height, width = frames.shape[:3]
        rows.append(
            Clip(name, f"{name}.mp4", "x", name, Split.TRAIN, count, 25.0, width, height, 0, "", Status.OK, "", "")
        )
    ClipSet(("x",), tuple(rows), str(folder / "media")).save(folder)
    return folder


def moving(frames: int, seed: int = 0) -> np.ndarray:
    world = np.random.default_rng(seed).integers(0, 255, (8, 40, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    world = cv2.GaussianBlur(world, (0, 0), 2)
    return np.stack([world[:, 60 - t : 92 - t] for t in range(frames)])


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return save_clips(tmp_path / "clips", {f"walk/{n}": moving(4 + n, seed=n) for n in range(4)})


def test_a_flow_set_comes_out(clips: Path, tmp_path: Path) -> None:
    result = extract_flow(clips=clips, params=FlowParams(**FAST), flow=tmp_path / "flow")
    flow = FlowSet.load(tmp_path / "flow")
    assert flow.bound_px == 5.0
    assert flow.usable_ids() == {f"walk/{n}" for n in range(4)}
    assert flow.params["algorithm"] == "tvl1"
    assert flow.params["warps"] == TVL1Params.preset("fast").warps
    for n in range(4):
        levels = read_flow(flow.locate(f"walk/{n}"))
        assert levels.shape == (3 + n, 32, 32, 2)
        assert abs(levels[:, 8:-8, 8:-8, 0].mean() - 153) < 6  # 1 px to the right
        assert abs(levels[:, 8:-8, 8:-8, 1].mean() - 127.5) < 4
    stored = sum(path.stat().st_size for path in (tmp_path / "flow").rglob("*.mp4"))
    expected = {"clips": 4, "failed": 0, "pairs": 3 + 4 + 5 + 6, "bytes": stored}
    assert {name: result.metrics[name] for name in expected} == expected
    assert result.metrics["pairs_per_second"] > 0
    assert "4 clips, 0 failed, 18 pairs" in result.summary


def test_nothing_else_is_left(clips: Path, tmp_path: Path) -> None:
    extract_flow(clips=clips, params=FlowParams(**FAST), flow=tmp_path / "flow")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips", "flow"]
    assert sorted(path.name for path in (tmp_path / "flow").iterdir()) == ["flow.parquet", "flowset.json", "media"]


def test_media_may_lie_elsewhere(clips: Path, tmp_path: Path) -> None:
    params = FlowParams(**FAST, media_root=str(tmp_path / "volume"))
    extract_flow(clips=clips, params=params, flow=tmp_path / "flow")
    assert sorted(path.name for path in (tmp_path / "flow").iterdir()) == ["flow.parquet", "flowset.json"]
    assert FlowSet.load(tmp_path / "flow").locate("walk/0").is_relative_to(tmp_path / "volume")
    again = extract_flow(clips=clips, params=params, flow=tmp_path / "flow")
    assert again.metrics["pairs_per_second"] == 0  # all of it was there


def test_bad_clips_are_listed(clips: Path, tmp_path: Path) -> None:
    listed = ClipSet.load(clips)
    write_video(clips / "media" / "one.mp4", moving(1), fps=25)
    write_video(clips / "media" / "flat.mp4", np.full((4, 32, 32, 3), 77, np.uint8), fps=25)
    (clips / "media" / "cut.mp4").write_bytes((clips / "media" / "walk" / "3.mp4").read_bytes()[:300])
    like = listed.clips[0]
    extra = [
        dataclasses.replace(like, clip_id=name, path=f"{name}.mp4", frames=frames)
        for name, frames in (("one", 1), ("flat", 4), ("cut", 7))
    ]
    rejected = dataclasses.replace(like, clip_id="rejected", path="", status=Status.TRUNCATED, reason="cut")
    dataclasses.replace(listed, clips=(*listed.clips, *extra, rejected)).save(clips)

    result = extract_flow(clips=clips, params=FlowParams(**FAST), flow=tmp_path / "flow")
    assert (result.metrics["clips"], result.metrics["failed"]) == (5, 2)
    flow = FlowSet.load(tmp_path / "flow")
    assert flow.entries["one"].status is Status.SHORT
    assert "1 frame" in flow.entries["one"].reason
    assert flow.entries["cut"].status is Status.UNREADABLE
    assert "rejected" not in flow.entries
    assert (read_flow(flow.locate("flat")) == 128).all()


def test_no_good_clip_is_an_error_that_says_why(tmp_path: Path) -> None:
    clips = save_clips(tmp_path / "clips", {"one": moving(1)})
    with pytest.raises(KineflowError, match="one: 1 frame"):
        extract_flow(clips=clips, params=FlowParams(**FAST), flow=tmp_path / "flow")
    ClipSet((), (), str(clips / "media")).save(clips)
    with pytest.raises(KineflowError, match="no usable clip"):
        extract_flow(clips=clips, params=FlowParams(**FAST), flow=tmp_path / "flow")
    assert not (tmp_path / "flow").exists()


KILLED_AT_THE_THIRD_CLIP = """
import os, sys
from pathlib import Path
from components.extract_flow.params import FlowParams
from components.extract_flow.step import extract_flow
from kineflow.flow import extract
write, written = extract.write_flow, []
def dying(*given, **named):
    if len(written) == 2:
        os._exit(9)
    written.append(write(*given, **named))
extract.write_flow = dying
params = FlowParams(preset="fast", bound_px=5.0, workers=1, device="cpu")
extract_flow(clips=Path(sys.argv[1]), params=params, flow=Path(sys.argv[2]))
"""


def test_a_killed_run_leaves_no_output_and_the_next_goes_on(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", KILLED_AT_THE_THIRD_CLIP, str(clips), str(tmp_path / "flow")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 9
    assert not (tmp_path / "flow").exists()

    written = []
    writing = extract.write_flow
    monkeypatch.setattr(extract, "write_flow", lambda path, *rest, **named: (
        written.append(path), writing(path, *rest, **named)
    ))  # fmt: skip
    result = extract_flow(clips=clips, params=FlowParams(**FAST), flow=tmp_path / "flow")
    assert len(written) == 2
    assert result.metrics["clips"] == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips", "flow"]
    assert all(len(read_flow(FlowSet.load(tmp_path / "flow").locate(f"walk/{n}"))) == 3 + n for n in range(4))


def test_work_under_other_parameters_is_not_taken_up(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("kineflow.flow.extract.put_in_place", interrupt)
        with pytest.raises(KeyboardInterrupt):
            extract_flow(clips=clips, params=FlowParams(**FAST), flow=tmp_path / "flow")
    assert not (tmp_path / "flow").exists()
    other = extract_flow(clips=clips, params=FlowParams(**{**FAST, "bound_px": 9.0}), flow=tmp_path / "flow")
    assert other.metrics["pairs_per_second"] > 0
    assert len(list((tmp_path / "flow").rglob("*.mp4"))) == 4


def test_every_parameter_of_the_algorithm_can_be_given() -> None:
    given = {
        "tau": 0.2, "lambda_": 0.1, "theta": 0.2, "scales": 2, "scale_step": 0.5, "warps": 2, "epsilon": 0.1,
        "outer_iterations": 2, "inner_iterations": 3, "check_every": 4, "median": 3, "gamma": 1.0,
        "presmoothing": 0.8, "cubic_sharpness": -0.5, "border": "clamp",
    }  # fmt: skip
    assert set(given) == {field.name for field in dataclasses.fields(TVL1Params)}
    assert FlowParams(**given).overrides() == given
    assert FlowParams().overrides() == {}
    assert dataclasses.asdict(TVL1Params.preset("fast", **FlowParams(**given).overrides())) == given


@pytest.mark.parametrize(
    ("key", "value"),
    [("median", 4), ("tau", 0.5), ("scale_step", 1.0), ("bound_px", 0.0), ("device", "tpu"), ("preset", "slow"),
     ("media_root", "s3://bucket"), ("warp", 3)],
)  # fmt: skip
def test_impossible_parameters_are_named(key: str, value: object) -> None:
    with pytest.raises(KineflowError, match=f"flow.{key}"):
        parse_params(FlowParams, {key: value}, where="flow")


def test_a_missing_gpu_is_said_in_words(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(KineflowError, match="no device 'cuda'"):
        extract_flow(clips=clips, params=FlowParams(**{**FAST, "device": "cuda"}), flow=tmp_path / "flow")


def test_real_clips(shared_data: Path, tmp_path: Path) -> None:
    sources = sorted(path for path in (shared_data / "clips").iterdir() if path.suffix in (".avi", ".mp4"))
    assert len(sources) == 9
    videos = {}
    for path in sources:
        frames = [cv2.resize(frame, (80, 60), interpolation=cv2.INTER_AREA) for frame in iter_frames(path, stop=6)]
        videos[path.stem] = np.stack(frames)
    clips = save_clips(tmp_path / "clips", videos)
    result = extract_flow(clips=clips, params=FlowParams(**{**FAST, "preset": "capped"}), flow=tmp_path / "flow")
    assert (result.metrics["clips"], result.metrics["pairs"]) == (9, 45)
    flow = FlowSet.load(tmp_path / "flow")
    spread = [read_flow(flow.locate(clip_id)).std() for clip_id in videos]
    assert all(levels > 0.2 for levels in spread)  # something moves in every one
