"""Flow of whole clip sets: batches across clips, several devices, resuming, failures."""

from __future__ import annotations

import dataclasses
import errno
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import pytest
import torch
from torch import Tensor

from kineflow.flow.extraction import decoding, encoding, engine, solving
from kineflow.flow.extraction.engine import extract_set
from kineflow.flow.extraction.settings import ExtractSettings
from kineflow.flow.tvl1 import tvl1_flow
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import read_flow
from kineflow.sets.indexed import MissingMediaError
from kineflow.spec.quantise import quantise
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.spec.tvl1 import PRESETS
from kineflow.storage.disk import full_disk
from kineflow.storage.errors import OUT_OF_SIGHT, KineflowError
from kineflow.storage.media import digest_of
from kineflow.video.decode import iter_luma, read_frames
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
    """Levels [T - 1, H, W, 2] of one clip, by hand."""
    frames = torch.from_numpy(read_frames(clips.locate(clip), pixel_format="gray"))
    flow = tvl1_flow(frames[:-1], frames[1:], PRESETS["fast"])
    return quantise(flow.permute(0, 2, 3, 1).numpy(), BOUND_PX)


def stored_files(media: Path) -> dict[str, bytes]:
    return {str(path.relative_to(media)): path.read_bytes() for path in media.rglob("*") if path.is_file()}


@pytest.mark.slow
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


def test_results_do_not_depend_on_devices_and_threads(clips: ClipSet, tmp_path: Path) -> None:
    for name, devices, workers in (("one", ("cpu",), 1), ("many", ("cpu",), 3), ("two", ("cpu", "cpu"), 2)):
        extract_set(clips, clips.clips, tmp_path / name, dataclasses.replace(FAST, devices=devices, workers=workers))
    one = stored_files(tmp_path / "one")
    assert len(one) == len(clips.clips)
    assert one == stored_files(tmp_path / "many") == stored_files(tmp_path / "two")


def test_what_it_tells_of_the_work(clips: ClipSet, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="kineflow"):
        done = extract_set(clips, clips.clips, tmp_path / "flow", FAST)
    assert 0 < done.solver_busy_share <= 1
    assert set(done.cpu_seconds) == {"decode", "fill", "solve", "encode"}
    assert all(seconds > 0 for seconds in done.cpu_seconds.values())
    assert "flow: 24/24" in caplog.text
    assert "pairs/s" in caplog.text
    assert "solvers busy" in caplog.text


def test_the_busy_share_is_that_of_the_time_in_which_it_solves(
    clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(first: Tensor, *_: Any, **__: Any) -> Tensor:
        time.sleep(0.05)
        return torch.zeros(len(first), 2, *first.shape[1:])

    monkeypatch.setattr(solving, "tvl1_flow", slow)
    busy = extract_set(clips, clips.clips, tmp_path / "slow", FAST).solver_busy_share
    monkeypatch.setattr(solving, "tvl1_flow", lambda first, *_, **__: torch.zeros(len(first), 2, *first.shape[1:]))
    assert busy > 2 * extract_set(clips, clips.clips, tmp_path / "quick", FAST).solver_busy_share


def test_batches_are_filled_across_clips(clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def counting(first: Tensor, *others: Any, **named: Any) -> Tensor:
        sizes.append((first.shape[1], len(first)))
        return tvl1_flow(first, *others, **named)

    monkeypatch.setattr(solving, "tvl1_flow", counting)
    extract_set(clips, clips.clips, tmp_path / "flow", FAST)
    # 1 + 3 + 5 + 7 + 1 + 3 pairs of height 32, then 4 of height 48
    assert sorted(sizes) == [(32, 4)] * 5 + [(48, 4)]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that are decoded and not yet encoded, at the most, for a clip of 100 and one of 400 frames."""
    monkeypatch.setattr(decoding, "_CHUNK_BYTES", 4 * 16 * 16)
    monkeypatch.setattr(engine, "_AHEAD_BYTES_A_CODER", 8 * 4 * 16 * 16)
    alive = most = 0

    def counting(path: Path) -> Iterator[np.ndarray]:
        nonlocal alive, most
        for frame in iter_luma(path):
            alive += 1
            most = max(most, alive)
            yield frame

    def slow(path: Path, fields: Iterable[np.ndarray], **_: Any) -> None:
        nonlocal alive
        for _field in fields:
            time.sleep(0.001)
            alive -= 1
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    monkeypatch.setattr(decoding, "iter_luma", counting)
    monkeypatch.setattr(encoding, "write_flow", slow)
    monkeypatch.setattr(solving, "tvl1_flow", lambda first, *_, **__: torch.zeros(len(first), 2, *first.shape[1:]))
    highest = []
    for frames in (100, 400):
        clips = clip_set(tmp_path / str(frames), {"long": moving(2, (16, 16)).repeat(frames // 2, axis=0)})
        alive = most = 0
        extract_set(clips, clips.clips, tmp_path / f"flow-{frames}", FAST)
        highest.append(most)
    assert highest[1] <= highest[0] + 8 < 100


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
    bad = [clip_row(name, 4, (32, 40)) for name in ("text", "empty", "short", "../escape")]
    bad.append(clip_row("one", 1, (32, 40)))
    all_clips = ClipSet(clips.classes, (*clips.clips, *bad), clips.media_root)
    entries = {e.clip_id: e for e in extract_set(all_clips, all_clips.clips, tmp_path / "flow", FAST).entries}
    failed = {clip_id: entry for clip_id, entry in entries.items() if entry.status is not Status.OK}
    assert {clip_id: entry.status for clip_id, entry in failed.items()} == {
        "text": Status.UNREADABLE, "empty": Status.UNREADABLE,
        "short": Status.UNREADABLE, "../escape": Status.UNREADABLE, "one": Status.SHORT,
    }  # fmt: skip
    assert all(entry.reason and not entry.path for entry in failed.values())
    assert "ends after 3 frames, the manifest says 4" in failed["short"].reason
    assert "outside" in failed["../escape"].reason
    assert len(entries) - len(failed) == len(clips.clips)


def test_a_clip_whose_file_is_gone_is_no_fault_of_the_clip(clips: ClipSet, tmp_path: Path) -> None:
    gone = clips.clips[1]
    (Path(clips.media_root) / gone.path).unlink()
    with pytest.raises(MissingMediaError, match="gone") as caught:
        extract_set(clips, clips.clips, tmp_path / "flow", FAST)
    assert gone.path in str(caught.value)
    assert "ingest" in str(caught.value.remedy)


def test_clips_of_the_same_bytes_share_their_flow(clips: ClipSet, tmp_path: Path, decoded: list[str]) -> None:
    twin = dataclasses.replace(clips.clips[0], clip_id="z/twin", path="twin.mp4")
    (Path(clips.media_root) / "twin.mp4").write_bytes((Path(clips.media_root) / clips.clips[0].path).read_bytes())
    done = extract_set(clips, [clips.clips[0], twin], tmp_path / "flow", FAST)
    first, second = done.entries
    assert (first.clip_id, second.clip_id) == (clips.clips[0].clip_id, "z/twin")
    assert first.path == second.path
    assert done.pairs == first.fields == second.fields
    assert len(decoded) == 1


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the clips that have been decoded."""
    names: list[str] = []

    def reading(path: Path) -> Iterator[np.ndarray]:
        names.append(path.stem)
        return iter_luma(path)

    monkeypatch.setattr(decoding, "iter_luma", reading)
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


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_ends_cleanly_and_goes_on_later(
    clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str], interruption: type
) -> None:
    writing, written = encoding.write_flow, []

    def failing(path: Path, fields: Iterable[np.ndarray], **how: Any) -> None:
        if len(written) == 3:
            raise interruption
        writing(path, fields, **how)
        written.append(path)

    threads = torch.get_num_threads(), threading.active_count()
    with monkeypatch.context() as patched:
        patched.setattr(encoding, "write_flow", failing)
        with pytest.raises(interruption):
            extract_set(clips, clips.clips, tmp_path / "flow", FAST)
    assert (torch.get_num_threads(), threading.active_count()) == threads
    assert sorted(path for path in (tmp_path / "flow").rglob("*") if path.is_file()) == sorted(
        written
    )  # whole ones only

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
    monkeypatch.setattr(engine, "track", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract_set(clips, clips.clips, tmp_path / "flow", FAST)
    assert threading.active_count() == threads


def write_raw(
    path: Path,
    pictures: list[np.ndarray],
    *,
    source: str,
    pixel_format: str,
    codec: str = "ffv1",
    container_format: str = "matroska",
) -> None:
    """A video of any size and depth."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=container_format) as container:
        height, width = pictures[0].shape[:2]
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, source)))
        container.mux(stream.encode())


def extract_one(folder: Path, frames: int, size: tuple[int, int], **changes: Any) -> tuple[Any, np.ndarray | None]:
    """Entry and levels of the clip ``folder/clips/odd.mp4``."""
    clips = ClipSet(("x",), (clip_row("odd", frames, size),), str(folder / "clips"))
    (entry,) = extract_set(clips, clips.clips, folder / "flow", dataclasses.replace(FAST, **changes)).entries
    return entry, read_flow(folder / "flow" / entry.path) if entry.path else None


@pytest.mark.parametrize("size", [(33, 41), (17, 16), (1, 7), (16, 2), (5, 3)])
def test_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = list(np.random.default_rng(0).integers(0, 255, (3, *size), dtype=np.uint8))
    write_raw(tmp_path / "clips" / "odd.mp4", frames, source="gray", pixel_format="gray")
    entry, levels = extract_one(tmp_path, 3, size)
    assert (entry.status, levels.shape) == (Status.OK, (2, *size, 2))


def test_16_bit_grey_video(tmp_path: Path) -> None:
    frames = moving(4)
    wide = [frame.astype(np.uint16) * 257 for frame in frames]
    write_raw(tmp_path / "clips" / "odd.mp4", wide, source="gray16le", pixel_format="gray16le")
    entry, levels = extract_one(tmp_path, 4, (32, 40))
    assert entry.status is Status.OK
    write_raw(tmp_path / "grey" / "clips" / "odd.mp4", list(frames), source="gray", pixel_format="gray")
    plain = extract_one(tmp_path / "grey", 4, (32, 40))[1]
    assert np.abs(levels.astype(int) - plain).max() <= 2


def test_motion_beyond_the_bound_is_clipped(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (4, 32, 40), dtype=np.uint8)
    write_raw(tmp_path / "clips" / "odd.mp4", list(noise), source="gray", pixel_format="gray")
    entry, levels = extract_one(tmp_path, 4, (32, 40), bound_px=0.5)
    assert entry.status is Status.OK
    assert {0, 255} <= set(np.unique(levels))


def test_a_change_of_size_in_mid_clip_fails_that_clip_only(clips: ClipSet, tmp_path: Path) -> None:
    parts = b""
    for height in (32, 48):  # an MPEG transport stream brings the size along with every key frame
        write_raw(
            tmp_path / "part.ts", list(moving(6, (height, 32))),
            source="gray", pixel_format="yuv420p", codec="libx264", container_format="mpegts",
        )  # fmt: skip
        parts += (tmp_path / "part.ts").read_bytes()
    (Path(clips.media_root) / "odd.mp4").write_bytes(parts)
    mixed = dataclasses.replace(clips, clips=(*clips.clips, clip_row("odd", 12, (32, 32))))
    entries = extract_set(mixed, mixed.clips, tmp_path / "flow", FAST).entries
    (bad,) = [entry for entry in entries if entry.status is not Status.OK]
    assert bad.clip_id == "odd"
    assert "frame 6 is 32x48" in bad.reason
    assert len(stored_files(tmp_path / "flow")) == len(clips.clips)


def test_damage_in_mid_clip_fails_that_clip_only(
    clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the damage shows, the pairs before it are being solved and encoded already."""

    def damaged(path: Path) -> Iterator[np.ndarray]:
        for number, frame in enumerate(iter_luma(path)):
            if path.stem == "3" and number == 6:
                raise KineflowError("broken off")
            yield frame

    monkeypatch.setattr(decoding, "iter_luma", damaged)
    monkeypatch.setattr(decoding, "_CHUNK_BYTES", 1)
    entries = extract_set(clips, clips.clips, tmp_path / "flow", FAST).entries
    assert {entry.clip_id: entry.reason for entry in entries if entry.reason} == {"c/3": "broken off"}
    assert len(stored_files(tmp_path / "flow")) == len(clips.clips) - 1


@pytest.mark.parametrize("after_fields", [0, 2])
def test_a_clip_that_cannot_be_encoded_is_listed(
    clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_fields: int
) -> None:
    writing = encoding.write_flow
    refused = FAST.key(digest_of(clips.locate(next(clip for clip in clips.clips if clip.clip_id == "c/3"))))

    def failing(path: Path, fields: Iterable[np.ndarray], **how: Any) -> None:
        if path.stem != refused:
            return writing(path, fields, **how)
        for _ in zip(range(after_fields), fields, strict=False):
            pass
        raise av.error.ExternalError(0, "x264 refuses")

    monkeypatch.setattr(encoding, "write_flow", failing)
    monkeypatch.setattr(engine, "_AHEAD_BYTES_A_CODER", 1)  # what is not freed stops the rest
    entries = extract_set(clips, clips.clips, tmp_path / "flow", FAST).entries
    (bad,) = [entry for entry in entries if entry.status is not Status.OK]
    assert bad.clip_id == "c/3"
    assert "could not be encoded" in bad.reason
    assert "x264 refuses" in bad.reason


def test_a_full_disk_ends_the_run(clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: Any, **__: Any) -> None:
        raise full_disk(path)

    monkeypatch.setattr(encoding, "write_flow", full)
    with pytest.raises(KineflowError, match="no space left"):
        extract_set(clips, clips.clips, tmp_path / "flow", FAST)


def test_storage_out_of_reach_ends_the_run_and_is_no_mistake(
    clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "write_flow", lambda *_, **__: av.error.err_check(-errno.EIO))
    with pytest.raises(KineflowError, match="not writable") as raised:
        extract_set(clips, clips.clips, tmp_path / "flow", FAST)
    assert raised.value.exit_code == OUT_OF_SIGHT


def test_a_folder_that_cannot_be_written_to_ends_the_run(clips: ClipSet, tmp_path: Path) -> None:
    (tmp_path / "flow").touch()  # root may write anywhere, but not below a file
    with pytest.raises(KineflowError, match="not writable"):
        extract_set(clips, clips.clips, tmp_path / "flow", FAST)


def test_after_an_interruption_nothing_more_is_solved(
    clips: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    solved = []

    def slow(first: Tensor, *_: Any, **__: Any) -> Tensor:
        begun.set()
        time.sleep(0.3)
        solved.append(len(first))
        return torch.zeros(len(first), 2, *first.shape[1:])

    def interrupted(items: Iterator[Any], *, what: str, **_: Any) -> Iterator[Any]:
        if what == "flow":
            begun.wait()
            raise KeyboardInterrupt
        return items

    monkeypatch.setattr(solving, "tvl1_flow", slow)
    monkeypatch.setattr(engine, "track", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract_set(clips, clips.clips, tmp_path / "flow", dataclasses.replace(FAST, workers=2))
    assert len(solved) <= 2  # what each worker was at


def test_two_runs_below_one_media_root(clips: ClipSet, tmp_path: Path) -> None:
    """At the same time, with the same clips to do."""
    entries: list[Any] = []
    runs = [
        threading.Thread(
            target=lambda: entries.append(extract_set(clips, clips.clips, tmp_path / "flow", FAST).entries)
        )
        for _ in range(2)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert entries[0] == entries[1]
    assert {entry.status for entry in entries[0]} == {Status.OK}
    extract_set(clips, clips.clips, tmp_path / "alone", FAST)
    assert stored_files(tmp_path / "flow") == stored_files(tmp_path / "alone")


def test_what_was_left_half_written_long_ago_is_removed(clips: ClipSet, tmp_path: Path) -> None:
    finished = tmp_path / "flow" / extract_set(clips, clips.clips, tmp_path / "flow", FAST).entries[0].path
    finished.unlink()
    old, new = (finished.with_name(f".{name}-x.partial.mp4") for name in ("old", "new"))
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    extract_set(clips, clips.clips, tmp_path / "flow", FAST)
    assert not old.exists()
    assert new.exists()  # another process may be at it
