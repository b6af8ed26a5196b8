"""What is written for whoever labels: whole, of files that go together, and never over answers."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest

from kineflow.labelling.page import write_labelling
from kineflow.labelling.questions import Questions
from kineflow.storage.errors import KineflowError
from kineflow.storage.spreadsheet import as_given


def test_the_list_has_a_row_a_clip_with_the_labels_that_there_are(page: Path, questions: Questions) -> None:
    with (page / "clips.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = [{column: as_given(value) for column, value in row.items()} for row in csv.DictReader(stream)]
    asked = [*questions.suggested, *questions.suspected]
    assert [(row["path"], row["label"], row["clip_id"]) for row in rows] == [
        (q.path, q.label, q.clip_id) for q in asked
    ]
    assert [(row["start"], row["end"]) for row in rows[:3]] == [("", ""), ("", "2.5"), ("2.5", "1234.5678")]
    assert {(row["suggestion"], row["probability"]) for row in rows} == {(questions.classes[1], "0.600")}


def test_clips_lie_beside_the_page_in_the_order_of_the_questions(page: Path, questions: Questions) -> None:
    asked = [*questions.suggested, *questions.suspected]
    for number, each in enumerate(asked, 1):
        assert (page / "clips" / f"{number:03}.mp4").read_bytes() == each.video.read_bytes()
    assert sorted(path.name for path in page.iterdir()) == ["clips", "clips.csv", "index.html"]


def test_names_stay_names(page: Path) -> None:
    html = (page / "index.html").read_text()
    assert html.count("<script") == html.count("</script") == 2
    assert "<b>" not in html.partition("<noscript>")[0]


def test_a_list_without_parts_has_no_columns_for_them(questions: Questions, tmp_path: Path) -> None:
    whole = dataclasses.replace(questions, suggested=questions.suggested[:1])
    write_labelling(tmp_path / "out", whole, list_name="clips.csv")
    assert "start" not in (tmp_path / "out" / "clips.csv").read_text(encoding="utf-8-sig").splitlines()[0]


def test_a_page_that_nobody_has_worked_in_is_replaced(page: Path, questions: Questions) -> None:
    write_labelling(page, dataclasses.replace(questions, suspected=()), list_name="clips.csv")
    assert len(list((page / "clips").iterdir())) == len(questions.suggested)


@pytest.mark.parametrize("name", ["answers.csv", "clips.csv"])
def test_answers_are_never_written_over(page: Path, questions: Questions, name: str) -> None:
    with (page / name).open("a") as stream:
        stream.write("a.mp4,fight\n")
    before = (page / name).read_bytes()
    with pytest.raises(KineflowError, match="would be lost"):
        write_labelling(page, questions, list_name="clips.csv")
    assert (page / name).read_bytes() == before


def test_a_page_of_others_is_not_replaced(questions: Questions, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>mine")
    with pytest.raises(KineflowError, match="would be lost"):
        write_labelling(tmp_path, questions, list_name="clips.csv")


def test_a_missing_clip_leaves_nothing_behind(questions: Questions, tmp_path: Path) -> None:
    gone = dataclasses.replace(questions.suggested[0], video=tmp_path / "gone.mp4")
    with pytest.raises(KineflowError, match="is not there"):
        write_labelling(tmp_path / "out", dataclasses.replace(questions, suggested=(gone,)), list_name="clips.csv")
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_is_asked_nothing_is_written(questions: Questions, tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="no clip to ask"):
        write_labelling(tmp_path / "out", dataclasses.replace(questions, suggested=(), suspected=()), list_name="c")
