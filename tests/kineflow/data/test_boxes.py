from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.data.boxes import COLUMNS, Track, read_boxes
from kineflow.storage.errors import KineflowError
from tests.boxes_file import write_boxes

HEADER = ",".join(COLUMNS)
ROW = "a/b,3,10,20,30,60,jump,320,240"


def written(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "boxes.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_rows_of_an_actor_become_a_track(tmp_path: Path) -> None:
    path = written(tmp_path, "v,7,0,0,5.5,6,jump,32,24", "v,2,1,1,2,3,jump,32,24", "w,0,0,0,1,1,run,64,64")
    tracks = read_boxes(path)
    assert tracks.keys() == {"v", "w"}
    (track,) = tracks["v"]
    assert (track.clip, track.label, track.width, track.height, track.actor) == ("v", "jump", 32, 24, "")
    assert track.frames.tolist() == [2, 7]  # rising, whatever the order of the rows
    assert track.boxes.tolist() == [[1, 1, 2, 3], [0, 0, 5.5, 6]]


def test_several_actors_of_a_clip(tmp_path: Path) -> None:
    rows = (f"v,0,{side},0,{side + 4},4,jump,32,24,{actor}" for side, actor in ((0, "x"), (9, "y")))
    x, y = read_boxes(written(tmp_path, *rows, header=f"{HEADER},actor"))["v"]
    assert (x.actor, x.boxes.tolist()) == ("x", [[0, 0, 4, 4]])
    assert (y.actor, y.boxes.tolist()) == ("y", [[9, 0, 13, 4]])


def test_boxes_follow_the_size_of_the_frame(tmp_path: Path) -> None:
    (track,) = read_boxes(written(tmp_path, ROW))["a/b"]
    assert track.boxes_at(width=320, height=240).tolist() == [[10, 20, 30, 60]]
    assert track.boxes_at(width=160, height=60).tolist() == [[5, 5, 15, 15]]


def test_what_lies_outside_the_frame_is_cut_off(tmp_path: Path) -> None:
    (track,) = read_boxes(written(tmp_path, "v,0,-8,-1,400,12,jump,320,240"))["v"]
    assert track.boxes.tolist() == [[0, 0, 320, 12]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("v,1.5,0,0,4,4,jump,32,24", "frame must be a whole number of at least 0, not '1.5'"),
        ("v,-1,0,0,4,4,jump,32,24", "frame must be a whole number of at least 0, not '-1'"),
        ("v,1e308,0,0,4,4,jump,32,24", "frame must be a whole number of at least 0, at most 2000000, not '1e308'"),
        ("v,0,left,0,4,4,jump,32,24", "left must be a number, not 'left'"),
        ("v,0,nan,0,4,4,jump,32,24", "left must be a number, not 'nan'"),
        ("v,0,0,0,4,4,jump,0,24", "width must be a whole number of at least 1, not '0'"),
        ("v,0,4,0,4,4,jump,32,24", "no part of the box left 4, top 0, right 4, bottom 4 lies in a frame of 32x24"),
        ("v,0,40,0,44,4,jump,32,24", "no part of the box"),
        ("v,0,0,0,4,,jump,32,24", "bottom must be a number, not ''"),
        ("v,0,0,0,4,4,jump,32", "height must be a whole number of at least 1, not None"),
        (",0,0,0,4,4,jump,32,24", "clip and label must not be empty"),
        ("v,0,0,0,4,4,,32,24", "clip and label must not be empty"),
    ],
)
def test_an_impossible_row_is_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(KineflowError) as caught:
        read_boxes(written(tmp_path, ROW, row))
    assert message in str(caught.value)
    assert "line 3" in str(caught.value)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("a/b,3,0,0,4,4,jump,320,240", "a second box of clip 'a/b', frame 3"),
        ("a/b,4,0,0,4,4,run,320,240", "label is 'run', and 'jump' in another row"),
        ("a/b,4,0,0,4,4,jump,321,240", "width is '321', and '320' in another row"),
    ],
)
def test_rows_of_an_actor_agree(tmp_path: Path, second: str, message: str) -> None:
    with pytest.raises(KineflowError, match="column actor") as caught:
        read_boxes(written(tmp_path, ROW, second))
    assert message in str(caught.value)


def test_columns_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="columns are missing: label, height"):
        read_boxes(written(tmp_path, header=HEADER.replace("label,", "").replace(",height", "")))
    with pytest.raises(KineflowError, match="no readable file of boxes"):
        read_boxes(tmp_path / "absent.csv")


sides = st.tuples(st.integers(0, 15), st.integers(0, 15), st.integers(1, 16), st.integers(1, 16)).map(
    lambda parts: [parts[0], parts[1], parts[0] + parts[2], parts[1] + parts[3]]
)


@given(boxes=st.dictionaries(st.integers(0, 30), sides, min_size=1, max_size=5), actor=st.sampled_from(["", "1"]))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, boxes: dict, actor: str) -> None:
    path = tmp_path_factory.mktemp("boxes") / "boxes.csv"
    frames = sorted(boxes)
    track = Track("a,b", "jümp", np.array(frames), np.array([boxes[f] for f in frames], float), 32, 32, actor)
    write_boxes(path, [track])
    (read,) = read_boxes(path)["a,b"]
    np.testing.assert_array_equal(read.boxes, track.boxes)
    np.testing.assert_array_equal(read.frames, track.frames)
    assert (read.label, read.width, read.actor) == (track.label, 32, actor)


@pytest.mark.parametrize("row", ["v,1e308,0,0,4,4,jump,32,24", "v,0,0,0,4,4,jump,1e300,24"])
def test_a_number_that_no_video_has(tmp_path: Path, row: str) -> None:
    with pytest.raises(KineflowError, match="at most"):
        read_boxes(written(tmp_path, row))
