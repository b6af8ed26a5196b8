"""What is written to ``clips.csv`` is what the layout csv reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from kineflow.data.layouts import list_clips, open_lists
from kineflow.data.layouts.rows import ListedClip
from kineflow.data.source import LocalSource
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.survey.clips_csv import with_rows, without_rows, write_clips
from kineflow.survey.facts import Header, Look
from kineflow.survey.survey_set import SeenClip


def seen(row: ListedClip, file_sec: float = 60.0) -> SeenClip:
    return SeenClip(0, row, Look(Header(25.0, 2.0, 64, 48, "h264"), file_sec=file_sec))


def test_a_list_comes_back_as_it_was_written(tmp_path: Path) -> None:
    rows = [
        ListedClip("=a,b.mp4", "-5 'x", Split.TRAIN, "+g", "l:1"),
        ListedClip("ü/b.mp4", None, Split.UNLABELLED, "h", "l:2"),
        ListedClip("c.mp4", "y", Split.TEST, "c", "l:3", start_sec=1.25, end_sec=12345.678),
        ListedClip("d.mp4", "y", Split.VAL, "d", "l:4", end_sec=3.0),
        ListedClip("e.mp4", "y", Split.TRAIN, "e", "l:5", start_frame=0, end_frame=30),
        ListedClip("f.mp4", "y", Split.TRAIN, "f", "l:6", also="-5 'x\nz, z"),
    ]
    write_clips(tmp_path / "clips.csv", [seen(row) for row in rows], multi_label=True)
    for row in rows:
        (tmp_path / row.source).parent.mkdir(exist_ok=True)
        (tmp_path / row.source).touch()
    source = LocalSource(tmp_path)
    listing = list_clips("csv", open_lists(source, ""), source.names())
    assert [(c.source, c.labels, c.split, c.group, c.part) for c in listing.clips] == [
        (c.source, c.labels, c.split, c.group, c.part) for c in rows
    ]
    assert (listing.classes, listing.multi_label) == (("-5 'x", "y", "z, z"), True)


def test_a_file_that_is_its_part_already_is_listed_whole(tmp_path: Path) -> None:
    part = ListedClip("a.mp4", "y", Split.TRAIN, "a", "l:1", start_sec=30.0, end_sec=40.0, may_be_cut=True)
    write_clips(tmp_path / "cut.csv", [seen(part, file_sec=10.2)])
    write_clips(tmp_path / "whole.csv", [seen(part, file_sec=200.0)])
    assert (tmp_path / "cut.csv").read_text().splitlines()[1:] == ["a.mp4,y,train,a"]
    assert (tmp_path / "whole.csv").read_text().splitlines()[1:] == ["a.mp4,y,train,a,30,40"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_new_rows_come_after_the_user_s_own_which_stay_as_they_are(end: str, last: bool) -> None:
    text = "\ufeffgroup, label,path,split" + end + '"g, 1",x,a.mp4,train' + end + end + " h ,,b.mp4," + end * last
    new = seen(ListedClip("=c.mp4", "y", Split.TEST, "h", "l:3"))
    after = with_rows(text, [new], where="clips.csv")
    assert after == text + end * (not last) + "h,y,'=c.mp4,test" + end
    assert with_rows(text, [], where="clips.csv") == text
    with pytest.raises(KineflowError, match="no column start, which the new clip"):
        with_rows(text, [seen(ListedClip("c.mp4", "y", Split.TRAIN, "c", "l:3", start_sec=1.0))], where="clips.csv")


def test_a_row_that_goes_takes_its_lines_alone() -> None:
    text = 'path,label,split\r\na.mp4,x,train\r\n"b\nb.mp4",x,train\n\nc.mp4,x,train'
    assert without_rows(text, [2, 3, 6], {3}) == "path,label,split\r\na.mp4,x,train\r\nc.mp4,x,train"
    assert without_rows(text, [2, 3, 6], set()) == text
