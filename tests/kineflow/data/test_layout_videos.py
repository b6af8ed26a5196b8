"""Which file is meant by a listed name: never the video of another class, and none where several may be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from kineflow.data.layouts import list_clips, open_lists
from kineflow.data.layouts.rows import ListedClip
from kineflow.data.layouts.videos import Videos
from kineflow.data.source import LocalSource
from kineflow.storage.errors import KineflowError

CLASSES = frozenset({"run", "walk", "Stand Up"})


def found(listed: str, *names: str, label: str = "run") -> str | None:
    place = Videos.among(names).find(listed, label=label, classes=CLASSES)
    assert place.is_there or place.source == listed
    return place.source if place.is_there else None


@pytest.mark.parametrize(
    ("listed", "names", "meant"),
    [
        ("run/02.avi", ["run/02.avi", "UCF/run/02.avi"], "run/02.avi"),
        ("run/02.avi", ["UCF/run/02.avi", "UCF/walk/02.avi", "UCF/run/02.mp4"], "UCF/run/02.avi"),
        ("run/02.avi", ["UCF/run/02.mp4", "UCF/walk/02.avi"], "UCF/run/02.mp4"),
        ("run/02.avi", ["all/02.mp4"], "all/02.mp4"),
        ("run/02.avi", ["02.mp4", "02.txt"], "02.mp4"),
        ("run/02.avi", ["walk/run/02.avi"], "walk/run/02.avi"),
        ("run/02.avi", ["RUN/02.AVI"], "RUN/02.AVI"),
    ],
)
def test_what_is_meant(listed: str, names: list[str], meant: str) -> None:
    assert found(listed, *names) == meant


@pytest.mark.parametrize(
    "names",
    [
        ["walk/02.avi"],
        ["data/Walk/sub/02.mp4"],
        ["stand_up/02.avi"],
        ["run/walk/02.mp4"],
        ["a/02.avi", "b/02.avi"],
        ["a/02.avi", "a/02.mp4"],
        ["a/run/02.avi", "b/run/02.avi"],
        ["a/run/02.mp4", "a/run/02.mkv"],
        ["run/02.txt", "run/2.avi", "run/02.avi.part"],
    ],
)
def test_nothing_is_meant_for_sure(names: list[str]) -> None:
    assert found("run/02.avi", *names) is None


def listed(root: Path, layout: str, files: dict[str, str]) -> dict[str, ListedClip]:
    """Clips by label and group, of a source with these files."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    source = LocalSource(root)
    listing = list_clips(layout, open_lists(source, ""), source.names(), root=source.root)
    return {f"{clip.label} {clip.group} {clip.start_sec}": clip for clip in listing.clips}


def test_one_file_is_not_the_video_of_two_classes(tmp_path: Path) -> None:
    lists = {
        "classInd.txt": "1 run\n2 walk\n",
        "trainlist01.txt": "run/02.avi 1\nwalk/02.avi 2\nwalk/03.avi 2\n",
        "testlist01.txt": "run/03.avi\n",
    }
    clips = listed(tmp_path, "ucf101", {**lists, "all/02.avi": "", "walk/03.avi": ""})
    assert {key: (clip.source, bool(clip.missing)) for key, clip in clips.items()} == {
        "run 02 None": ("run/02.avi", True),
        "walk 02 None": ("walk/02.avi", True),
        "walk 03 None": ("walk/03.avi", False),
        "run 03 None": ("run/03.avi", True),
    }
    assert "'all/02.avi' has its name, but also answers to" in clips["run 02 None"].missing
    assert "'walk/03.avi' has its name, but lies in another class's folder" in clips["run 03 None"].missing


def test_a_file_that_links_give_two_names_is_one(tmp_path: Path) -> None:
    lists = {"classInd.txt": "1 run\n", "trainlist01.txt": "run/02.avi 1\n", "testlist01.txt": ""}
    (tmp_path / "latest").symlink_to("v2")
    (clip,) = listed(tmp_path, "ucf101", {**{f"lists/{n}": t for n, t in lists.items()}, "v2/run/02.avi": ""}).values()
    assert (clip.source, clip.missing) == ("v2/run/02.avi", "")


def test_hmdb51_does_not_take_a_namesake(tmp_path: Path) -> None:
    name = "MOVIE_1_f_cm_np1_fr_med_0.avi"
    files = {"run_test_split1.txt": f"{name} 1\n", "walk_test_split1.txt": f"{name} 2\n", f"hmdb/walk/{name}": ""}
    clips = listed(tmp_path, "hmdb51", files)
    assert {clip.label: clip.source for clip in clips.values()} == {"run": f"run/{name}", "walk": f"hmdb/walk/{name}"}
    with pytest.raises(KineflowError, match="two lists of class 'run'"):
        listed(tmp_path, "hmdb51", {"old/run_test_split1.txt": f"{name} 2\n"})


def test_two_lists_of_one_name_are_not_chosen_between(tmp_path: Path) -> None:
    files = {f"{folder}/{name}": "" for folder in "ab" for name in ("classInd.txt", "trainlist01.txt")}
    with pytest.raises(KineflowError, match=r"several files are called 'classInd\.txt': a/classInd\.txt, b/"):
        listed(tmp_path, "ucf101", files)


KINETICS = "label,youtube_id,time_start,time_end,split\n"


def test_parts_of_one_kinetics_video_do_not_get_each_others_file(tmp_path: Path) -> None:
    rows = "run,id,0,10,train\nrun,id,20,30,train\nwalk,id,40,50,train\nrun,other,0,10,test\n"
    listed(tmp_path, "kinetics", {"k.csv": KINETICS + rows, "run/id_000020_000030.mp4": "", "walk/id.mp4": ""})
    source = LocalSource(tmp_path)
    clips = list_clips("kinetics", open_lists(source, ""), source.names()).clips
    assert [(clip.source, clip.may_be_cut, bool(clip.missing)) for clip in clips] == [
        ("run/id_000000_000010.mp4", False, True),  # the whole video is there, in the folder of another class
        ("run/id_000020_000030.mp4", False, False),
        ("walk/id.mp4", True, False),
        ("run/other_000000_000010.mp4", False, False),
    ]


def test_several_parts_of_a_whole_kinetics_video_need_the_whole(tmp_path: Path) -> None:
    rows = "run,id,0,10,train\nwalk,id,20,30,train\nrun,one,5,15,train\n"
    clips = listed(tmp_path, "kinetics", {"k.csv": KINETICS + rows, "all/id.mp4": "", "all/one.mp4": ""})
    assert {key: (c.source, c.may_be_cut, c.whole_sec) for key, c in clips.items()} == {
        "run id 0.0": ("all/id.mp4", False, 30.0),
        "walk id 20.0": ("all/id.mp4", False, 30.0),
        "run one 5.0": ("all/one.mp4", True, None),
    }


def test_kinetics_rows_without_a_label(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = {
        "train.csv": f"{KINETICS}run,a,0,10,train\n,b,0,10,train\n",
        "validate.csv": f"{KINETICS},c,0,10,validate\nrun,d,0,10,validate\n",
        "test.csv": "youtube_id,time_start,time_end,split\ne,0,10,test\nf,0,10,test\n",
    }
    clips = listed(tmp_path, "kinetics", files)
    assert {clip.group: (clip.label, clip.split.value) for clip in clips.values()} == {
        "a": ("run", "train"), "b": (None, "unlabelled"), "d": ("run", "val")
    }  # fmt: skip
    assert "test.csv: rows without a label: 2; they cannot be scored and are left out" in caplog.text
    with pytest.raises(KineflowError, match="no row has a label"):
        listed(tmp_path / "alone", "kinetics", {"test.csv": files["test.csv"]})


def test_an_empty_label_makes_a_training_clip_unlabelled(tmp_path: Path) -> None:
    rows = "a.mp4,run,train\nb.mp4,,train\nc.mp4,,\nd.mp4,,unlabelled\n"
    clips = listed(tmp_path, "csv", {"clips.csv": f"path,label,split\n{rows}"})
    assert [(clip.label, clip.split.value) for clip in clips.values()] == [
        ("run", "train"), (None, "unlabelled"), (None, "unlabelled"), (None, "unlabelled")
    ]  # fmt: skip


@pytest.mark.parametrize(("row", "fault"), [("a.mp4,,train,b", "without a label"), ("a.mp4,b,train,c; b", "'b' twice")])
def test_further_classes_that_are_none_are_refused(row: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match=rf"clips\.csv:2: .*{fault}"):
        listed(tmp_path, "csv", {"clips.csv": f"path,label,split,also\n{row}\n"})


def test_a_cell_of_ten_megabytes_is_one_short_message(tmp_path: Path) -> None:
    for cell in ("x" * 10**7, '"' + "x\n" * 10**5):
        with pytest.raises(KineflowError, match=r"clips\.csv:2: malformed CSV") as caught:
            listed(tmp_path, "csv", {"clips.csv": f"path,label,split\n{cell},run,train\n"})
        assert len(str(caught.value)) < 1000
    long = "x" * 10**5
    for row in (f"a.mp4,{long},train,g", f"{long},a,train,g", f"a.mp4,a,train,{long}", f"a.mp4,a,{long},g"):
        with pytest.raises(KineflowError, match=r"clips\.csv:2: .*xxx…'") as caught:
            listed(tmp_path, "csv", {"clips.csv": f"path,label,split,group\n{row}\n"})
        assert len(str(caught.value)) < 1000
