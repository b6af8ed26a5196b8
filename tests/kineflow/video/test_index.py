"""The index: what a file really holds, over everything that goes wrong with video files."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from kineflow.spec.status import Status
from kineflow.video.encode import write_video
from kineflow.video.index import index_video

FRAMES = 48


def moving(frames: int = FRAMES, side: int = 64) -> np.ndarray:
    texture = np.random.default_rng(2).integers(0, 256, (side + frames, side, 3), dtype=np.uint8)
    return np.stack([texture[number : number + side] for number in range(frames)])


def write_avi(path: Path, frames: np.ndarray) -> None:
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(30))
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        stream.options = {"qscale": "3", "g": "12"}
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())


def with_header_in_front(source: Path, target: Path) -> None:
    with av.open(str(source)) as given, av.open(str(target), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)


def write_audio(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``a.mp4``, ``front.mp4`` (header first) and ``a.avi``, all in order."""
    folder = tmp_path_factory.mktemp("whole")
    write_video(folder / "a.mp4", moving(), fps=30)
    with_header_in_front(folder / "a.mp4", folder / "front.mp4")
    write_avi(folder / "a.avi", moving())
    return folder


def cut(source: Path, share: float) -> bytes:
    content = source.read_bytes()
    return content[: int(len(content) * share)]


def cut_between_samples(source: Path) -> bytes:
    with av.open(str(source)) as container:
        ends = [packet.pos + packet.size for packet in container.demux(video=0) if packet.size]
    return source.read_bytes()[: ends[FRAMES // 2]]


def garbled(source: Path, length: int) -> bytes:
    content = bytearray(source.read_bytes())
    start = len(content) // 2
    content[start : start + length] = random.Random(0).randbytes(length)
    return bytes(content)


def with_header_count(source: Path, change: int) -> bytes:
    """The AVI with the frame counts of its two headers changed."""
    content = bytearray(source.read_bytes())
    for place in (content.index(b"avih") + 8 + 16, content.index(b"strh") + 8 + 32):
        assert struct.unpack_from("<I", content, place)[0] == FRAMES
        struct.pack_into("<I", content, place, FRAMES + change)
    return bytes(content)


@pytest.mark.parametrize("name", ["a.mp4", "front.mp4", "a.avi"])
def test_a_sound_file(whole: Path, name: str) -> None:
    index = index_video(whole / name, min_frames=FRAMES)
    assert (index.status, index.reason) == (Status.OK, "")
    assert (index.frames, index.fps, index.width, index.height, index.rotation) == (FRAMES, 30.0, 64, 64, 0)
    assert index.sha256 == hashlib.sha256((whole / name).read_bytes()).hexdigest()
    assert (index.codec, index.pixel_format, index.max_gop) == (
        "mpeg4" if name.endswith("avi") else "h264", "yuv420p", 12
    )  # fmt: skip


BAD: dict[str, tuple[Callable[[Path], bytes], Status, str]] = {
    "empty.mp4": (lambda _: b"", Status.UNREADABLE, "not readable as a video"),
    "text.mp4": (lambda _: b"this is no video\n" * 99, Status.UNREADABLE, "not readable as a video"),
    "half.mp4": (lambda whole: cut(whole / "a.mp4", 0.5), Status.UNREADABLE, "not readable as a video"),
    "front_half.mp4": (lambda whole: cut(whole / "front.mp4", 0.5), Status.TRUNCATED, "breaks off after"),
    "front_last.mp4": (lambda whole: cut(whole / "front.mp4", 0.999), Status.TRUNCATED, "breaks off after"),
    "between.mp4": (lambda whole: cut_between_samples(whole / "front.mp4"), Status.TRUNCATED, "of the 1.60 s"),
    "half.avi": (lambda whole: cut(whole / "a.avi", 0.5), Status.TRUNCATED, "of the 48 frames of its header"),
    "garbled.avi": (lambda whole: garbled(whole / "a.avi", 9000), Status.TRUNCATED, ""),
    "scratched.avi": (lambda whole: garbled(whole / "a.avi", 50), Status.TRUNCATED, "damaged"),
    "garbled.mp4": (lambda whole: garbled(whole / "a.mp4", 2000), Status.TRUNCATED, ""),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_told_apart(whole: Path, tmp_path: Path, name: str) -> None:
    make, status, reason = BAD[name]
    (tmp_path / name).write_bytes(make(whole))
    index = index_video(tmp_path / name)
    assert index.status is status
    assert reason in index.reason
    assert index.reason
    assert (index.frames > 0) == (status is Status.TRUNCATED)
    assert index.frames < FRAMES or "damaged" in index.reason
    assert str(tmp_path) not in index.reason


def test_no_file_no_folder_no_sound_alone(tmp_path: Path) -> None:
    write_audio(tmp_path / "audio.mp4")
    (tmp_path / "folder.mp4").mkdir()
    reasons = {name: index_video(tmp_path / name).reason for name in ("audio.mp4", "folder.mp4", "gone.mp4")}
    assert reasons == {"audio.mp4": "holds no video stream", "folder.mp4": "no such file", "gone.mp4": "no such file"}
    assert index_video(tmp_path / "audio.mp4").status is Status.UNREADABLE


@pytest.mark.parametrize(("frames", "status"), [(1, Status.SHORT), (2, Status.OK)])
def test_short_is_a_status(tmp_path: Path, frames: int, status: Status) -> None:
    write_video(tmp_path / "a.mp4", moving(frames), fps=25)
    index = index_video(tmp_path / "a.mp4", min_frames=2)
    assert (index.status, index.frames) == (status, frames)
    assert index.max_gop == frames


@pytest.mark.parametrize(("change", "status"), [(-1, Status.OK), (0, Status.OK), (1, Status.TRUNCATED)])
def test_an_avi_header_counts_packets(whole: Path, tmp_path: Path, change: int, status: Status) -> None:
    (tmp_path / "a.avi").write_bytes(with_header_count(whole / "a.avi", change))
    index = index_video(tmp_path / "a.avi")
    assert (index.frames, index.status) == (FRAMES, status)


def test_bounds_are_a_status(whole: Path) -> None:
    long, large = index_video(whole / "a.mp4", max_frames=FRAMES - 1), index_video(whole / "a.mp4", max_pixels=64 * 63)
    assert (long.status, long.reason) == (Status.UNREADABLE, f"more than {FRAMES - 1} frames")
    assert large.status is Status.UNREADABLE
    assert index_video(whole / "a.mp4", max_frames=FRAMES, max_pixels=64 * 64).status is Status.OK


def test_rotation_is_reported_and_size_is_as_coded(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", moving()[:, :32], fps=25)
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    (tmp_path / "a.mp4").write_bytes(content)
    index = index_video(tmp_path / "a.mp4")
    assert (index.width, index.height, index.rotation) == (64, 32, 270)


def test_the_largest_distance_of_key_frames_counts_the_tail(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", moving(19), fps=25, gop=7)
    assert index_video(tmp_path / "a.mp4").max_gop == 7
    with av.open(str(tmp_path / "b.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.options = {"g": "250", "forced-idr": "1", "sc_threshold": "0"}
        for number, image in enumerate(moving(19)):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pict_type = 1 if number == 3 else 0
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert index_video(tmp_path / "b.mp4").max_gop == 16


# Frames as counted by ffprobe; the four HMDB51 headers promise one frame more.
REAL = {
    "RATRACE_wave_f_nm_np1_fr_goo_37.avi": (72, 30.0, 560, 240),
    "SchoolRulesHowTheyHelpUs_wave_f_nm_np1_ba_med_0.avi": (74, 30.0, 320, 240),
    "TrumanShow_wave_f_nm_np1_fr_med_26.avi": (48, 30.0, 432, 240),
    "hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi": (83, 30.0, 320, 240),
    "v_SoccerJuggling_g23_c01.avi": (240, 29.97, 320, 240),
    "v_SoccerJuggling_g24_c01.avi": (251, 29.97, 320, 240),
    "R6llTwEh07w.mp4": (303, 30.0, 340, 256),
    "SOX5yA1l24A.mp4": (332, 29.97, 340, 256),
    "WUzgd7C1pWA.mp4": (327, 29.97, 340, 256),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_clips(shared_data: Path, name: str) -> None:
    index = index_video(shared_data / "clips" / name)
    assert (index.status, index.reason) == (Status.OK, "")
    assert (index.frames, round(index.fps, 2), index.width, index.height) == REAL[name]
