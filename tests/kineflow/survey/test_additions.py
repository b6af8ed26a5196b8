"""New videos beside those of a project: which they are, and that what its user has settled holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kineflow.data.fingerprint import Fingerprint
from kineflow.data.layouts.rows import ListedClip
from kineflow.data.source import LocalSource
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.survey.additions import find_additions, part_additions
from kineflow.survey.facts import Header, Look
from kineflow.survey.parting import Parted
from kineflow.survey.survey_set import SeenClip


def old(source: str, label: str | None = "a", split: Split = Split.TRAIN, group: str = "") -> ListedClip:
    return ListedClip(source, label, split, group or source[:-4], "clips.csv:2")


def videos(folder: Path, *names: str) -> LocalSource:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return LocalSource(folder)


def parted(folder: Path, listed: list[ListedClip], scenes: dict[str, int], *, folds: int = 0) -> Parted:
    """All clips, of which those of one scene are found to belong together."""
    additions = find_additions(listed, LocalSource(folder), str(folder))
    seen = []
    for number, clip in enumerate(additions.found.listing.clips):
        noise = np.random.default_rng(scenes.get(clip.source, number + 100)).integers(0, 255, (4, 48, 64), np.uint8)
        seen.append(SeenClip(number, clip, Look(Header(25.0, 2.0, 64, 48, "h264"), fingerprint=Fingerprint.of(noise))))
    return part_additions(seen, additions=additions, folds=folds)


def test_what_is_not_listed_is_new_and_has_a_class_where_its_folder_says_one(tmp_path: Path) -> None:
    source = videos(tmp_path, "a/1.mp4", "b/2.mp4", "a/3.mp4", "c/4.mp4", "unlabelled/5.mp4", "6.mp4", "notes.txt")
    additions = find_additions([old("a/1.mp4"), old("b/2.mp4", "b"), old("b/gone.mp4", "b")], source, str(tmp_path))
    assert {clip.source: clip.label for clip in additions.new} == {
        "a/3.mp4": "a", "c/4.mp4": "c", "unlabelled/5.mp4": None, "6.mp4": None
    }  # fmt: skip
    assert additions.found.listing.classes == ("a", "b", "c")
    assert [clip.source for clip in additions.missing] == ["b/gone.mp4"]
    again = find_additions(additions.found.listing.clips, source, str(tmp_path))
    assert again.new == ()


def test_folders_that_mean_something_else_give_no_class(tmp_path: Path) -> None:
    source = videos(tmp_path, "monday/1.mp4", "monday/2.mp4", "monday/3.mp4", "tuesday/4.mp4")
    additions = find_additions([old("monday/1.mp4"), old("monday/2.mp4", "b")], source, str(tmp_path))
    assert [(clip.source, clip.label, clip.split) for clip in additions.new] == [
        ("monday/3.mp4", None, Split.UNLABELLED), ("tuesday/4.mp4", None, Split.UNLABELLED)
    ]  # fmt: skip
    assert "'monday', 'tuesday'" in additions.found.notes[0]


def test_a_class_is_called_as_the_project_calls_it(tmp_path: Path) -> None:
    source = videos(tmp_path, "a/1.mp4", "a/2.mp4", "b/3.mp4", "b/4.mp4", "b/5.mp4", "b/6.mp4")
    listed = [old("a/1.mp4", "wave"), old("b/3.mp4", "b"), old("b/4.mp4", "b"), old("b/5.mp4", "wave")]
    additions = find_additions(listed, source, str(tmp_path))
    assert {clip.source: clip.label for clip in additions.new} == {"a/2.mp4": "wave", "b/6.mp4": "b"}
    assert additions.found.notes == ()


def test_a_folder_of_the_source_or_a_list_may_be_named_and_nothing_beside_it(tmp_path: Path) -> None:
    source = videos(tmp_path / "all", "a/1.mp4", "b/2.mp4", "new/a/3.mp4", "new/b/4.mp4", "b/5.mp4")
    listed = [old("a/1.mp4"), old("b/2.mp4", "b")]
    below = find_additions(listed, source, str(tmp_path / "all" / "new"))
    assert {clip.source: (clip.label, clip.group) for clip in below.new} == {
        "new/a/3.mp4": ("a", "new/a/3"), "new/b/4.mp4": ("b", "new/b/4")
    }  # fmt: skip
    (tmp_path / "all" / "more.csv").write_text("path,label,group\nb/5.mp4,b,g\nb/2.mp4,b,h\n")
    by_list = find_additions(listed, source, str(tmp_path / "all" / "more.csv"))
    assert [(clip.source, clip.label, clip.group) for clip in by_list.new] == [("b/5.mp4", "b", "g")]
    videos(tmp_path / "other", "a/1.mp4", "b/2.mp4")
    with pytest.raises(KineflowError, match="have to lie beside the others"):
        find_additions(listed, source, str(tmp_path / "other"))


def test_a_new_clip_of_an_old_recording_joins_its_group_and_split_as_its_user_has_them(tmp_path: Path) -> None:
    videos(tmp_path, "a/1.mp4", "a/2.mp4", "b/3.mp4", "a/4.mp4", "b/5.mp4", "b/6.mp4")
    listed = [old("a/1.mp4", group="ann"), old("a/2.mp4", split=Split.TEST, group="bob"), old("b/3.mp4", "b")]
    made = parted(tmp_path, listed, {"a/1.mp4": 1, "a/4.mp4": 1, "a/2.mp4": 2, "b/5.mp4": 2})
    rows = {clip.listed.source: (clip.listed.group, clip.listed.split) for clip in made.clips}
    assert rows == {
        "a/1.mp4": ("ann", Split.TRAIN), "a/2.mp4": ("bob", Split.TEST), "b/3.mp4": ("b/3", Split.TRAIN),
        "a/4.mp4": ("ann", Split.TRAIN), "b/5.mp4": ("bob", Split.TEST), "b/6.mp4": ("b/6", Split.TRAIN),
    }  # fmt: skip
    assert made.warnings[0].startswith("b/5.mp4 joins the group bob, and so test")


def test_an_unlabelled_clip_like_one_that_tests_is_told(tmp_path: Path) -> None:
    videos(tmp_path, "a/1.mp4", "b/2.mp4", "unlabelled/3.mp4")
    listed = [old("a/1.mp4", split=Split.TEST, group="ann"), old("b/2.mp4", "b")]
    made = parted(tmp_path, listed, {"a/1.mp4": 1, "unlabelled/3.mp4": 1})
    assert (made.clips[2].listed.group, made.clips[2].listed.split) == ("ann (unlabelled)", Split.UNLABELLED)
    assert "is like clips of another split" in made.warnings[0]
