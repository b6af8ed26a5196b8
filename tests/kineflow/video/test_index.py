"""The index: what a file really holds, over everything that goes wrong with video files."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from kineflow.spec.status import Status
from kineflow.video import opening
from kineflow.video.encode import write_video
from kineflow.video.index import index_video
from tests.kineflow.video import numbered

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


def test_an_avi_may_show_a_frame_again(tmp_path: Path) -> None:
    """Empty chunks, as capture programs write them for frames that they dropped; the last ones come last."""
    path = numbered.write(tmp_path / "a.avi", [n for n in range(75) if n % 5 != 4], codec="mjpeg", base=Fraction(1, 25))
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 74
    assert (index := index_video(path)).status is Status.OK
    assert (index.frames, round(index.fps)) == (60, 20)
    assert index.timeline.first_at(1.0) == 20

    content = bytearray(path.read_bytes())
    end = content.rindex(b"00dc", 0, content.rindex(b"idx1"))  # the last picture becomes an empty chunk, and JUNK
    length = struct.unpack_from("<I", content, end + 4)[0]
    content[end + 4 : end + 16] = struct.pack("<I4sI", 0, b"JUNK", length - 8)
    path.write_bytes(content)
    index = index_video(path)
    assert (index.status, index.frames) == (Status.OK, 59)


def test_time_stamps_are_kept_where_the_rate_varies(tmp_path: Path) -> None:
    times = [200 * n for n in range(10)] + [2000 + 25 * n for n in range(40)]
    for suffix in ("mp4", "mkv"):
        index = index_video(numbered.write(tmp_path / f"a.{suffix}", times))
        assert (index.status, index.frames) == (Status.OK, 50)
        assert [index.timeline.first_at(sec) for sec in (0.4, 1.99, 2, 2.25)] == [2, 10, 10, 20]
        assert index.fps == pytest.approx(49 / 2.975)
        assert index.timeline.seconds == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_time_begins_where_the_file_does(tmp_path: Path, suffix: str) -> None:
    late = [5000 + 40 * n for n in range(25)]
    index = index_video(numbered.write(tmp_path / f"a.{suffix}", late))
    assert (index.fps, index.first_sec, index.stamps) == (25.0, 0.0, "")


def test_the_clock_of_mpeg_ts_comes_round(tmp_path: Path) -> None:
    """33 bits of 1/90000 s; a part across that is where it is."""
    until_wrap = 2**33 - 90_000 * 70  # so early that FFmpeg does not foresee it
    path = numbered.write(tmp_path / "a.ts", [until_wrap + 90_000 * n for n in range(100)], base=Fraction(1, 90_000))
    index = index_video(path)
    assert (index.status, index.frames) == (Status.OK, 100)
    assert index.fps == pytest.approx(1)
    assert [index.timeline.first_at(sec) for sec in (10, 69, 72, 90)] == [10, 69, 72, 90]


def test_a_rate_that_cannot_be_is_none(whole: Path, tmp_path: Path) -> None:
    content = bytearray((whole / "a.mp4").read_bytes())
    for timescale, fps in ((960 * 512, 960.0), (2**30, 25.0)):  # 512 a frame
        struct.pack_into(">I", content, content.index(b"mdhd") + 4 + 12, timescale)
        (tmp_path / "a.mp4").write_bytes(content)
        assert index_video(tmp_path / "a.mp4").fps == pytest.approx(fps)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_sound_that_begins_before_the_pictures_is_the_start(tmp_path: Path, suffix: str) -> None:
    with av.open(str(tmp_path / f"a.{suffix}"), "w") as container:
        pictures, sound = container.add_stream("libx264", rate=25), container.add_stream("aac", rate=16000)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        pictures.options = {"bf": "0"}
        for number in range(48):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            samples.rate, samples.pts, samples.time_base = 16000, 1024 * number, Fraction(1, 16000)
            container.mux(sound.encode(samples))
        for number in range(25):
            frame = av.VideoFrame.from_ndarray(numbered.picture(number), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = 50 + number, Fraction(1, 25)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode())
        container.mux(sound.encode())
    index = index_video(tmp_path / f"a.{suffix}")
    assert index.first_sec == pytest.approx(2.0, abs=0.1)
    assert index.timeline.first_at(2.4) == pytest.approx(10, abs=2)


def test_a_stream_that_begins_in_mid_file_is_no_end(tmp_path: Path) -> None:
    """FLV says of no stream beforehand that it comes."""
    path = numbered.write(tmp_path / "a.flv", 120, codec="flv", options={"qscale": "2"})
    content = path.read_bytes()
    sound = bytes.fromhex("08 000003 000100 00 000000 2e0000 0000000e")  # a tag of MP3, and its size
    path.write_bytes(content + sound.replace(b" ", b""))
    index = index_video(path)
    assert index.frames == 120


def test_a_codec_that_nobody_knows(whole: Path, tmp_path: Path) -> None:
    content = (whole / "a.mp4").read_bytes().replace(b"avc1", b"zzzz")
    (tmp_path / "a.mp4").write_bytes(content)
    index = index_video(tmp_path / "a.mp4")
    assert (index.status, "FFmpeg does not know" in index.reason) == (Status.UNREADABLE, True)


class Silent:
    """A packet that a decoder takes in and gives nothing for, as H.264's does with some damage."""

    def __init__(self, packet: av.Packet) -> None:
        self._packet = packet

    def __getattr__(self, name: str) -> object:
        return getattr(self._packet, name)

    def decode(self) -> list[av.VideoFrame]:
        self._packet.decode()
        return []


@pytest.mark.parametrize(("lost", "status"), [(range(20, 22), Status.TRUNCATED), (range(3), Status.OK)])
def test_a_frame_that_the_decoder_gives_up(
    whole: Path, monkeypatch: pytest.MonkeyPatch, lost: range, status: Status
) -> None:
    """Those before the first that can be decoded are none: a broadcast may be recorded from anywhere."""

    def packets_of(*streams: object) -> Iterator[object]:
        for number, packet in enumerate(opening.packets_of(*streams)):
            yield Silent(packet) if number in lost else packet

    monkeypatch.setattr("kineflow.video.index.packets_of", packets_of)
    index = index_video(whole / "a.mp4")
    assert (index.status, index.frames) == (status, FRAMES - len(lost))
    assert index.reason == ("damaged: 2 frames cannot be decoded" if status is Status.TRUNCATED else "")


def test_an_edit_list_that_hides_nearly_all(whole: Path, tmp_path: Path) -> None:
    content = bytearray((whole / "front.mp4").read_bytes())
    media_time = content.index(b"elst") + 4 + 8 + 4
    scale = struct.unpack_from(">I", content, content.index(b"mdhd") + 4 + 12)[0]
    struct.pack_into(">i", content, media_time, int(1.4 * scale))
    (tmp_path / "a.mp4").write_bytes(content)
    assert "edit list" in index_video(tmp_path / "a.mp4").reason
