"""Decoding, held to tiny lossless videos whose every pixel is known."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorRange
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kineflow.storage.errors import KineflowError
from kineflow.video import opening
from kineflow.video.decode import PartReader, iter_frames, iter_luma, read_frames, read_video
from kineflow.video.encode import write_video
from kineflow.video.time_stamps import Stamps
from tests.kineflow.video import numbered

FRAMES, HEIGHT, WIDTH = 40, 18, 22
IN_MATRIX = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}  # clockwise degrees: a, b, c, d of tkhd


def planes(frames: int = FRAMES, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Noise as Y, U, V planes, uint8 [T, H, W, 3]."""
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def grey(luma: np.ndarray) -> np.ndarray:
    """Luma of video range stretched to 0..255."""
    return np.clip((luma.astype(float) - 16) * 255 / 219, 0, 255).round().astype(np.uint8)


def write_lossless(path: Path, yuv: np.ndarray, *, first_pts: int = 0, **options: str) -> Path:
    """H.264 with the encoder options given: B-frames, long GOPs and late starts, which our own writer never makes."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = yuv.shape[1], yuv.shape[2], "yuv444p"
        stream.options = {"qp": "0", "preset": "veryfast", **options}
        stream.codec_context.thread_count = 1
        for number, image in enumerate(yuv):
            frame = av.VideoFrame.from_ndarray(image, "yuv444p", channel_last=True)
            frame.pts = first_pts + number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turn(path: Path, clockwise: int) -> None:
    """Write a display rotation into the track header of an mp4."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in IN_MATRIX[clockwise])
    content[matrix : matrix + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


VARIANTS = {
    "ours": {"g": "12", "bf": "0"},
    "one_gop": {"g": "250", "bf": "0"},
    "b_frames": {"g": "12", "bf": "3"},
    "open_gop": {"g": "10", "bf": "3", "x264-params": "open-gop=1:b-adapt=0"},
    "every_frame_a_key": {"g": "1", "bf": "0"},
    "late_start": {"g": "12", "bf": "2"},
}


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("variants")
    return {
        name: write_lossless(folder / f"{name}.mp4", planes(), first_pts=17 if name == "late_start" else 0, **options)
        for name, options in VARIANTS.items()
    }


@pytest.mark.parametrize("name", VARIANTS)
def test_every_frame_is_exact(variants: dict[str, Path], name: str) -> None:
    assert np.array_equal(read_frames(variants[name], pixel_format="yuv444p"), planes())
    assert np.array_equal(read_frames(variants[name], pixel_format="gray"), grey(planes()[..., 0]))


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(VARIANTS)), indices=st.lists(st.integers(0, FRAMES - 1), min_size=1, max_size=6))
def test_sparse_reads_equal_dense_ones(variants: dict[str, Path], name: str, indices: list[int]) -> None:
    assert np.array_equal(read_frames(variants[name], indices, pixel_format="yuv444p"), planes()[indices])


def test_a_late_frame_is_found_by_seeking(variants: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("decoded from the start")

    monkeypatch.setattr("kineflow.video.decode._read_linearly", refuse)
    every = grey(planes()[..., 0])
    assert np.array_equal(read_frames(variants["ours"], [37, 13], pixel_format="gray"), every[[37, 13]])
    assert np.array_equal(read_frames(variants["b_frames"], [38], pixel_format="gray"), every[[38]])
    # Neighbours are read on from one place, not sought one by one.
    late = list(range(20, FRAMES))
    assert np.array_equal(read_frames(variants["every_frame_a_key"], late, pixel_format="gray"), every[late])


def test_frames_are_found_by_the_header_alone(variants: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("packets were looked at, or frames decoded from the start")

    monkeypatch.setattr("kineflow.video.decode._read_linearly", refuse)
    monkeypatch.setattr("kineflow.video.time_stamps._facts", refuse)
    assert np.array_equal(read_frames(variants["ours"], [37, 30], pixel_format="yuv444p"), planes()[[37, 30]])


@pytest.mark.parametrize("fault", ["keys", "times"])
def test_a_header_that_lies_is_not_followed(variants: dict[str, Path], tmp_path: Path, fault: str) -> None:
    content = bytearray(variants["ours"].read_bytes())
    if fault == "keys":  # the second key frame is said to be three frames later
        place = content.index(b"stss") + 16
        (number,) = struct.unpack_from(">I", content, place)
        struct.pack_into(">I", content, place, number + 3)
    else:  # the pictures are said to be shown a frame later than they are decoded
        place = content.index(b"stts")
        (size,) = struct.unpack_from(">I", content, place - 4)
        (step,) = struct.unpack_from(">I", content, place + 16)
        later = struct.pack(">I4sIIII", 24, b"ctts", 0, 1, FRAMES, step)
        content[place - 4 + size : place - 4 + size] = later
        for box in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            start = content.index(box) - 4
            struct.pack_into(">I", content, start, struct.unpack_from(">I", content, start)[0] + len(later))
    path = tmp_path / "lying.mp4"
    path.write_bytes(content)
    assert np.array_equal(read_frames(path, [30, 17], pixel_format="yuv444p"), planes()[[30, 17]])
    (late,) = iter_frames(path, start=30, stop=31)
    assert np.array_equal(late, read_frames(path)[30])


@pytest.mark.parametrize("indices", [None, [5, 3], [39, 0, 21, 21]])
def test_what_becomes_of_each_frame(variants: dict[str, Path], indices: list[int] | None) -> None:
    whole = read_frames(variants["ours"], indices)
    part = read_frames(variants["ours"], indices, each=lambda image: image[2:9, ::-1])
    assert np.array_equal(part, whole[:, 2:9, ::-1])


@pytest.mark.parametrize("indices", [None, [3], [39, 0, 21, 21]])
def test_the_first_two_planes(variants: dict[str, Path], indices: list[int] | None) -> None:
    expected = planes()[..., :2] if indices is None else planes()[indices, ..., :2]
    assert np.array_equal(read_frames(variants["ours"], indices, pixel_format="yu"), expected)


def test_planes_of_a_file_that_is_coded_otherwise(tmp_path: Path) -> None:
    write_video(tmp_path / "grey.mp4", np.full((3, 16, 20, 3), 90, np.uint8), fps=25, crf=0)  # yuv420p
    assert read_frames(tmp_path / "grey.mp4", pixel_format="yu").shape == (3, 16, 20, 2)


def test_a_file_that_does_not_start_with_a_key_frame(variants: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "headless.mp4"
    with av.open(str(variants["ours"])) as given, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        for packet in [packet for packet in given.demux(video=0) if packet.size][1:]:
            packet.stream = stream
            container.mux(packet)
    every = read_frames(path, pixel_format="gray")
    assert np.array_equal(read_frames(path, [20, 24], pixel_format="gray"), every[[20, 24]])


def test_time_stamps_that_lie_are_noticed(variants: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    stamps = Stamps([n * 7 for n in range(FRAMES)], [0, 12, 24])
    monkeypatch.setattr("kineflow.video.decode.time_stamps", lambda *_: stamps)
    assert np.array_equal(read_frames(variants["ours"], [30], pixel_format="gray"), grey(planes()[[30], ..., 0]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "clip", ["R6llTwEh07w.mp4", "v_SoccerJuggling_g23_c01.avi", "TrumanShow_wave_f_nm_np1_fr_med_26.avi"]
)
def test_sparse_reads_of_real_clips(shared_data: Path, clip: str) -> None:
    path = shared_data / "clips" / clip
    every, indices = read_frames(path), [46, 3, 20, 20]
    assert np.array_equal(read_frames(path, indices), every[indices])


def test_metadata_that_is_not_utf8(shared_data: Path) -> None:
    clip = shared_data / "clips" / "hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi"
    assert read_frames(clip).shape == (83, 240, 320, 3)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gray", "gray10le"])
@pytest.mark.parametrize("full_range", [False, True])
def test_grey_reaches_from_0_to_255_in_every_format(tmp_path: Path, pixel_format: str, full_range: bool) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    path = tmp_path / "ramp.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 256, pixel_format
        target = ColorRange.JPEG if full_range else ColorRange.MPEG
        stream.codec_context.color_range = target
        frame = av.VideoFrame.from_ndarray(ramp, "gray").reformat(format=pixel_format, dst_color_range=target)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    decoded = read_frames(path, pixel_format="gray")
    assert np.abs(decoded[0].astype(int) - ramp).max() <= 1


def test_rgb_is_rgb_and_not_bgr(tmp_path: Path) -> None:
    orange = np.full((3, 16, 16, 3), (220, 120, 20), dtype=np.uint8)
    write_video(tmp_path / "orange.mp4", orange, fps=10, crf=0)
    decoded = read_video(tmp_path / "orange.mp4")
    assert np.abs(decoded.frames.astype(int) - orange).max() <= 4
    assert decoded.fps == 10.0


@pytest.mark.parametrize("clockwise", IN_MATRIX)
def test_display_rotation_is_applied(tmp_path: Path, clockwise: int) -> None:
    path = tmp_path / "turned.mp4"
    yuv = planes(3, 16, 32)
    write_video(path, yuv, fps=25, crf=0, pixel_format="yuv444p", source_format="yuv444p")
    turn(path, clockwise)
    expected = np.stack([np.rot90(image, -clockwise // 90) for image in yuv])
    assert np.array_equal(read_frames(path, pixel_format="yuv444p"), expected)
    assert np.array_equal(read_frames(path, [2, 0], pixel_format="gray"), grey(expected[[2, 0], ..., 0]))

    _, seen_by_opencv = cv2.VideoCapture(str(path)).read()
    assert np.abs(read_frames(path)[0].astype(int) - seen_by_opencv[..., ::-1]).mean() < 3


def test_later_frames_take_the_size_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "grows.avi"  # MJPEG packets of two sizes: their order decides, not the header
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuvj420p"
        for number, size in enumerate([(32, 16), (64, 32)]):
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = *size, "yuvj420p", Fraction(1, 10)
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 100, np.uint8)).reformat(
                format="yuvj420p"
            )
            frame.pts = number
            for packet in encoder.encode(frame):
                packet.stream = stream
                container.mux(packet)
    assert read_frames(path).shape == (2, 16, 32, 3)


def test_iter_frames_scales_and_cuts(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, np.full((10, 16, 32, 3), 90, np.uint8), fps=25)
    assert [image.shape for image in iter_frames(path, start=4, stop=7, size=(16, 8))] == [(8, 16, 3)] * 3
    assert list(iter_frames(path, start=10)) == []


@pytest.mark.parametrize("name", VARIANTS)
def test_a_late_part_is_that_of_the_whole(
    variants: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """And where key frames allow it, not decoded from the start."""
    count = 0

    def counted(*given: object) -> Iterator[object]:
        nonlocal count
        for frame in opening.decoded(*given):
            count += 1
            yield frame

    every = read_frames(variants[name])
    monkeypatch.setattr("kineflow.video.decode.decoded", counted)
    assert np.array_equal(np.stack(list(iter_frames(variants[name], start=38))), every[38:])
    assert count <= (FRAMES if name == "one_gop" else 12)
    assert np.array_equal(np.stack(list(iter_frames(variants[name], start=25, stop=27))), every[25:27])
    assert list(iter_frames(variants[name], start=25, stop=20)) == []


@pytest.mark.parametrize(("suffix", "most"), [("mp4", 39), ("avi", 40 + 28)])
def test_parts_in_order_take_one_pass(
    variants: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, most: int
) -> None:
    path = tmp_path / f"a.{suffix}"
    with av.open(str(variants["ours"])) as given, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        for packet in [packet for packet in given.demux(video=0) if packet.size]:
            packet.stream = stream
            container.mux(packet)
    every, count = read_frames(path), 0

    def counted(*given: object) -> Iterator[object]:
        nonlocal count
        for frame in opening.decoded(*given):
            count += 1
            yield frame

    monkeypatch.setattr("kineflow.video.decode.decoded", counted)
    with PartReader(path) as reader:
        for start, stop in ((2, 5), (5, 5), (5, 9), (18, 22), (22, 23), (38, 99), (25, 28), (50, 60)):
            assert np.array_equal(list(reader.frames(start, stop)), list(every[start:stop]))
    assert count <= most + FRAMES  # a part past the end is looked for once more


def test_bounds_hold(variants: dict[str, Path]) -> None:
    with pytest.raises(KineflowError, match="more than 39 frames"):
        read_frames(variants["ours"], max_frames=39)
    with pytest.raises(KineflowError, match="not readable as a video"):
        read_frames(variants["ours"], max_pixels=WIDTH * HEIGHT - 1)


@pytest.mark.parametrize(
    ("indices", "problem"), [([39, 40], "frame 40 was asked for"), ([-1], "0 or more"), ([], "one at least")]
)
def test_impossible_indices(variants: dict[str, Path], indices: list[int], problem: str) -> None:
    with pytest.raises(KineflowError, match=problem):
        read_frames(variants["ours"], indices)


def test_unknown_pixel_format(variants: dict[str, Path]) -> None:
    with pytest.raises(KineflowError, match="bgr24"):
        read_frames(variants["ours"], pixel_format="bgr24")


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video\n")
    for name, problem in [("text.mp4", "not readable"), ("gone.mp4", "no such video"), (".", "no such video")]:
        with pytest.raises(KineflowError, match=problem) as caught:
            read_frames(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_a_playlist_opens_no_other_file(variants: dict[str, Path], tmp_path: Path) -> None:
    shutil.copy(variants["ours"], tmp_path / "other.mp4")
    path = tmp_path / "playlist.mp4"
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(KineflowError, match="not readable"):
        read_frames(path)


def test_a_name_is_no_protocol(variants: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(variants["ours"].parent)
    with pytest.raises(KineflowError, match="no such video"):
        read_frames(Path("concat:ours.mp4|one_gop.mp4"))


MATRICES = [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)] + [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]


@pytest.mark.parametrize("aspect", [None, Fraction(2)])
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_every_reader_shows_the_same(
    tmp_path: Path, suffix: str, matrix: tuple[int, int, int, int], aspect: Fraction | None
) -> None:
    a, b, c, d = matrix
    shown = [value << 16 for value in (a, b)] + [0] + [value << 16 for value in (c, d)] + [0, 0, 0, 1 << 30]
    path = numbered.write(tmp_path / f"a.{suffix}", 30, matrix=shown, aspect=aspect, options={"g": "10"})
    coded = read_frames(numbered.write(tmp_path / "plain.mp4", 30, options={"g": "10"}), [0, 25])
    wide = (
        np.stack([cv2.resize(image, (128, 48), interpolation=cv2.INTER_CUBIC) for image in coded]) if aspect else coded
    )
    expected = wide if a else wide.transpose(0, 2, 1, 3)
    expected = expected[:, :, ::-1] if a + c < 0 else expected
    expected = expected[:, ::-1] if b + d < 0 else expected

    every = read_frames(path)
    assert np.abs(every[[0, 25]].astype(int) - expected).mean() < 3
    assert np.array_equal(read_frames(path, [25, 0]), every[[25, 0]])
    assert np.array_equal(np.stack(list(iter_frames(path, start=3))), every[3:])
    grey = read_frames(path, pixel_format="gray")
    assert grey.shape == every.shape[:3]
    assert np.array_equal(np.stack(list(iter_luma(path))), grey)
    assert np.array_equal(read_frames(path, [25], pixel_format="gray"), grey[[25]])


def test_no_more_is_given_back_than_is_allowed(variants: dict[str, Path]) -> None:
    pixels = WIDTH * HEIGHT
    path = variants["ours"]
    assert len(read_frames(path, [1, 1, 38], max_read_pixels=3 * pixels)) == 3
    for indices, most in (([1, 1, 38], 3 * pixels - 1), ([0], pixels - 1), (None, 39 * pixels)):
        with pytest.raises(KineflowError, match="to hold") as caught:
            read_frames(path, indices, max_read_pixels=most)
        assert str(path) in str(caught.value)
    small = read_frames(path, size=(8, 6), max_read_pixels=48 * FRAMES)
    assert small.shape == (FRAMES, 6, 8, 3)


def test_a_file_may_be_longer_than_what_is_read_whole(
    variants: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_frames(variants["one_gop"], [39], max_frames=5).shape[0] == 1
    assert read_frames(variants["ours"], [39], max_frames=5).shape[0] == 1
    monkeypatch.setattr("kineflow.video.time_stamps.MAX_FILE_FRAMES", 5)  # then nothing is planned
    assert np.array_equal(read_frames(variants["ours"], [39], pixel_format="gray"), grey(planes()[[39], ..., 0]))


def test_a_codec_that_nobody_knows(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, [np.zeros((16, 16, 3), np.uint8)] * 3, fps=25)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(KineflowError, match="coded in a way that FFmpeg does not know"):
        read_frames(path)
