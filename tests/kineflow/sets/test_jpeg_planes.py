"""Flow of one clip as JPEG planes."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kineflow.sets.flow_file import read_flow
from kineflow.sets.jpeg_planes import find_planes, jpeg_size, read_jpeg_flow, write_jpeg_flow
from kineflow.storage.errors import KineflowError

FIELDS, HEIGHT, WIDTH = 6, 20, 28


def smooth_levels(fields: int = FIELDS, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Levels that a JPEG keeps almost as they are, and that tell fields and components apart."""
    y, x = np.mgrid[:height, :width]
    u = np.stack([20 * t + x for t in range(fields)])
    return np.stack([u, 255 - u - y], axis=-1).astype(np.uint8)


def assert_close(read: np.ndarray, levels: np.ndarray) -> None:
    assert read.dtype == np.uint8
    assert read.shape == levels.shape
    assert np.abs(read.astype(int) - levels).max() <= 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_jpeg_flow(tmp_path / "clip", smooth_levels())
    return tmp_path / "clip"


def test_names_and_form_are_those_of_dense_flow(folder: Path) -> None:
    expected = [f"flow_{axis}_{number:05d}.jpg" for axis in "xy" for number in range(1, FIELDS + 1)]
    assert sorted(path.name for path in folder.iterdir()) == expected
    u = cv2.imread(str(folder / "flow_x_00003.jpg"), cv2.IMREAD_UNCHANGED)
    assert u.shape == (HEIGHT, WIDTH)  # one channel
    assert np.abs(u.astype(int) - smooth_levels()[2, ..., 0]).max() <= 3


def test_round_trip(folder: Path) -> None:
    assert_close(read_jpeg_flow(folder), smooth_levels())
    np.testing.assert_array_equal(read_flow(folder), read_jpeg_flow(folder))


@given(indices=st.lists(st.integers(0, FIELDS - 1), min_size=1, max_size=9))
@settings(max_examples=25)
def test_fields_are_read_in_any_order(tmp_path_factory: pytest.TempPathFactory, indices: list[int]) -> None:
    folder = tmp_path_factory.getbasetemp() / "planes in any order"
    if not folder.is_dir():
        write_jpeg_flow(folder, smooth_levels())
    np.testing.assert_array_equal(read_flow(folder, indices), read_jpeg_flow(folder)[indices])


def test_only_what_is_asked_for_is_opened(folder: Path) -> None:
    for number in (1, 2, 4, 5, 6):
        (folder / f"flow_x_{number:05d}.jpg").write_bytes(b"not opened")
    assert_close(read_flow(folder, [2]), smooth_levels()[[2]])


@pytest.mark.parametrize("quality", [90, 95])
def test_quality_decides_size_and_error(tmp_path: Path, quality: int) -> None:
    levels = np.random.default_rng(0).integers(100, 156, (2, 64, 64, 2), dtype=np.uint8)
    for name, chosen in (("given", quality), ("best", 100)):
        write_jpeg_flow(tmp_path / name, levels, quality=chosen)
    given_bytes, best_bytes = (sum(path.stat().st_size for path in (tmp_path / n).iterdir()) for n in ("given", "best"))
    assert given_bytes < 0.8 * best_bytes
    with pytest.raises(KineflowError, match="quality"):
        write_jpeg_flow(tmp_path / "none", levels, quality=0)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("digits", [1, 4, 6])
@pytest.mark.parametrize("names", [("flow_x_", "flow_y_"), ("x_", "y_"), ("frame", "frame")])
def test_namings_of_other_tools(folder: Path, tmp_path: Path, names: tuple[str, str], digits: int, first: int) -> None:
    apart = names[0] == names[1]
    homes = [tmp_path / axis / "renamed" if apart else tmp_path / "renamed" for axis in "uv"]
    for axis, home, name in zip("xy", homes, names, strict=True):
        home.mkdir(parents=True, exist_ok=True)
        for number in range(FIELDS):
            plane = (folder / f"flow_{axis}_{number + 1:05d}.jpg").read_bytes()
            (home / f"{name}{number + first:0{digits}}.jpg").write_bytes(plane)
    (homes[0] / "img_00001.jpg").write_bytes(b"a frame, as many tools write beside the flow")
    (homes[0] / "notes.txt").write_text("of no concern")
    np.testing.assert_array_equal(read_flow(homes[0]), read_jpeg_flow(folder))


def test_many_digits_are_numbers_not_text(tmp_path: Path) -> None:
    write_jpeg_flow(tmp_path / "clip", smooth_levels(11))
    for path in list((tmp_path / "clip").iterdir()):
        axis, number = path.stem.split("_")[1:]
        path.rename(path.with_name(f"flow_{axis}_{int(number)}.jpg"))
    assert_close(read_flow(tmp_path / "clip", [9, 1]), smooth_levels(11)[[9, 1]])


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (["x_00003", "y_00003"], "frame 3 is missing"),
        (["x_00003", "y_00003", "x_00005", "y_00005"], "1 more"),
        (["y_00002"], "frame 2 has a plane u and no plane v"),
        (["x_00006"], "frame 6 has a plane v and no plane u"),
        (["x_00001", "y_00001"], "begins with frame 2"),
        ([f"{axis}_{number:05d}" for axis in "xy" for number in range(1, FIELDS + 1)], "no flow planes"),
        ([f"y_{number:05d}" for number in range(1, FIELDS + 1)], "no plane v"),
    ],
)
def test_lost_planes_are_named(folder: Path, lost: list[str], message: str) -> None:
    for name in lost:
        (folder / f"flow_{name}.jpg").unlink()
    for read in (find_planes, read_flow):
        with pytest.raises(KineflowError, match=message) as caught:
            read(folder)
        assert caught.value.where == folder


def test_a_number_from_far_away_is_a_gap_like_others(folder: Path) -> None:
    for axis in "xy":
        (folder / f"flow_{axis}_00006.jpg").rename(folder / f"flow_{axis}_999999999.jpg")
    with pytest.raises(KineflowError, match=r"frame 6 is missing \(and 999999992 more\)"):
        find_planes(folder)


@pytest.mark.parametrize("indices", [[-1], [FIELDS], [0, FIELDS], []])
def test_fields_that_are_not_there(folder: Path, indices: list[int]) -> None:
    with pytest.raises(KineflowError, match=f"of {FIELDS}"):
        read_flow(folder, indices)


def png() -> bytes:
    return cv2.imencode(".png", np.zeros((HEIGHT, WIDTH), np.uint8))[1].tobytes()


def huge_header() -> bytes:
    """A JPEG that claims 65535 px squared, and says no more."""
    return b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 11, 8, 65535, 65535, 1) + bytes(3) + b"\xff\xd9"


def other_size() -> bytes:
    return cv2.imencode(".jpg", np.zeros((HEIGHT + 2, WIDTH), np.uint8))[1].tobytes()


BAD = {
    "empty": (b"", "no JPEG"),
    "text": (b"not an image", "no JPEG"),
    "png": (png(), "no JPEG"),
    "compressed": (zlib.compress(bytes(1000)), "no JPEG"),
    "no picture": (b"\xff\xd8\xff\xd9", "no JPEG"),
    "endless segment": (b"\xff\xd8\xff\xe0\x00\x00" * 9, "no JPEG"),
    "huge": (huge_header(), "too large"),
}


@pytest.mark.parametrize("content", BAD)
def test_bytes_are_not_trusted(folder: Path, content: str) -> None:
    plane, (data, message) = folder / "flow_y_00004.jpg", BAD[content]
    plane.write_bytes(data)
    with pytest.raises(KineflowError, match=message) as caught:
        read_flow(folder)
    assert caught.value.where == plane
    assert len(read_flow(folder, [0])) == 1


@pytest.mark.parametrize("axes", ["y", "xy"])
def test_one_clip_has_one_size(folder: Path, axes: str) -> None:
    for axis in axes:
        (folder / f"flow_{axis}_00004.jpg").write_bytes(other_size())
    with pytest.raises(KineflowError, match=r"flow_x_00004.jpg: u and v differ in size"):
        read_flow(folder)


@given(kept=st.floats(0, 0.99))
@settings(max_examples=30)
def test_a_cut_jpeg_is_never_taken_for_whole(tmp_path_factory: pytest.TempPathFactory, kept: float) -> None:
    folder = tmp_path_factory.mktemp("cut")
    write_jpeg_flow(folder / "clip", smooth_levels(1))
    plane = folder / "clip" / "flow_x_00001.jpg"
    plane.write_bytes(plane.read_bytes()[: int(kept * plane.stat().st_size)])
    with pytest.raises(KineflowError):
        read_flow(folder / "clip")


@given(places=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=5))
@settings(max_examples=40)
def test_damaged_bytes_are_levels_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[float, int]]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    write_jpeg_flow(folder, smooth_levels(1))
    plane = folder / "flow_x_00001.jpg"
    data = bytearray(plane.read_bytes())
    for place, byte in places:
        data[int(place * len(data))] = byte
    plane.write_bytes(data)
    with contextlib.suppress(KineflowError):
        assert read_flow(folder).shape == (1, HEIGHT, WIDTH, 2)


@given(data=st.binary(max_size=200))
def test_any_bytes_have_a_size_or_none(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jpg"
    path.write_bytes(b"\xff\xd8" + data)
    try:
        height, width = jpeg_size(path)
    except KineflowError:
        return
    assert height > 0
    assert width > 0


@given(height=st.integers(1, 70), width=st.integers(1, 70), quality=st.sampled_from([50, 95, 100]))
@settings(max_examples=25)
def test_the_header_tells_the_size(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, quality: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "sized.jpg"
    _, data = cv2.imencode(".jpg", np.zeros((height, width), np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])
    path.write_bytes(data.tobytes())
    assert jpeg_size(path) == (height, width)


def test_colour_and_progressive_jpegs_are_read_as_grey(folder: Path) -> None:
    grey = cv2.imread(str(folder / "flow_x_00001.jpg"), cv2.IMREAD_GRAYSCALE)
    colour = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    cv2.imwrite(str(folder / "flow_x_00001.jpg"), colour, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert_close(read_flow(folder), smooth_levels())


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(KineflowError) as caught:
        find_planes(tmp_path / "none")
    assert caught.value.where == tmp_path / "none"


def test_a_jpeg_of_very_many_scans_is_not_decoded(folder: Path) -> None:
    path = folder / "flow_x_00001.jpg"
    content = path.read_bytes()
    start = content.index(b"\xff\xda")
    path.write_bytes(content[:-2] + content[start:-2] * 70 + content[-2:])
    with pytest.raises(KineflowError, match="a JPEG of 71 scans"):
        read_flow(folder)


def test_planes_that_are_too_much_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kineflow.sets import jpeg_planes

    pixels = smooth_levels()[0, ..., 0].size
    monkeypatch.setattr(jpeg_planes, "_MOST_PIXELS", 2 * pixels)
    assert len(read_flow(folder, [0, 1, 1])) == 3
    with pytest.raises(KineflowError, match="too much to read at once"):
        read_flow(folder, [0, 1, 2])
