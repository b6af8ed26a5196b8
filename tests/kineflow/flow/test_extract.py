"""Flow of whole clip sets: batches across clips, resuming, failures, shards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kineflow.data.manifest import Clip, ClipSet, Split, Status
from kineflow.errors import KineflowError
from kineflow.flow import extract
from kineflow.flow.extract import ExtractSettings, extract_clip_flow, extract_set, put_in_place, shard
from kineflow.flow.quantise import dequantise
from kineflow.flow.store import read_flow
from kineflow.flow.tvl1 import PRESETS
from kineflow.video.decode import read_frames
from kineflow.video.encode import write_video

BOUND_PX = 5.0
FAST = ExtractSettings(tvl1=PRESETS["fast"], bound_px=BOUND_PX, crf=0, batch_pairs=4)


def moving(frames: int, size: tuple[int, int] = (32, 40), speed_px: int = 1, seed: int = 0) -> np.ndarray:
    """uint8 grey [T, H, W]: a smooth texture that moves right."""
    rng = np.random.default_rng(seed)
    world = rng.integers(0, 255, (size[0] // 4, 60)).astype(np.float32).repeat(4, 0).repeat(4, 1)
    world = sum(np.roll(world, (dy, dx), (0, 1)) for dy in range(-2, 3) for dx in range(-2, 3)) / 25
    start = 100
    return np.stack(
        [world[: size[0], start - t * speed_px : start - t * speed_px + size[1]] for t in range(frames)]
    ).astype(np.uint8)


def clip_row(name: str, frames: int, size: tuple[int, int]) -> Clip:
    return Clip(name, f"{name}.mp4", "x", name, Split.TRAIN, frames, 25.0, size[1], size[0], 0, "", Status.OK, "", "")


def clip_set(folder: Path, videos: dict[str, np.ndarray]) -> ClipSet:
    rows = []
    for name, frames in videos.items():
        write_video(folder / f"{name}.mp4", frames, fps=25, crf=4, source_format="gray")
        rows.append(clip_row(name, len(frames), frames.shape[1:]))
    return ClipSet(("x",), tuple(rows), str(folder))


@pytest.fixture
def clips(tmp_path: Path) -> ClipSet:
    """Clips of 2 to 8 frames and two sizes, so that batches of 4 pairs begin and end inside clips."""
    videos = {f"c/{n}": moving(2 + n % 4 * 2, seed=n) for n in range(6)}
    videos["c/large"] = moving(5, size=(48, 40))
    return clip_set(tmp_path / "clips", videos)


def alone(clips: ClipSet, clip: Clip) -> np.ndarray:
    frames = read_frames(clips.locate(clip), pixel_format="gray")
    return extract_clip_flow(frames, PRESETS["fast"], bound_px=BOUND_PX)


def test_flow_of_a_clip_is_its_motion() -> None:
    levels = extract_clip_flow(moving(6), PRESETS["capped"], bound_px=BOUND_PX)
    assert levels.shape == (5, 32, 40, 2)
    assert levels.dtype == np.uint8
    u, v = np.moveaxis(dequantise(levels, BOUND_PX)[:, 8:-8, 8:-8], -1, 0)
    assert abs(u.mean() - 1) < 0.1
    assert abs(v.mean()) < 0.1


@pytest.mark.parametrize("batch_pairs", [1, 2, 5, 100])
def test_batches_of_a_clip_do_not_matter(batch_pairs: int) -> None:
    frames = moving(6)
    whole = extract_clip_flow(frames, PRESETS["fast"], bound_px=BOUND_PX)
    parts = extract_clip_flow(frames, PRESETS["fast"], bound_px=BOUND_PX, batch_pairs=batch_pairs)
    assert np.abs(whole.astype(int) - parts).max() <= 1


def test_one_frame_has_no_flow() -> None:
    with pytest.raises(KineflowError, match="two frames"):
        extract_clip_flow(moving(1), PRESETS["fast"], bound_px=BOUND_PX)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_pairs", [1, 4, 1000])
def test_each_clip_gets_its_own_flow(clips: ClipSet, tmp_path: Path, workers: int, batch_pairs: int) -> None:
    settings = ExtractSettings(tvl1=PRESETS["fast"], bound_px=BOUND_PX, crf=0, batch_pairs=batch_pairs, workers=workers)
    done = extract_set(clips, clips.clips, tmp_path / "flow", settings)
    assert [entry.clip_id for entry in done.entries] == sorted(clip.clip_id for clip in clips.clips)
    assert done.pairs == sum(clip.frames - 1 for clip in clips.clips)
    assert done.pairs_per_second > 0
    for clip, entry in zip(sorted(clips.clips, key=lambda clip: clip.clip_id), done.entries, strict=True):
        assert (entry.status, entry.fields, entry.width, entry.height) == (
            Status.OK, clip.frames - 1, clip.width, clip.height,
        )  # fmt: skip
        stored = read_flow(tmp_path / "flow" / entry.path)
        assert stored.shape == (entry.fields, entry.height, entry.width, 2)
        assert np.abs(stored.astype(int) - alone(clips, clip)).max() <= 1


def test_batches_are_filled_across_clips(clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    solve = extract._solve

    def counting(first: np.ndarray, *others: Any) -> np.ndarray:
        sizes.append((first.shape[1], len(first)))
        return solve(first, *others)

    monkeypatch.setattr(extract, "_solve", counting)
    extract_set(clips, clips.clips, tmp_path / "flow", FAST)
    # 1 + 3 + 5 + 7 + 1 + 3 pairs of height 32, then 4 of height 48
    assert sorted(sizes) == [(32, 4)] * 5 + [(48, 4)]


def test_a_flat_clip_has_no_motion(tmp_path: Path) -> None:
    clips = clip_set(tmp_path / "clips", {"flat": np.full((4, 32, 32), 90, np.uint8)})
    (entry,) = extract_set(clips, clips.clips, tmp_path / "flow", FAST).entries
    assert (read_flow(tmp_path / "flow" / entry.path) == 128).all()


def test_failures_are_listed_and_the_rest_goes_on(clips: ClipSet, tmp_path: Path) -> None:
    root = Path(clips.media_root)
    (root / "text.mp4").write_text("not a video")
    (root / "empty.mp4").touch()
    write_video(root / "one.mp4", moving(1), fps=25, source_format="gray")
    write_video(root / "short.mp4", moving(3), fps=25, source_format="gray")
    bad = [clip_row(name, 4, (32, 40)) for name in ("text", "empty", "absent", "short", "../escape")]
    bad.append(clip_row("one", 1, (32, 40)))
    all_clips = ClipSet(clips.classes, (*clips.clips, *bad), clips.media_root)
    entries = {e.clip_id: e for e in extract_set(all_clips, all_clips.clips, tmp_path / "flow", FAST).entries}
    failed = {clip_id: entry for clip_id, entry in entries.items() if entry.status is not Status.OK}
    assert {clip_id: entry.status for clip_id, entry in failed.items()} == {
        "text": Status.UNREADABLE, "empty": Status.UNREADABLE, "absent": Status.UNREADABLE,
        "short": Status.UNREADABLE, "../escape": Status.UNREADABLE, "one": Status.SHORT,
    }  # fmt: skip
    assert all(entry.reason and not entry.path for entry in failed.values())
    assert "(3, 32, 40)" in failed["short"].reason
    assert "outside" in failed["../escape"].reason
    assert len(entries) - len(failed) == len(clips.clips)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the clips that have been decoded."""
    names: list[str] = []

    def reading(path: Path, **how: Any) -> np.ndarray:
        names.append(path.stem)
        return read_frames(path, **how)

    monkeypatch.setattr(extract, "read_frames", reading)
    return names


def test_finished_clips_are_not_done_again(clips: ClipSet, tmp_path: Path, decoded: list[str]) -> None:
    first = extract_set(clips, clips.clips, tmp_path / "flow", FAST)
    assert sorted(decoded) == sorted(Path(clip.path).stem for clip in clips.clips)
    decoded.clear()
    second = extract_set(clips, clips.clips, tmp_path / "flow", FAST)
    assert decoded == []
    assert second.entries == first.entries
    assert (second.pairs, second.pairs_per_second) == (0, 0)


def test_other_parameters_or_other_bytes_are_done_again(clips: ClipSet, tmp_path: Path, decoded: list[str]) -> None:
    extract_set(clips, clips.clips, tmp_path / "flow", FAST)
    decoded.clear()
    changed = clips.clips[0]
    write_video(clips.locate(changed), moving(changed.frames, seed=99), fps=25, source_format="gray")
    extract_set(clips, clips.clips, tmp_path / "flow", FAST)
    assert decoded == [Path(changed.path).stem]
    decoded.clear()
    other = ExtractSettings(tvl1=PRESETS["fast"], bound_px=2 * BOUND_PX, crf=0)
    extract_set(clips, clips.clips, tmp_path / "flow", other)
    assert len(decoded) == len(clips.clips)


def test_batches_threads_and_device_are_not_part_of_the_key() -> None:
    other = ExtractSettings(tvl1=PRESETS["fast"], bound_px=BOUND_PX, crf=0, batch_pairs=99, workers=7, device="cuda")
    assert other.key("a") == FAST.key("a") != FAST.key("b")


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_ends_cleanly_and_goes_on_later(
    clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str], interruption: type
) -> None:
    writing, written = extract.write_flow, []

    def failing(path: Path, levels: np.ndarray, **how: Any) -> None:
        if len(written) == 3:
            raise interruption
        writing(path, levels, **how)
        written.append(path)

    threads = torch.get_num_threads(), threading.active_count()
    with monkeypatch.context() as patched:
        patched.setattr(extract, "write_flow", failing)
        with pytest.raises(interruption):
            extract_set(clips, clips.clips, tmp_path / "flow", FAST)
    assert (torch.get_num_threads(), threading.active_count()) == threads
    assert sorted((tmp_path / "flow").rglob("*.mp4")) == sorted(written)  # whole files only

    decoded.clear()
    done = extract_set(clips, clips.clips, tmp_path / "flow", FAST)
    assert len(decoded) == len(clips.clips) - 3
    assert all(entry.status is Status.OK for entry in done.entries)


def test_an_interruption_of_the_reader_stops_the_threads(
    clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(items: Iterator[Any], *, what: str, **_: Any) -> Iterator[Any]:
        for n, item in enumerate(items):
            if what == "flow" and n == 2:
                raise KeyboardInterrupt
            yield item

    threads = threading.active_count()
    monkeypatch.setattr(extract, "track", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract_set(clips, clips.clips, tmp_path / "flow", FAST)
    assert threading.active_count() == threads


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_each_clip_belongs_to_one_shard(clips: ClipSet, count: int) -> None:
    shards = [shard(reversed(clips.clips), index, count) for index in range(count)]
    together = [clip.clip_id for part in shards for clip in part]
    assert sorted(together) == sorted(clip.clip_id for clip in clips.clips)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize(("index", "count"), [(-1, 2), (2, 2), (0, 0)])
def test_there_is_no_such_shard(clips: ClipSet, index: int, count: int) -> None:
    with pytest.raises(KineflowError, match="shard"):
        shard(clips.clips, index, count)


def test_putting_in_place(clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = extract_set(clips, clips.clips, tmp_path / "work", FAST)
    size = sum(path.stat().st_size for path in (tmp_path / "work").rglob("*.mp4"))
    assert put_in_place(done.entries, tmp_path / "work", tmp_path / "linked") == size
    assert put_in_place(done.entries, tmp_path / "work", tmp_path / "work") == size

    def refuse(*_: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert put_in_place(done.entries, tmp_path / "work", tmp_path / "copied") == size
    for entry in done.entries:
        original = (tmp_path / "work" / entry.path).read_bytes()
        assert (tmp_path / "linked" / entry.path).read_bytes() == original
        assert (tmp_path / "copied" / entry.path).read_bytes() == original


def test_too_large_a_batch_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(extract, "tvl1_flow", full)
    with pytest.raises(KineflowError, match="5 pairs of 40x32") as caught:
        extract_clip_flow(moving(6), PRESETS["fast"], bound_px=BOUND_PX)
    assert "batch_pairs" in str(caught.value)
