"""Encoding: the same bytes every time, whole or absent."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames
from kineflow.video.encode import write_video


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (2, 2)])
def test_lossless_planes_come_back_exactly(tmp_path: Path, size: tuple[int, int]) -> None:
    yuv = noise(15, *size, 3)
    write_video(tmp_path / "a.mp4", yuv, fps=25, crf=0, pixel_format="yuv444p", source_format="yuv444p")
    assert np.array_equal(read_frames(tmp_path / "a.mp4", pixel_format="yuv444p"), yuv)


def test_gray_frames_keep_their_shape(tmp_path: Path) -> None:
    frames = np.full((4, 16, 20), 128, np.uint8)
    write_video(tmp_path / "gray.mp4", frames, fps=25, source_format="gray")
    assert read_frames(tmp_path / "gray.mp4", pixel_format="gray").shape == frames.shape


@pytest.mark.parametrize("options", [{}, {"preset": "medium", "tune": "fastdecode"}], ids=["usual", "stored clips"])
def test_equal_frames_give_equal_bytes(tmp_path: Path, options: dict[str, str]) -> None:
    def write(number: int) -> tuple[int, bytes]:
        path, level = tmp_path / f"{number}.mp4", 40 + number % 3 * 20
        write_video(path, (np.full((48, 48, 3), level + n, np.uint8) for n in range(8)), fps=25, **options)
        return level, path.read_bytes()

    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(write, range(60)))) == 3


def test_views_are_encoded_as_copies_are(tmp_path: Path) -> None:
    frames = noise(3, 32, 40, 3)
    write_video(tmp_path / "view.mp4", (image[4:20, 2:34] for image in frames), fps=25)
    write_video(tmp_path / "copy.mp4", [image[4:20, 2:34].copy() for image in frames], fps=25)
    assert (tmp_path / "view.mp4").read_bytes() == (tmp_path / "copy.mp4").read_bytes()


@pytest.mark.parametrize("gop", [1, 5, 12])
def test_key_frames_every_gop(tmp_path: Path, gop: int) -> None:
    write_video(tmp_path / "a.mp4", noise(25, 16, 16, 3), fps=25, gop=gop)
    with av.open(str(tmp_path / "a.mp4")) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert [number for number, packet in enumerate(packets) if packet.is_keyframe] == list(range(0, 25, gop))
    assert [packet.pts for packet in packets] == [packet.dts for packet in packets]


@pytest.mark.parametrize(
    ("fps", "exact"),
    [(25, Fraction(25)), (29.97002997, Fraction(30000, 1001)), (Fraction(24000, 1001), Fraction(24000, 1001))],
)
def test_frame_rate(tmp_path: Path, fps: float, exact: Fraction) -> None:
    write_video(tmp_path / "a.mp4", noise(4, 16, 16, 3), fps=fps)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].average_rate == exact


@pytest.mark.parametrize("setting", [b" threads=1 ", b" mbtree=0 ", b" bframes=0 "])
def test_settings_that_equal_bytes_need(tmp_path: Path, setting: bytes) -> None:
    """With the macroblock tree, one small file in twenty differs, now and then; one run of a test seldom sees it."""
    write_video(tmp_path / "a.mp4", noise(2, 256, 256, 3), fps=25)
    assert setting in (tmp_path / "a.mp4").read_bytes()  # x264 writes its settings into the stream


@pytest.mark.parametrize(
    ("tune", "settings"), [("psnr", [b"aq=0", b"cabac=1"]), ("psnr,fastdecode", [b"aq=0", b"psy=0", b"cabac=0"])]
)
def test_tuning_changes_what_it_names_and_no_more(tmp_path: Path, tune: str, settings: list[bytes]) -> None:
    write_video(tmp_path / "a.mp4", noise(3, 64, 64, 3), fps=25, gop=1, tune=tune)
    content = (tmp_path / "a.mp4").read_bytes()
    assert all(b" " + setting in content for setting in [*settings, b"threads=1", b"bframes=0", b"crf=18.0"])


@pytest.mark.parametrize(
    ("frames", "problem"),
    [
        (np.zeros((0, 16, 16, 3), np.uint8), "at least one frame"),
        (np.zeros((2, 15, 16, 3), np.uint8), "even width and height, not 16x15"),
        ([np.zeros((16, 16, 3), np.uint8), np.zeros((16, 18, 3), np.uint8)], "frame 1 is"),
    ],
)
def test_frames_that_make_no_video(tmp_path: Path, frames: np.ndarray, problem: str) -> None:
    with pytest.raises(KineflowError, match=problem):
        write_video(tmp_path / "a.mp4", frames, fps=25)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "broken disk")])
def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    def breaks_off() -> Iterator[np.ndarray]:
        yield from noise(5, 16, 16, 3)
        raise error

    (tmp_path / "a.mp4").write_bytes(b"old")
    with pytest.raises(type(error)):
        write_video(tmp_path / "a.mp4", breaks_off(), fps=25)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == b"old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really_open = av.open
    monkeypatch.setattr(av, "open", lambda name, *rest, **options: really_open("file:/dev/full", *rest, **options))
    with pytest.raises(KineflowError, match="no space left") as caught:
        write_video(tmp_path / "a.mp4", noise(5, 16, 16, 3), fps=25)
    assert caught.value.where == tmp_path
    assert list(tmp_path.iterdir()) == []
