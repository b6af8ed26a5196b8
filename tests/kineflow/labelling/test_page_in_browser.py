"""The page in a browser, from the disk: keys answer, answers last, and ``kineflow label`` takes what it saves."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from kineflow.labelling.page import write_labelling
from kineflow.labelling.questions import Questions
from kineflow.labelling.relabel import label_list
from kineflow.storage.spreadsheet import harmless
from tests.browser import Tab, open_browser
from tests.kineflow.labelling.conftest import CLASSES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with open_browser(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture
def tab(running: Tab, page: Path) -> Iterator[Tab]:
    """The page, of which the browser remembers nothing; and whatever is done there, nothing fails or is forbidden."""
    running.open(page / "index.html")
    running.value("localStorage.clear()")
    running.open(page / "index.html")
    yield running
    assert running.problems == []


def saved(tab: Tab) -> Path:
    """Save, and wait for the file."""
    (tab.downloads / "answers.csv").unlink(missing_ok=True)
    tab.press("s", ctrl=True)
    tab.wait_for("Browser.downloadProgress", state="completed")
    return tab.downloads / "answers.csv"


def labels(file: Path) -> list[str]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        return [row["label"] for row in csv.DictReader(stream)]


def text(tab: Tab, element: str) -> str:
    return str(tab.value(f"document.getElementById('{element}').textContent"))


def test_what_keys_answer_is_saved_and_taken_into_the_list(tab: Tab, questions: Questions, tmp_path: Path) -> None:
    tab.press("1", "2", "s", "3")  # the suggested ones
    tab.press("k", "1")  # the suspected ones
    assert "5 answered · 1 skipped" in text(tab, "progress")
    answers = saved(tab)
    given = ["fight", CLASSES[1], "", CLASSES[2], "fight", "fight"]
    assert labels(answers) == harmless(given)
    listed = [
        ("path", "label", "split", "start", "end"),
        *((q.path, q.label, "val" if q.label else "unlabelled", *times(q)) for q in questions.suggested),
        *((q.path, q.label, "val", "", "") for q in questions.suspected),
        ("other.mp4", CLASSES[1], "train", "", ""),
    ]
    with (tmp_path / "clips.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(harmless(row) for row in listed)
    done = label_list(tmp_path / "clips.csv", answers, root="")
    assert (done.labelled, done.corrected) == ({"fight": 1, CLASSES[1]: 1, CLASSES[2]: 1}, {"fight": 1})
    assert (done.kept, done.skipped) == (1, 1)
    assert "kineflow label answers.csv" in text(tab, "after")


def times(question) -> tuple[str, str]:
    start, end = ("" if at is None else str(at) for at in (question.start_sec, question.end_sec))
    return start, end


def test_every_cell_is_written_as_the_list_has_it(tab: Tab, page: Path) -> None:
    """The page has the rules of a harmless cell once more: they are to be the same."""
    with (
        saved(tab).open(encoding="utf-8-sig", newline="") as ours,
        (page / "clips.csv").open(encoding="utf-8-sig", newline="") as theirs,
    ):
        rows, listed = list(csv.reader(ours)), list(csv.reader(theirs))
    at = listed[0].index("label")
    assert [row[:at] + row[at + 1 :] for row in rows] == [row[:at] + row[at + 1 :] for row in listed]


def test_names_run_nothing_and_read_as_they_are(tab: Tab, questions: Questions) -> None:
    assert tab.value("document.title") == "Label clips of clips.csv"
    buttons = tab.value("[...document.querySelectorAll('#classes span')].map(each => each.textContent)")
    assert buttons == list(CLASSES)
    assert questions.suggested[0].path in text(tab, "name")
    tab.value("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.lost = 1'}))")
    assert tab.value("window.lost") is None
    tab.problems.clear()  # that refusal


def test_clips_play_and_keys_pause_slow_and_move(tab: Tab) -> None:
    plays = "new Promise(done => {const look = () => {0} ? done(true) : setTimeout(look, 20); look()})"
    video = "document.getElementById('video')"
    assert tab.value(plays.replace("{0}", f"{video}.readyState > 1 && !{video}.paused"))
    tab.press(" ")
    assert tab.value(f"{video}.paused")
    tab.press(*"-----")
    assert tab.value(f"{video}.playbackRate") == 0.25
    tab.press(*"++++++")
    assert tab.value(f"{video}.playbackRate") == 2
    tab.press("ArrowRight", "ArrowRight", "ArrowLeft")
    assert tab.value(f"{video}.src").endswith("clips/002.mp4")
    assert tab.value(f"{video}.playbackRate") == 2


def test_answers_outlast_the_page_and_undo_takes_them_back(tab: Tab, page: Path) -> None:
    tab.press("1", "s")
    tab.open(page / "index.html")
    assert "Clip 3 of 6 · 1 answered · 1 skipped" in text(tab, "progress")
    tab.press("u")
    assert "Clip 2 of 6 · 1 answered · not" in text(tab, "progress")
    tab.press("4", "ArrowLeft", "2", "u")
    assert labels(saved(tab)) == ["fight", CLASSES[3], "", "", "", ""]


def test_another_round_starts_without_the_answers_of_this_one(
    tab: Tab, page: Path, questions: Questions, tmp_path: Path
) -> None:
    tab.press("1")
    write_labelling(tmp_path / "next", dataclasses.replace(questions, suspected=()), list_name="clips.csv")
    tab.open(tmp_path / "next" / "index.html")
    assert "Clip 1 of 4 · 0 answered" in text(tab, "progress")
    tab.open(page / "index.html")
    assert "1 answered" in text(tab, "progress")


def test_the_model_is_not_heard_before_the_answer(tab: Tab) -> None:
    heard = "document.getElementById('model').open"
    assert not tab.value(heard)
    assert tab.value("document.getElementById('why').hidden")
    tab.press("m")
    assert tab.value(heard)
    tab.press("1")
    assert not tab.value(heard)
    assert "The model said" in text(tab, "last")
    tab.press("ArrowLeft")
    assert tab.value(heard)
    tab.press(*["ArrowRight"] * 4)
    assert text(tab, "what") == "Is this really fight?"
    assert not tab.value("document.getElementById('why').hidden")


def test_a_class_that_is_typed_is_new_or_the_one_it_looks_like(tab: Tab) -> None:
    tab.press("/", *"run away", "Enter", "/", *"FI-GHT", "Enter", "5")
    assert labels(saved(tab)) == ["run away", "fight", "run away", "", "", ""]
    assert text(tab, "after").endswith("kineflow label answers.csv --new-class 'run away'")


def test_many_classes_are_found_by_typing(tab: Tab, questions: Questions, tmp_path: Path) -> None:
    many = tuple(f"class {number:03}" for number in range(120))
    write_labelling(tmp_path / "many", dataclasses.replace(questions, classes=many), list_name="clips.csv")
    tab.open(tmp_path / "many" / "index.html")
    tab.press("/", *"117")
    assert tab.value("[...document.querySelectorAll('#classes button')].filter(each => !each.hidden).length") == 1
    tab.press("Enter", "a")
    assert labels(saved(tab))[:2] == ["class 117", "class 009"]


@pytest.mark.parametrize("width", [500, 1280])
def test_the_page_fits_and_its_buttons_have_names(tab: Tab, width: int) -> None:
    tab.resize(width, 900)
    assert tab.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    names = tab.value(
        "[...document.querySelectorAll('button')].map(e => e.ariaLabel || e.textContent.trim() || e.hidden)"
    )
    assert all(names)
