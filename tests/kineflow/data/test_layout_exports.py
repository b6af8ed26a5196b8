"""Layouts without lists, of Something-Something, and of what labelling tools export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kineflow.data.layouts import Listing, list_clips, open_lists
from kineflow.data.layouts.rows import ListedClip
from kineflow.data.source import LocalSource
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError


def listed(root: Path, layout: str, *names: str, **lists: object) -> Listing:
    """List videos of these names below ``root`` by lists of these contents."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name, content in lists.items():
        path = root / name.replace("__", ".").replace("_0", "-")
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    source = LocalSource(root)
    return list_clips(layout, open_lists(source, ""), source.names(), root=source.root)


def seen(listing: Listing) -> dict[str, tuple[str | None, str]]:
    return {clip.source: (clip.label, clip.split.value) for clip in listing.clips}


class TestFolder:
    def test_the_first_folder_is_the_class(self, tmp_path: Path) -> None:
        names = ("jump/1.mp4", "run/monday/2.AVI", "run/notes.txt", "unlabelled/x/3.mp4", "astray.mp4")
        listing = listed(tmp_path, "folder", *names)
        assert listing.classes == ("jump", "run")
        assert seen(listing) == {
            "jump/1.mp4": ("jump", "train"),
            "run/monday/2.AVI": ("run", "train"),
            "unlabelled/x/3.mp4": (None, "unlabelled"),
        }
        assert [clip.group for clip in listing.clips] == ["jump/1", "run/monday/2", "unlabelled/x/3"]

    def test_folders_of_splits(self, tmp_path: Path) -> None:
        names = ("Train/a/1.mp4", "valid/a/2.mp4", "test/b/3.mp4", "unlabeled/4.mp4", "Train/unlabelled/5.mp4")
        assert seen(listed(tmp_path, "folder", *names, "test/unlabelled/6.mp4", "test/7.mp4")) == {
            "Train/a/1.mp4": ("a", "train"),
            "valid/a/2.mp4": ("a", "val"),
            "test/b/3.mp4": ("b", "test"),
            "unlabeled/4.mp4": (None, "unlabelled"),
            "Train/unlabelled/5.mp4": (None, "unlabelled"),
        }

    def test_a_class_may_be_called_train(self, tmp_path: Path) -> None:
        assert listed(tmp_path, "folder", "train/1.mp4", "bus/2.mp4").classes == ("bus", "train")

    @pytest.mark.parametrize(
        ("names", "problem"),
        [(("train/a/1.mp4", "test/a/2.mp4", "more/3.mp4"), "splits or classes"), (("1.mp4",), "no video lies in a")],
    )
    def test_what_cannot_be_told_is_refused(self, tmp_path: Path, names: tuple[str, ...], problem: str) -> None:
        with pytest.raises(KineflowError, match=problem):
            listed(tmp_path, "folder", *names)


ENTRY = {"id": "7", "template": "Holding [something] next to [something]", "label": "holding a"}


class TestSomething:
    def test_lists_and_answers(self, tmp_path: Path) -> None:
        listing = listed(
            tmp_path, "something", "videos/7.webm", "videos/8.mp4", "videos/9.webm",
            ssv2_0train__json=[ENTRY],
            ssv2_0validation__json=[{**ENTRY, "id": 8}],
            ssv2_0test__json=[{"id": "9"}, {"id": "10"}],
            ssv2_0labels__json={"Moving something up": "1", "Holding something next to something": "0"},
            test_0answers__csv="9;Moving something up\n",
        )  # fmt: skip
        assert listing.classes == ("Holding something next to something", "Moving something up")
        assert seen(listing) == {
            "videos/7.webm": (listing.classes[0], "train"),
            "videos/8.mp4": (listing.classes[0], "val"),
            "videos/9.webm": (listing.classes[1], "test"),
        }

    @pytest.mark.parametrize(
        ("entry", "problem"),
        [
            ({"id": "7"}, "without a template"),
            ({**ENTRY, "id": "../7"}, "outside"),
            ({**ENTRY, "template": ["x"]}, "template is no text"),
            ("7", "a JSON object is expected"),
        ],
    )
    def test_an_entry_with_a_fault_is_named(self, tmp_path: Path, entry: Any, problem: str) -> None:
        with pytest.raises(KineflowError, match=problem) as caught:
            listed(tmp_path, "something", "8.webm", train__json=[{**ENTRY, "id": "8"}, entry])
        assert str(caught.value.where).endswith("train.json, entry 2")


CHOICES = {"type": "choices", "from_name": "action"}


def task(video: str, *labels: str, **data: object) -> dict[str, Any]:
    return {
        "data": {"video": video, **data},
        "annotations": [{"result": [{**CHOICES, "value": {"choices": [label]}}]} for label in labels],
    }


class TestLabelStudio:
    @pytest.mark.parametrize(
        ("address", "file"),
        [
            ("/data/upload/3/1a2b3c4d-clip.mp4", "clips/clip.mp4"),
            ("/data/local-files/?d=store/clips/clip.mp4", "clips/clip.mp4"),
            ("https://host/a%20b/clips/clip.mp4?token=x", "clips/clip.mp4"),
            ("s3://bucket/store/clip.mp4", "clips/clip.mp4"),
            ("../../clips/clip.mp4", "clips/clip.mp4"),
            ("/etc/gone.mp4", "gone.mp4"),
            ("http://[x/clip.mp4", "clips/clip.mp4"),
        ],
    )
    def test_where_a_video_is(self, tmp_path: Path, address: str, file: str) -> None:
        listing = listed(
            tmp_path, "label_studio", "clips/clip.mp4", "clips/other.mp4", e__json=[task(address, "Fight")]
        )
        assert seen(listing) == {file: ("Fight", "train")}

    def test_annotators(self, tmp_path: Path) -> None:
        tasks = [task("1.mp4", "a", "a"), task("2.mp4", "a", "b"), task("3.mp4")]
        tasks += [task("4.mp4", "a", split="test", group="g"), task("5.mp4", "a", "b"), task("6.mp4", "a", "b")]
        tasks[4]["annotations"][1]["ground_truth"] = True
        tasks[5]["annotations"][1]["was_cancelled"] = True
        listing = listed(tmp_path, "label_studio", *(f"{n}.mp4" for n in range(1, 7)), e__json=tasks)
        none = (None, "unlabelled")
        assert list(seen(listing).values()) == [
            ("a", "train"), none, none, ("a", "test"), ("b", "train"), ("a", "train")
        ]  # fmt: skip
        assert listing.clips[3].group == "g"

    def test_parts_on_the_timeline(self, tmp_path: Path) -> None:
        value = {"ranges": [{"start": 1, "end": 50}], "timelinelabels": ["run"]}
        timeline = task("1.mp4", "ignored", fps=25)
        timeline["annotations"][0]["result"] += [
            {"type": "timelinelabels", "value": value},
            {"type": "labels", "value": {"start": 2.5, "end": 4, "labels": ["jump"]}},
        ]
        clips = listed(tmp_path, "label_studio", "1.mp4", e__json=[timeline]).clips
        assert {(clip.label, clip.start_sec, clip.end_sec) for clip in clips} == {("run", 0, 2), ("jump", 2.5, 4)}
        del timeline["data"]["fps"]
        with pytest.raises(KineflowError, match="count frames") as caught:
            listed(tmp_path, "label_studio", e__json=[timeline])
        assert "frameRate" in str(caught.value.remedy)

    def test_two_questions_are_one_too_many(self, tmp_path: Path) -> None:
        both = task("1.mp4", "a")
        both["annotations"][0]["result"].append({**CHOICES, "from_name": "who", "value": {"choices": ["me"]}})
        with pytest.raises(KineflowError, match="several questions: 'action', 'who'"):
            listed(tmp_path, "label_studio", "1.mp4", e__json=[both])

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"annotations": None}, "annotations is no array"),
            ({"data": {"text": "hello"}}, "name no video"),
            ({"annotations": [{"result": [{**CHOICES, "value": {"choices": ["a", "b"]}}]}]}, "one class is"),
            ({"data": {"video": "1.mp4", "split": "tset"}}, "unknown split 'tset'"),
        ],
    )
    def test_a_task_with_a_fault_is_named(self, tmp_path: Path, change: dict[str, Any], problem: str) -> None:
        with pytest.raises(KineflowError, match=problem) as caught:
            listed(tmp_path, "label_studio", "1.mp4", e__json=[task("1.mp4", "a"), {**task("1.mp4", "a"), **change}])
        assert str(caught.value.where).endswith("entry 2")


def cvat(*elements: str, tasks: str = "<task><id>3</id><source>clip.mp4</source></task>") -> str:
    return f"<annotations><version>1.1</version><meta>{tasks}</meta>{''.join(elements)}</annotations>"


def image(number: int, *labels: str, task: int = 3) -> str:
    tags = "".join(f'<tag label="{label}"/>' for label in labels)
    return f'<image id="{number}" name="frame_{number:06d}" task_id="{task}">{tags}</image>'


def parts(clips: tuple[ListedClip, ...]) -> list[tuple[str | None, int | None, int | None]]:
    return [(clip.label, clip.start_frame, clip.end_frame) for clip in clips]


class TestCvat:
    @pytest.mark.parametrize(
        ("elements", "expected"),
        [
            ([image(4, "fight"), image(5)], [("fight", None, None)]),
            ([image(n, "a") for n in (3, 4, 5, 9)] + [image(6, "b")], [("a", 3, 6), ("a", 9, 10), ("b", 6, 7)]),
            ([], [(None, None, None)]),
            (
                [
                    '<track id="0" label="run"><box frame="4" outside="0"/><box frame="9" outside="1"/>'
                    '<polygon frame="12" outside="0"><attribute name="x">1</attribute></polygon></track>'
                ],
                [("run", 4, 9), ("run", 12, 13)],
            ),
            ([f'\n<track label="run"><box frame="{n}"/></track>' for n in (4, 4, 8)], [("run", 4, 5), ("run", 8, 9)]),
        ],
    )
    def test_tags_and_tracks(self, tmp_path: Path, elements: list[str], expected: list[Any]) -> None:
        listing = listed(tmp_path, "cvat", "videos/clip.mp4", annotations__xml=cvat(*elements))
        assert parts(listing.clips) == expected
        assert {clip.source for clip in listing.clips} == {"videos/clip.mp4"}

    def test_a_project_with_steps_and_subsets(self, tmp_path: Path) -> None:
        tasks = "".join(
            f"<task><id>{n}</id><subset>{subset}</subset><frame_filter>step=5</frame_filter><source>{n}.mp4</source>"
            "</task>"
            for n, subset in ((1, "Train"), (2, "Test"))
        )
        images = [image(n, "a", task=1) for n in (0, 5, 10)] + [image(0, "b", task=2)]
        content = cvat(*images, tasks=f"<project><tasks>{tasks}</tasks></project>")
        clips = listed(tmp_path, "cvat", "1.mp4", "2.mp4", e__xml=content).clips
        assert parts(clips) == [("a", 0, 15), ("b", None, None)]
        assert [clip.split for clip in clips] == [Split.TRAIN, Split.TEST]

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (cvat(tasks="<task><id>3</id></task>"), "a task without a source"),
            (cvat('\n<image id="x"><tag label="a"/></image>'), "id of <image> is no number"),
            (cvat('\n<image id="1"><tag/></image>'), "<tag> without a label"),
            ("<html/>", "no export of CVAT"),
            ("<annotations>", "no readable XML"),
            ('<!DOCTYPE a [<!ENTITY x "y">]><annotations>&x;</annotations>', "declares a document type"),
        ],
    )
    def test_a_fault_is_named(self, tmp_path: Path, content: str, problem: str) -> None:
        with pytest.raises(KineflowError, match=problem) as caught:
            listed(tmp_path, "cvat", "clip.mp4", e__xml=content)
        assert "e.xml" in str(caught.value.where)
