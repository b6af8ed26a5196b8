"""Answers go into the list, and nothing else of it changes; of answers that do not fit none does, and all are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from kineflow.labelling.relabel import Relabelled, label_list
from kineflow.storage.errors import KineflowError

LIST = (
    "\ufeffpath,group,label,split\r\n"
    '"a/1.mp4","g, 1",,unlabelled\r\n'
    "a/2.mp4,g2,fight,unlabelled\r\n"
    "\r\n"
    "./a//3.mp4, g3 ,normal,val\r\n"
    "cafe\u0301.mp4,g4,,\r\n"
    "'=x.mp4,g5,fight,train"
)


def labelled(folder: Path, answers: str | bytes, listed: str = LIST, **options: object) -> Relabelled:
    """Take answers into a list; the list stands in ``clips.csv`` afterwards."""
    if not (folder / "clips.csv").exists():
        (folder / "clips.csv").write_bytes(listed.encode())
    (folder / "answers.csv").write_bytes(answers if isinstance(answers, bytes) else answers.encode())
    return label_list(folder / "clips.csv", folder / "answers.csv", root="/videos", **options)  # type: ignore[arg-type]


ANSWERS = "path,label\na/1.mp4,fight\na/2.mp4,normal\na/3.mp4,fight\ncaf\u00e9.mp4,normal\n'=x.mp4,fight\n"
AFTER = (
    LIST.replace('1",,unlabelled', '1",fight,train')
    .replace("fight,unlabelled", "normal,train")
    .replace("normal,val", "fight,val")
    .replace("g4,,", "g4,normal,train")
)


def test_first_labels_go_to_train_corrected_ones_keep_their_split_and_all_else_stays(tmp_path: Path) -> None:
    done = labelled(tmp_path, ANSWERS)
    assert (tmp_path / "clips.csv").read_bytes() == AFTER.encode()
    assert (done.labelled, done.corrected) == ({"fight": 1, "normal": 2}, {"fight": 1})
    assert (done.kept, done.skipped) == (1, 0)


def test_the_same_answers_again_change_nothing(tmp_path: Path) -> None:
    labelled(tmp_path, ANSWERS)
    before = (tmp_path / "clips.csv").stat()
    done = labelled(tmp_path, ANSWERS)
    assert (done.labelled.total(), done.corrected.total(), done.kept) == (0, 0, 5)
    assert (tmp_path / "clips.csv").stat().st_ino == before.st_ino


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    assert labelled(tmp_path, ANSWERS, dry_run=True).labelled.total() == 3
    assert (tmp_path / "clips.csv").read_bytes() == LIST.encode()


@pytest.mark.parametrize(
    "answers",
    [
        b"\xef\xbb\xbf" + ANSWERS.replace(",", ";").replace("\n", "\r\n").encode(),
        ANSWERS.replace(",", "\t").replace("\n", "\r").replace("\r", "\r\n"),
        ANSWERS.replace("path,label", "File,Class").replace("a/2", "/videos/a/2"),
    ],
    ids=["semicolons", "tabs", "other names and absolute paths"],
)
def test_answers_may_have_been_through_a_spreadsheet(tmp_path: Path, answers: str | bytes) -> None:
    labelled(tmp_path, answers)
    assert (tmp_path / "clips.csv").read_bytes() == AFTER.encode()


def test_empty_answers_leave_rows_alone(tmp_path: Path) -> None:
    assert labelled(tmp_path, "path,label\na/1.mp4,\na/3.mp4,\n").skipped == 2
    assert (tmp_path / "clips.csv").read_bytes() == LIST.encode()


PARTS = "path,label,split,start,end\nv.mp4,,unlabelled,,2.5\nv.mp4,fight,train,2.5000004,10\nw.mp4,,unlabelled,,\n"


def test_parts_of_one_video_are_told_by_their_times(tmp_path: Path) -> None:
    labelled(tmp_path, "path;label;start;end\nv.mp4;fight;0;2,5\nw.mp4;fight;;\n", PARTS)
    assert (tmp_path / "clips.csv").read_text() == PARTS.replace(",,unlabelled", ",fight,train")


def test_parts_of_one_video_are_told_by_their_frames(tmp_path: Path) -> None:
    listed = "path,label,split,start_frame,end_frame\nv.mp4,,unlabelled,,30\nv.mp4,fight,train,30,60\n"
    labelled(tmp_path, "path,label,start_frame,end_frame\nv.mp4,fight,,30\n", listed)
    assert (tmp_path / "clips.csv").read_text() == listed.replace(",,unlabelled", ",fight,train")


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ("path,label,start,end\nv.mp4,fight,1,2.5\n", "not this part"),
        ("path,label\nv.mp4,fight\n", "is 2 clips of the list"),
        ("path,label,start,end\nv.mp4,fight,01. May,\n", "no time in seconds"),
    ],
)
def test_a_part_that_is_not_one_of_the_list_is_refused(tmp_path: Path, answers: str, problem: str) -> None:
    with pytest.raises(KineflowError, match=problem):
        labelled(tmp_path, answers, PARTS)


def test_all_faults_are_told_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    wrong = (
        "a/1.mp4,Fight\na/2.mp4,fihgt\na/3.mp4,normal\na/3.mp4,fight\n"
        "gone.mp4,fight\n../out.mp4,fight\ncafe\u0301.mp4,fihgt\n"
    )
    with pytest.raises(KineflowError) as fault:
        labelled(tmp_path, f"path,label\n{wrong}")
    said = str(fault.value)
    assert said.startswith(f"{tmp_path / 'answers.csv'}: 5 things")
    for words in (
        "'Fight' is class 'fight' but for", "'fihgt' is no class of the list (2 rows)", "'fight' here, and 'normal' at",
        "'gone.mp4' is not in the list", "leads outside", "--new-class fihgt", "answers.csv:6",
    ):  # fmt: skip
        assert words in said
    assert (tmp_path / "clips.csv").read_bytes() == LIST.encode()


def test_a_new_class_has_to_be_named_and_may_not_look_like_another(tmp_path: Path) -> None:
    answers = "path,label\na/1.mp4,'=run away\n"
    with pytest.raises(KineflowError, match="--new-class '=run away'"):
        labelled(tmp_path, answers)
    labelled(tmp_path, answers, new_classes=["=run away"])
    assert b'"g, 1",\'=run away,train' in (tmp_path / "clips.csv").read_bytes()
    labelled(tmp_path, answers)  # which has it now
    for name in ("FIGHT", "run\x07"):
        with pytest.raises(KineflowError, match="--new-class"):
            labelled(tmp_path, "path,label\na/1.mp4,fight\n", new_classes=[name])


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        (b"path,label\n\xe4.mp4,fight\n", "not UTF-8"),
        (b"a,b\n1,2\n", "no column for paths"),
        (b"path,label\ra/1.mp4,fight\n", "no column for paths"),
        (b'path,label\n"a/1.mp4,fight\n', "malformed CSV|values where"),
        (b"path,label\n" + b"x" * 200_000 + b",fight\n", "field larger"),
        (b"path,label\n" + b"x" * 5_000 + b",fight\n", "more than any file's"),
    ],
)
def test_a_file_that_is_no_list_of_answers_is_refused(tmp_path: Path, answers: bytes, problem: str) -> None:
    with pytest.raises(KineflowError, match=problem):
        labelled(tmp_path, answers)
    assert (tmp_path / "clips.csv").read_bytes() == LIST.encode()


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text(LIST)
    with (tmp_path / "answers.csv").open("wb") as file:
        file.truncate(2**27)
    with pytest.raises(KineflowError, match="larger than"):
        label_list(tmp_path / "clips.csv", tmp_path / "answers.csv", root="")


def test_a_link_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_bytes(LIST.encode())
    (tmp_path / "clips.csv").symlink_to("there.csv")
    with pytest.raises(KineflowError, match="a link"):
        labelled(tmp_path, ANSWERS)
    assert (tmp_path / "there.csv").read_bytes() == LIST.encode()
