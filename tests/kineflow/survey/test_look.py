"""A look at a clip: what is seen of a sound one, and that nothing a file holds ends it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kineflow.data.layouts.rows import ListedClip
from kineflow.data.source import LocalSource
from kineflow.spec.split import Split
from kineflow.survey.facts import Look
from kineflow.survey.found import find_clips
from kineflow.survey.look import PAIRS, LookTask, look_at, read_headers, sampled, tasks_of
from kineflow.survey.look_at_all import look_at_all
from kineflow.video.encode import write_video


def film(path: Path, *, seconds: float = 2.0, fps: int = 10, size: tuple[int, int] = (64, 96)) -> Path:
    """Grey noise that gets brighter and moves to the right."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 80, (*size, 3)).astype(np.uint8)
    frames = [np.roll(noise, n, axis=1) + np.uint8(n * 100 / (seconds * fps)) for n in range(round(seconds * fps))]
    write_video(path, frames, fps=fps, crf=18, gop=12)
    return path


def listed(name: str, **values: float) -> ListedClip:
    return ListedClip(name, "a", Split.TRAIN, name, "list:1", **values)  # type: ignore[arg-type]


def test_a_sound_clip_is_seen(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4")
    look = look_at(LookTask(0, "a.mp4", listed("a.mp4"), pair_fps=5, pair_px=32), LocalSource(tmp_path))
    assert look.is_usable
    assert look.remark == ""
    assert look.header is not None
    assert (look.header.fps, look.header.width, look.header.height) == (10, 96, 64)
    assert look.header.seconds == pytest.approx(2.0)
    assert look.pairs.shape == (PAIRS, 2, 32, 48)
    assert look.brightness == pytest.approx(40 + 50, abs=8)
    assert look.picture.startswith(b"\xff\xd8")


def test_a_part_is_looked_at_where_it_is(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", seconds=6)
    source = LocalSource(tmp_path)
    first, last = (
        look_at(LookTask(0, "a.mp4", part), source)
        for part in (listed("a.mp4", end_sec=1.0), listed("a.mp4", start_frame=50, end_frame=60))
    )
    assert first.brightness + 50 < last.brightness
    assert last.header is not None
    assert last.header.seconds == pytest.approx(1.0)


def test_frames_of_a_file_without_a_rate_are_looked_at_too(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", seconds=0.05, fps=600)  # such a rate is a unit of time
    look = look_at(LookTask(0, "a.mp4", listed("a.mp4", start_frame=0, end_frame=10)), LocalSource(tmp_path))
    assert look.is_usable
    assert "no frame rate" in look.remark


@pytest.mark.parametrize("content", [b"", b"no video", b"\0" * 4000, b"half"])
def test_a_file_that_is_no_video_is_a_problem_and_no_error(content: bytes, tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole[: len(whole) // 3] if content == b"half" else content)
    look = look_at(LookTask(0, "a.mp4", listed("a.mp4")), LocalSource(tmp_path))
    assert not look.is_usable
    assert look.problem


def test_a_still_film_of_one_colour_is_odd(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 20, fps=10, crf=18, gop=12)
    assert "one colour" in look_at(LookTask(0, "a.mp4", listed("a.mp4")), LocalSource(tmp_path)).remark


@pytest.mark.slow
def test_all_are_looked_at_in_their_order_and_a_missing_one_is_a_problem(tmp_path: Path) -> None:
    for name in ("a.mp4", "c.mp4"):
        film(tmp_path / name, seconds=1 if name == "a.mp4" else 2)
    clips = [listed(name) for name in ("c.mp4", "b.mp4", "a.mp4")]
    looks = look_at_all(
        tasks_of(clips, sample=frozenset({0}), pair_fps=5, pair_px=32), LocalSource(tmp_path), workers=2
    )
    assert [look.header.seconds if look.header else 0 for look in looks] == pytest.approx([2, 0, 1])
    assert [len(look.pairs) for look in looks] == [PAIRS, 0, 0]
    assert "no such file" in looks[1].problem


def crash_at_two(task: LookTask) -> Look:
    if task.number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return Look(remark=str(task.number))


@pytest.mark.slow
def test_a_file_that_kills_its_process_is_named_and_the_others_are_seen(tmp_path: Path) -> None:
    clips = [listed(f"{n}.mp4") for n in range(5)]
    tasks = tasks_of(clips, sample=frozenset(), pair_fps=5, pair_px=32)
    looks = look_at_all(tasks, LocalSource(tmp_path), workers=2, look=crash_at_two)
    assert [look.remark for look in looks] == ["0", "1", "", "3", "4"]
    assert "crashes" in looks[2].problem


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an S3 server in this process, which the environment names, with a bucket ``videos``."""
    pytest.importorskip("moto", reason="the S3 tests need moto[server]")
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}:{port}")
    client = boto3.client("s3")
    client.create_bucket(Bucket="looked-at")
    yield client
    server.stop()


@pytest.mark.slow
def test_videos_on_s3_are_looked_at_where_they_are(bucket: Any, tmp_path: Path) -> None:
    bucket.put_object(Bucket="looked-at", Key="set/a/1.mp4", Body=film(tmp_path / "1.mp4").read_bytes())
    bucket.put_object(Bucket="looked-at", Key="set/b/2.mp4", Body=b"no video")
    found = find_clips("s3://looked-at/set")
    assert found.layout == "folder"
    assert len(read_headers(found.listing.clips, found.source)) == 1
    looks = look_at_all(
        tasks_of(found.listing.clips, sample=frozenset({0}), pair_fps=5, pair_px=32), found.source, workers=2
    )
    assert [look.is_usable for look in looks] == [True, False]
    assert len(looks[0].pairs) == PAIRS


def test_a_sample_is_drawn_by_its_seed() -> None:
    assert sampled(range(1000), 20, seed=1) == sampled(range(1000), 20, seed=1) != sampled(range(1000), 20, seed=2)
    assert len(sampled(range(1000), 20, seed=1)) == 20
