"""What lies in a place says its layout, and a plain list may be written as people write one."""

from __future__ import annotations

from pathlib import Path

import pytest

from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.survey.found import FoundClips, find_clips, holds_videos

UCF = {
    "classInd.txt": "1 Wave\n",
    "trainlist01.txt": "Wave/v_Wave_g01_c01.avi 1\n",
    "testlist01.txt": "Wave/v_Wave_g02_c01.avi\n",
}
HMDB = {"wave_test_split1.txt": "a_wave_u_nm_np1_fr_goo_1.avi 1 \nb_wave_u_nm_np1_fr_goo_1.avi 2 \n"}
KINETICS = {"train.csv": "label,youtube_id,time_start,time_end,split\nwave,abc,0,10,train\n"}
SOMETHING = {
    "x-train.json": '[{"id": "1", "template": "Waving [something]", "label": "waving a hat"}]',
    "x-validation.json": '[{"id": "2", "template": "Waving [something]", "label": "waving a cat"}]',
}
STUDIO = {
    "export.json": '[{"data": {"video": "/data/a.mp4"}, "annotations": [{"result": '
    '[{"type": "choices", "from_name": "c", "value": {"choices": ["Wave"]}}]}]}]'
}
CVAT = {
    "annotations.xml": "<annotations><version>1.1</version><meta><task><id>1</id><source>a.mp4</source>"
    '</task></meta><image id="0" name="frame_000000"><tag label="wave"></tag></image></annotations>'
}


def find(folder: Path, files: dict[str, str], *, place: str = "") -> FoundClips:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return find_clips(str(folder / place))


@pytest.mark.parametrize(
    ("layout", "files"),
    [
        ("ucf101", {**UCF, "Wave/v_Wave_g01_c01.avi": ""}),
        ("hmdb51", {**HMDB, "wave/a_wave_u_nm_np1_fr_goo_1.avi": ""}),
        ("kinetics", {**KINETICS, "wave/abc_000000_000010.mp4": ""}),
        ("something", {**SOMETHING, "1.webm": "", "2.webm": ""}),
        ("label_studio", {**STUDIO, "a.mp4": ""}),
        ("cvat", {**CVAT, "a.mp4": ""}),
        ("csv", {"Liste.csv": "Class;File name\nwave;wave/a.mp4\n", "wave/a.mp4": "", "other/b.mp4": ""}),
        ("ucf11", {"wave/v_wave_01/v_wave_01_02.mpg": "", "run/v_run_20/v_run_20_01.mpg": ""}),
        ("folder", {"wave/a.mp4": "", "run/b.mp4": "", "notes.csv": "date,text\n1,2\n"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_layout_is_found(layout: str, files: dict[str, str], tmp_path: Path) -> None:
    found = find(tmp_path, files)
    assert found.layout == layout
    assert found.listing.clips


def test_several_classes_a_clip_fit_no_list_of_one(tmp_path: Path) -> None:
    lists = {f"ClipSets/{name}_{split}.txt": f"actionclip{split}1  1\n" for name in "ab" for split in ("train", "test")}
    with pytest.raises(KineflowError, match="--dataset hollywood2"):
        find(tmp_path, {**lists, "AVIClips/actioncliptrain1.avi": "", "AVIClips/actioncliptest1.avi": ""})


@pytest.mark.parametrize("header", ["path,label", "filename,class", "VIDEO\tCategory", "label;file;note"])
def test_columns_may_be_called_and_parted_as_people_do(header: str, tmp_path: Path) -> None:
    mark = next(letter for letter in ",\t;" if letter in header)
    values = {"label": "wave", "class": "wave", "Category": "wave", "note": ""}
    row = mark.join(values.get(name, "a.mp4") for name in header.split(mark))
    found = find(tmp_path, {"list.csv": f"{header}\n{row}\n", "deep/a.mp4": ""}, place="list.csv")
    assert [(clip.source, clip.label) for clip in found.listing.clips] == [("deep/a.mp4", "wave")]
    assert not found.has_splits
    assert not found.has_groups


def test_splits_and_groups_of_a_list_are_taken(tmp_path: Path) -> None:
    text = "video,class,subset,recording\na.mp4,x,Training,g\nb.mp4,x,validation,h\nc.mp4,x,TEST,i\nd.mp4,,,\n"
    found = find(tmp_path, {"list.csv": text, **{f"{name}.mp4": "" for name in "abcd"}})
    assert [clip.split for clip in found.listing.clips] == [Split.TRAIN, Split.VAL, Split.TEST, Split.UNLABELLED]
    assert [clip.group for clip in found.listing.clips] == ["g", "h", "i", "d"]
    assert found.has_splits
    assert found.has_groups


def test_a_list_of_absolute_paths_may_lie_anywhere(tmp_path: Path) -> None:
    paths = [tmp_path / "disk" / "x" / "a.mp4", tmp_path / "disk" / "y" / "b.mp4"]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.touch()
    text = "path,label\n" + "".join(f"{path},x\n" for path in paths)
    found = find(tmp_path, {"lists/all.csv": text}, place="lists/all.csv")
    assert found.source.root == str(tmp_path / "disk")
    assert [clip.source for clip in found.listing.clips] == ["x/a.mp4", "y/b.mp4"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("path,label,split\na.mp4,x,holdout\n", "list.csv:2: unknown split 'holdout'"),
        ("path,label\na.mp4\n", "list.csv:2: 1 values"),
        ("path,label\n../a.mp4,x\n", "list.csv:2: path '../a.mp4' leads outside"),
        ("path,label\n", "names no clip"),
    ],
)
def test_a_row_that_is_none_is_named(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match=problem):
        find(tmp_path, {"list.csv": text}, place="list.csv")


FOLDERS = {"wave/a.mp4": "", "wave/b.mp4": "", "run/c.mp4": "", "run/d.mp4": ""}
PUPILS = "name,class\nAnn,3b\nBob,3c\n"


@pytest.mark.parametrize(
    ("layout", "unrelated"),
    [
        ("csv", {"pupils.csv": PUPILS}),
        ("something", {"train.json": '[{"template": "Dear {name}", "id": "7", "label": "letter"}]'}),
        ("label_studio", {"tasks.json": '[{"data": {"text": "hello"}, "annotations": []}]'}),
        ("cvat", {"map.xml": "<annotations><note>north</note></annotations>"}),
    ],
)
def test_a_list_of_other_things_is_passed_over_and_told(layout: str, unrelated: dict[str, str], tmp_path: Path) -> None:
    found = find(tmp_path, FOLDERS | unrelated)
    assert found.layout == "folder"
    assert len(found.listing.clips) == 4
    (note,) = found.notes
    assert f"not of layout {layout}" in note


def test_the_list_that_names_the_videos_is_taken_among_others(tmp_path: Path) -> None:
    files = {"a.csv": PUPILS, "b.csv": "file,label\nwave/a.mp4,x\nrun/c.mp4,y\n", "map.xml": "<annotations/>"}
    found = find(tmp_path, FOLDERS | files)
    assert (found.layout, found.lists, len(found.listing.clips)) == ("csv", "b.csv", 2)
    assert "2 videos are in no row" in found.notes[-1]
    cvat = find(tmp_path / "cvat", {**CVAT, "settings.xml": "<settings/>", "a.mp4": ""})
    assert (cvat.layout, cvat.lists) == ("cvat", "annotations.xml")


def test_official_lists_fit_a_part_of_their_videos(tmp_path: Path) -> None:
    rows = "".join(f"wave,id{n},0,10,train\n" for n in range(50))
    text = f"label,youtube_id,time_start,time_end,split\n{rows}"
    assert find(tmp_path, {"train.csv": text, "wave/id3_000000_000010.mp4": ""}).layout == "kinetics"


def test_a_malformed_list_of_the_videos_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match=r"list\.csv:3: unknown split 'holdout'"):
        find(tmp_path, {**FOLDERS, "list.csv": "path,label,split\nwave/a.mp4,x,train\nrun/c.mp4,y,holdout\n"})


def test_where_nothing_fits_each_try_is_told(tmp_path: Path) -> None:
    with pytest.raises(KineflowError) as error:
        find(tmp_path, {"all/a.mp4": "", "all/b.mp4": "", "pupils.csv": PUPILS, "map.xml": "<annotations/>"})
    for reason in ("cvat (map.xml)", "0 of 2 rows name a video that is there", "all videos with a class lie in one"):
        assert reason in error.value.problem
    named = find_clips(str(tmp_path / "pupils.csv"))  # what is named is meant
    assert named.layout == "csv"


def test_a_place_of_videos_is_told_from_one_for_a_project(tmp_path: Path) -> None:
    (tmp_path / "videos" / "a").mkdir(parents=True)
    (tmp_path / "videos" / "a" / "1.MP4").touch()
    (tmp_path / "list.csv").touch()
    (tmp_path / "notes.md").touch()
    assert holds_videos(str(tmp_path / "videos"))
    assert holds_videos(str(tmp_path / "list.csv"))
    assert holds_videos("s3://bucket/prefix")
    assert not holds_videos(str(tmp_path / "notes.md"))
    assert not holds_videos(str(tmp_path / "new"))
