"""The stored form: sizes, parts, and when the bytes stay as they are."""

from __future__ import annotations

import dataclasses
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames
from kineflow.video.encode import write_video
from kineflow.video.index import VideoIndex, index_video
from kineflow.video.store import (
    Part,
    StoredForm,
    conforms,
    fps_of,
    part_of,
    peculiarities,
    store_video,
    stored_size,
)
from kineflow.video.timeline import packed
from tests.kineflow.video import numbered

INDEX = VideoIndex(100, 25.0, 640, 480, 0, "ab", Status.OK, "", "h264", "yuv420p", "mov,mp4,m4a", 12)


def plain(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A frame whose grey level tells its number, with a bright left half."""
    image = np.full((height, width, 3), 4 * number, np.uint8)
    image[:, : width // 2] += 80
    return image


def whole_of(index: VideoIndex) -> Part:
    return Part(0, index.frames)


@pytest.mark.parametrize(
    ("size", "rotation", "short_side", "stored"),
    [
        ((640, 480), 0, 256, (342, 256)),
        ((480, 640), 0, 256, (256, 342)),
        ((640, 480), 90, 256, (256, 342)),
        ((341, 255), 0, 256, (340, 254)),
        ((341, 255), 270, 256, (254, 340)),
        ((320, 240), 180, 256, (320, 240)),
        ((1920, 1080), 0, 255, (454, 256)),
        ((4000, 2), 0, 16, (4000, 2)),
    ],
)
def test_sizes(size: tuple[int, int], rotation: int, short_side: int, stored: tuple[int, int]) -> None:
    index = dataclasses.replace(INDEX, width=size[0], height=size[1], rotation=rotation)
    assert stored_size(index, StoredForm(short_side=short_side)) == stored


@pytest.mark.parametrize("rotation", [0, 90])
@pytest.mark.parametrize("size", [(320, 240), (1920, 1080), (340, 256)])
def test_one_size_for_all(size: tuple[int, int], rotation: int) -> None:
    index = dataclasses.replace(INDEX, width=size[0], height=size[1], rotation=rotation)
    form = StoredForm(size=(340, 256))
    assert stored_size(index, form) == (340, 256)
    assert conforms(index, form) == (size == (340, 256) and not rotation)


@given(st.integers(2, 5000), st.integers(2, 5000), st.integers(16, 512), st.sampled_from([0, 90, 180, 270]))
def test_sizes_are_even_and_never_grow(width: int, height: int, short_side: int, rotation: int) -> None:
    index = dataclasses.replace(INDEX, width=width, height=height, rotation=rotation)
    stored = stored_size(index, StoredForm(short_side=short_side))
    upright = (height, width) if rotation in (90, 270) else (width, height)
    assert all(side % 2 == 0 and 2 <= side <= max(2, given) for side, given in zip(stored, upright, strict=True))
    assert min(stored) <= short_side + 1


@pytest.mark.parametrize(
    ("start_sec", "end_sec", "may_be_cut", "part"),
    [
        (None, None, False, Part(0, 100)),
        (1.0, None, False, Part(25, 100)),
        (None, 0.5, False, Part(0, 12)),
        (1.0, 2.0, False, Part(25, 50)),
        (3.0, 9.0, False, Part(75, 100)),
        (9.0, 12.0, False, Part(100, 100)),
        (40.0, 44.0, True, Part(0, 100)),  # four seconds that were cut already
        (40.0, 43.1, True, Part(0, 100)),
        (1.0, 2.0, True, Part(25, 50)),  # an upload longer than the part
    ],
)
def test_parts(start_sec: float | None, end_sec: float | None, may_be_cut: bool, part: Part) -> None:
    assert part_of(INDEX, start_sec, end_sec, may_be_cut=may_be_cut) == part


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"height": 240, "width": 320}, True),
        ({"height": 240, "width": 320, "max_gop": 13}, False),
        ({"height": 240, "width": 321}, False),
        ({"height": 240, "width": 320, "codec": "mpeg4"}, False),
        ({"height": 240, "width": 320, "pixel_format": "yuv444p"}, False),
        ({"height": 240, "width": 320, "container": "avi"}, False),
        ({"height": 240, "width": 320, "rotation": 180}, False),
        ({}, False),
    ],
)
def test_what_conforms(change: dict[str, object], expected: bool) -> None:
    assert conforms(dataclasses.replace(INDEX, **change), StoredForm()) is expected


def test_a_conforming_video_is_copied(tmp_path: Path) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "out" / "b.mp4"
    write_video(source, map(plain, range(20)), fps=25)
    index = index_video(source)
    store_video(source, target, index=index, part=whole_of(index), form=StoredForm())
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_ino != source.stat().st_ino


def test_a_part_is_cut_out_and_encoded(tmp_path: Path) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    write_video(source, map(plain, range(40)), fps=25)
    index = index_video(source)
    store_video(source, target, index=index, part=Part(15, 35), form=StoredForm(gop=6))
    levels = read_frames(target)[:, :, 40:].mean(axis=(1, 2, 3))
    assert np.abs(levels - 4 * np.arange(15, 35)).max() < 3
    assert index_video(target).max_gop == 6


def test_a_large_turned_video_is_stored_small_and_upright(tmp_path: Path) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    write_video(source, [plain(10)] * 3, fps=25)
    content = bytearray(source.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40  # to be turned a quarter clockwise: the bright left half comes to the top
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    source.write_bytes(content)

    form = StoredForm(short_side=24)
    store_video(source, target, index=index_video(source), part=Part(0, 3), form=form)
    stored = index_video(target)
    assert (stored.width, stored.height, stored.rotation) == (24, 32, 0) == (*stored_size(index_video(source), form), 0)
    image = read_frames(target)[0].astype(int)
    assert image[:12].mean() - image[20:].mean() > 60


def test_odd_sizes_lose_a_row_and_a_column(tmp_path: Path) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    frames = [np.full((17, 33, 3), 70, np.uint8)] * 3
    write_video(source, frames, fps=25, pixel_format="yuv444p")
    index = index_video(source)
    store_video(source, target, index=index, part=whole_of(index), form=StoredForm())
    assert read_frames(target).shape == (3, 16, 32, 3)


def test_a_source_that_changed_is_noticed(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    write_video(source, map(plain, range(5)), fps=25)
    promised = dataclasses.replace(index_video(source), frames=9)
    with pytest.raises(KineflowError, match="5 frames where 8 were counted"):
        store_video(source, tmp_path / "b.mp4", index=promised, part=Part(0, 8), form=StoredForm())
    assert not (tmp_path / "b.mp4").exists()


SLOW_THEN_FAST = [200 * n for n in range(20)] + [4000 + 25 * n for n in range(80)]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_parts_of_a_variable_rate_keep_their_own_pace(tmp_path: Path, suffix: str) -> None:
    source = numbered.write(tmp_path / f"a.{suffix}", SLOW_THEN_FAST)
    index = index_video(source)
    for start_sec, end_sec, numbers, fps in ((0, 4, range(20), 5), (4, 6, range(20, 100), 40)):
        part = part_of(index, start_sec, end_sec)
        assert part == Part(numbers[0], numbers[-1] + 1)
        assert fps_of(index, part) == pytest.approx(fps, rel=0.01)
        store_video(source, tmp_path / "b.mp4", index=index, part=part, form=StoredForm())
        assert numbered.numbers_of(read_frames(tmp_path / "b.mp4")) == list(numbers)
        stored = index_video(tmp_path / "b.mp4")
        assert stored.fps == pytest.approx(fps, rel=0.01)
        assert stored.timeline.seconds == pytest.approx(end_sec - start_sec, rel=0.02)


def test_a_cut_upload_of_variable_rate_is_taken_whole_by_how_long_it_lasts(tmp_path: Path) -> None:
    index = index_video(numbered.write(tmp_path / "a.mp4", SLOW_THEN_FAST))  # six seconds
    assert part_of(index, 100, 106, may_be_cut=True) == Part(0, 100)
    assert part_of(index, 100, 104, may_be_cut=True).frames == 0


TURNED = (0, -1, 1, 0)
MIRRORED = (-1, 0, 0, 1)


def displayed(numbers: tuple[int, int, int, int]) -> list[int]:
    a, b, c, d = (value << 16 for value in numbers)
    return [a, b, 0, c, d, 0, 0, 0, 1 << 30]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize(
    ("aspect", "matrix", "size"),
    [
        (Fraction(2), None, (128, 48)),
        (Fraction(1, 2), None, (64, 96)),
        (Fraction(16, 11), None, (92, 48)),
        (Fraction(2), TURNED, (48, 128)),
        (Fraction(256, 255), None, (64, 48)),
        (None, TURNED, (48, 64)),
    ],
)
def test_stored_pictures_have_square_pixels_and_are_upright(
    tmp_path: Path,
    suffix: str,
    aspect: Fraction | None,
    matrix: tuple[int, int, int, int] | None,
    size: tuple[int, int],
) -> None:
    shape = displayed(matrix) if matrix else None
    source = numbered.write(tmp_path / f"a.{suffix}", 6, aspect=aspect, matrix=shape, options={"g": "6"})
    index = index_video(source)
    assert stored_size(index, StoredForm()) == size
    store_video(source, tmp_path / "b.mp4", index=index, part=Part(0, 6), form=StoredForm())
    stored = index_video(tmp_path / "b.mp4")
    assert (stored.width, stored.height, stored.rotation, stored.pixel_aspect) == (*size, 0, 1)
    seen = read_frames(source)[:, : size[1], : size[0]].astype(int)  # by those who read the source itself
    assert np.abs(read_frames(tmp_path / "b.mp4") - seen).mean() < 3
    small = StoredForm(short_side=24)
    width, height = stored_size(index, small)
    assert min(width, height) == 24
    assert width / height == pytest.approx(size[0] / size[1], rel=0.05)


def test_a_mirrored_picture_is_stored_as_it_is_seen(tmp_path: Path) -> None:
    plainly = numbered.write(tmp_path / "a.mp4", 4, options={"g": "4"})
    mirrored = numbered.write(tmp_path / "m.mp4", 4, matrix=displayed(MIRRORED), options={"g": "4"})
    index = index_video(mirrored)
    assert not conforms(index, StoredForm())
    assert conforms(index_video(plainly), StoredForm())
    store_video(mirrored, tmp_path / "b.mp4", index=index, part=Part(0, 4), form=StoredForm())
    assert np.abs(read_frames(tmp_path / "b.mp4").astype(int) - read_frames(plainly)[:, :, ::-1]).mean() < 3


def test_what_is_ordinary_keeps_its_name() -> None:
    whole, part, form = Part(0, 100), Part(0, 50), StoredForm()
    for change in ({}, {"rotation": 90}, {"codec": "mpeg4", "container": "avi"}):
        assert peculiarities(dataclasses.replace(INDEX, **change), whole, form) == {}
    stamps = packed(np.cumsum(np.arange(100) % 3 + 1) / 50)
    for change in ({"mirrored": True}, {"pixel_aspect": 2.0}, {"stream": 1}, {"stamps": stamps}):
        assert peculiarities(dataclasses.replace(INDEX, **change), part, form)
    copied = dataclasses.replace(INDEX, height=240, width=320, stamps=stamps)
    assert peculiarities(copied, whole, form) == {}
