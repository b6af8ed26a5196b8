"""The step ``extract_flow``, from a clip set to a flow set."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from components.extract_flow import extract_flow
from components.frontend.command import command
from components.frontend.inputs import local_inputs
from kineflow.flow.settings import FlowSettings
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import read_flow
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.quantise import dequantise
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.spec.tvl1 import TVL1Params, tvl1_params
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import iter_frames
from kineflow.video.encode import write_video

pytestmark = pytest.mark.slow

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
    result = extract_flow(clips=clips, params=FlowSettings(**FAST), flow=tmp_path / "flow")
    flow = FlowSet.load(tmp_path / "flow")
    assert flow.bound_px == 5.0
    assert flow.usable_ids() == {f"walk/{n}" for n in range(4)}
    assert flow.params["algorithm"] == "tvl1"
    assert flow.params["warps"] == tvl1_params("fast").warps
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
    extract_flow(clips=clips, params=FlowSettings(**FAST), flow=tmp_path / "flow")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips", "flow"]
    assert sorted(path.name for path in (tmp_path / "flow").iterdir()) == ["flow.parquet", "flowset.json", "media"]


def test_media_may_lie_elsewhere(clips: Path, tmp_path: Path) -> None:
    params = FlowSettings(**FAST, media_root=str(tmp_path / "volume"))
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

    result = extract_flow(clips=clips, params=FlowSettings(**FAST), flow=tmp_path / "flow")
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
        extract_flow(clips=clips, params=FlowSettings(**FAST), flow=tmp_path / "flow")
    ClipSet((), (), str(clips / "media")).save(clips)
    with pytest.raises(KineflowError, match="no usable clip"):
        extract_flow(clips=clips, params=FlowSettings(**FAST), flow=tmp_path / "flow")
    assert not (tmp_path / "flow").exists()


def files_below(folder: Path) -> dict[str, Path]:
    """Finished flow videos by their path."""
    return {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*.mp4") if not path.name.startswith(".")
    }


def start(clips: Path, flow: Path, **params: Any) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "components.extract_flow", "--clips", clips, "--flow", flow]
    return subprocess.Popen([*program, "--params", json.dumps({**FAST, **params})], cwd=ROOT, stderr=subprocess.PIPE)


def wait_for_files(process: subprocess.Popen[bytes], folder: Path, count: int) -> None:
    deadline = time.monotonic() + 300
    while process.poll() is None and len(files_below(folder)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("media", ["inside", "elsewhere"])
def test_a_run_may_be_killed_at_any_moment(clips: Path, tmp_path: Path, media: str) -> None:
    clips = save_clips(tmp_path / "many", {f"walk/{n}": moving(10, seed=n).repeat(4, axis=0) for n in range(9)})
    params = {"media_root": str(tmp_path / "volume")} if media == "elsewhere" else {}
    work = tmp_path / ("volume" if media == "elsewhere" else ".flow-work")
    extract_flow(clips=clips, params=FlowSettings(**FAST), flow=tmp_path / "expected")

    kept: dict[str, int] = {}
    for finished in (1, 5) if media == "elsewhere" else (3,):
        process = start(clips, tmp_path / "flow", **params)
        wait_for_files(process, work, finished)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not (tmp_path / "flow").exists()
        now = {name: path.stat().st_ino for name, path in files_below(work).items()}
        assert len(now) >= finished
        assert kept.items() <= now.items()  # none was written again
        kept = now

    result = extract_flow(clips=clips, params=FlowSettings(**FAST, **params), flow=tmp_path / "flow")
    assert result.metrics["clips"] == 9
    stored = Path(FlowSet.load(tmp_path / "flow").media_root)
    assert {path.stat().st_ino for path in files_below(stored).values()} >= set(kept.values())
    expected = files_below(tmp_path / "expected" / "media")
    assert {name: path.read_bytes() for name, path in files_below(stored).items()} == {
        name: path.read_bytes() for name, path in expected.items()
    }
    if media == "inside":
        assert {path.name for path in tmp_path.iterdir()} == {"clips", "many", "expected", "flow"}


def test_ctrl_c_stops_in_the_middle_of_a_clip(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 96, 96, 3), dtype=np.uint8)
    clips = save_clips(tmp_path / "clips", {"first": moving(3), "noise": noise})
    process = start(clips, tmp_path / "flow", preset="opencv")
    wait_for_files(process, tmp_path, 3)  # two clips, and the flow of the first
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=300)[1].decode()
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("interrupted: what was finished is kept")
    assert not (tmp_path / "flow").exists()
    assert not list(tmp_path.rglob(".*.partial.mp4"))


def test_work_under_other_parameters_is_not_taken_up(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("kineflow.sets.media.put_in_place", interrupt)
        with pytest.raises(KeyboardInterrupt):
            extract_flow(clips=clips, params=FlowSettings(**FAST), flow=tmp_path / "flow")
    assert not (tmp_path / "flow").exists()
    other = extract_flow(clips=clips, params=FlowSettings(**{**FAST, "bound_px": 9.0}), flow=tmp_path / "flow")
    assert other.metrics["pairs_per_second"] > 0
    assert len(list((tmp_path / "flow").rglob("*.mp4"))) == 4


def test_every_parameter_of_the_algorithm_can_be_given() -> None:
    given = {
        "tau": 0.2, "lambda_": 0.1, "theta": 0.2, "scales": 2, "scale_step": 0.5, "warps": 2, "epsilon": 0.1,
        "outer_iterations": 2, "inner_iterations": 3, "check_every": 4, "median": 3, "gamma": 1.0,
        "presmoothing": 0.8, "cubic_sharpness": -0.5, "border": "clamp",
    }  # fmt: skip
    assert set(given) == set(TVL1Params.model_fields)
    assert FlowSettings(preset="fast", **given).tvl1.model_dump() == given


@pytest.mark.parametrize(
    ("key", "value"),
    [("median", 4), ("tau", 0.5), ("scale_step", 1.0), ("bound_px", 0.0), ("device", "tpu"), ("device", "cpu,cuda:0"),
     ("preset", "slow"), ("media_root", "gs://bucket"), ("camera_motion", "gone"), ("warp", 3)],
)  # fmt: skip
def test_impossible_parameters_are_named(key: str, value: object) -> None:
    with pytest.raises(KineflowError, match=f"flow.{key}"):
        parse_params(FlowSettings, {key: value}, where="flow")


def test_a_missing_gpu_is_said_in_words(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(KineflowError, match="no device 'cuda:0'"):
        extract_flow(clips=clips, params=FlowSettings(**{**FAST, "device": "cuda"}), flow=tmp_path / "flow")


def test_a_solver_that_cannot_run_here_is_refused_before_any_work(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match=r"flow\.solver: the solver 'cluster' cannot: .*GPU"):
        extract_flow(clips=clips, params=FlowSettings(**FAST, solver="cluster"), flow=tmp_path / "flow")
    assert not list(tmp_path.glob("*flow*"))


def shard_of(clips: Path, folder: Path, shard: str, **params: Any) -> Path:
    extract_flow(
        clips=clips, params=FlowSettings(**FAST, **params), shard=shard, flow=folder / shard.replace("/", "-of-")
    )
    return folder / shard.replace("/", "-of-")


def test_splits_may_be_left_out_and_all_of_them(clips: Path, tmp_path: Path) -> None:
    for number, splits in enumerate(([], ["val"], ["train"])):
        params, flow = FlowSettings(**FAST, splits=splits), tmp_path / str(number)
        result = extract_flow(clips=clips, params=params, flow=flow)
        assert len(FlowSet.load(flow).usable_ids()) == result.metrics["clips"] == (4 if "train" in splits else 0)


def test_shards_do_the_whole(clips: Path, tmp_path: Path) -> None:
    extract_flow(clips=clips, params=FlowSettings(**FAST), flow=tmp_path / "whole")
    flows = [FlowSet.load(shard_of(clips, tmp_path, f"{index}/2")) for index in range(2)]
    whole = FlowSet.load(tmp_path / "whole")
    assert {**flows[0].entries, **flows[1].entries} == whole.entries
    assert not set(flows[0].entries) & set(flows[1].entries)
    for flow in flows:
        for clip_id in flow.entries:
            assert flow.locate(clip_id).read_bytes() == whole.locate(clip_id).read_bytes()


def test_shards_with_one_media_root_are_joined_by_a_run_of_the_whole(clips: Path, tmp_path: Path) -> None:
    volume = str(tmp_path / "volume")
    for index in range(3):
        shard_of(clips, tmp_path, f"{index}/3", media_root=volume)
    result = extract_flow(clips=clips, params=FlowSettings(**FAST, media_root=volume), flow=tmp_path / "flow")
    assert result.metrics["pairs_per_second"] == 0  # all of it was there
    assert FlowSet.load(tmp_path / "flow").usable_ids() == {f"walk/{n}" for n in range(4)}


def test_a_shard_may_have_no_good_clip(tmp_path: Path) -> None:
    clips = save_clips(tmp_path / "clips", {"one": moving(1), "two": moving(9)})
    assert [entry.status for entry in FlowSet.load(shard_of(clips, tmp_path, "1/2")).entries.values()] == [Status.SHORT]
    assert FlowSet.load(shard_of(clips, tmp_path, "2/3")).entries == {}


@pytest.mark.parametrize(("shard", "code"), [("3/3", 2), ("1/3", 0)])
def test_the_command_takes_a_shard(clips: Path, tmp_path: Path, shard: str, code: int) -> None:
    arguments = ["--clips", str(clips), "--flow", str(tmp_path / "flow"), "--params", json.dumps(FAST)]
    with pytest.raises(SystemExit) as ended:
        command(extract_flow, [*arguments, "--shard", shard])
    assert ended.value.code == code
    assert (tmp_path / "flow").exists() == (code == 0)
    if code == 0:
        assert 0 < len(FlowSet.load(tmp_path / "flow").entries) < 4


def test_flow_of_another_tool_is_indexed_and_not_computed(clips: Path, tmp_path: Path) -> None:
    for n in range(3):
        folder = tmp_path / "planes" / "walk" / f"{n}"
        folder.mkdir(parents=True)
        for field in range(3 + n):
            for axis, level in (("x", 200), ("y", 50)):
                plane = np.full((32, 32), level, np.uint8)
                cv2.imwrite(str(folder / f"flow_{axis}_{field + 1:05d}.jpg"), plane)
    params = FlowSettings(**FAST, existing=str(tmp_path / "planes"))
    result = extract_flow(clips=clips, params=params, flow=tmp_path / "flow")
    assert (result.metrics["clips"], result.metrics["failed"], result.metrics["pairs"]) == (3, 1, 3 + 4 + 5)
    flow = FlowSet.load(tmp_path / "flow")
    assert flow.bound_px == 5.0
    assert flow.locate("walk/1") == tmp_path / "planes" / "walk" / "1"
    assert flow.entries["walk/3"].status is Status.UNREADABLE
    assert sorted(path.name for path in (tmp_path / "flow").iterdir()) == ["flow.parquet", "flowset.json"]


def test_existing_flow_is_an_input_of_the_run(tmp_path: Path) -> None:
    assert local_inputs(FlowSettings, {"existing": "planes"}) == ["planes"]


def test_a_pan_has_no_warped_flow(tmp_path: Path) -> None:
    """Motion of the whole picture is the camera's."""
    world = (
        np.random.default_rng(0).integers(0, 255, (30, 40, 1)).astype(np.uint8).repeat(8, 0).repeat(8, 1).repeat(3, 2)
    )
    world = cv2.GaussianBlur(world, (0, 0), 2)
    clips = save_clips(tmp_path / "clips", {"pan": np.stack([world[:160, 60 - 2 * t : 252 - 2 * t] for t in range(3)])})
    mean_u = {}
    for motion in ("kept", "removed"):
        params = FlowSettings(**{**FAST, "preset": "capped"}, camera_motion=motion)
        extract_flow(clips=clips, params=params, flow=tmp_path / motion)
        flow = FlowSet.load(tmp_path / motion)
        assert flow.params["camera_motion"] == motion
        mean_u[motion] = dequantise(read_flow(flow.locate("pan")), 5.0)[:, 16:-16, 16:-16, 0].mean()
    assert abs(mean_u["kept"] - 2) < 0.1
    assert abs(mean_u["removed"]) < 0.1


def test_real_clips(shared_data: Path, tmp_path: Path) -> None:
    sources = sorted(path for path in (shared_data / "clips").iterdir() if path.suffix in (".avi", ".mp4"))
    assert len(sources) == 9
    videos = {}
    for path in sources:
        frames = [cv2.resize(frame, (80, 60), interpolation=cv2.INTER_AREA) for frame in iter_frames(path, stop=6)]
        videos[path.stem] = np.stack(frames)
    clips = save_clips(tmp_path / "clips", videos)
    result = extract_flow(clips=clips, params=FlowSettings(**{**FAST, "preset": "capped"}), flow=tmp_path / "flow")
    assert (result.metrics["clips"], result.metrics["pairs"]) == (9, 45)
    flow = FlowSet.load(tmp_path / "flow")
    spread = [read_flow(flow.locate(clip_id)).std() for clip_id in videos]
    assert all(levels > 0.2 for levels in spread)  # something moves in every one
