"""Odd files of a source: each is a row with its reason, and the others are ingested as ever."""

from __future__ import annotations

import csv
import os
import shutil
import socket
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.ingest import ingest
from kineflow.data.clip_ids import clip_ids
from kineflow.data.ingest_settings import IngestSettings
from kineflow.data.layouts import ListedClip
from kineflow.sets.clip_set import ClipSet
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.video.encode import write_video

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound video of 2 s."""
    path = tmp_path_factory.mktemp("video") / "sound.mp4"
    write_video(path, (np.full((32, 32, 3), 60 + number, np.uint8) for number in range(20)), fps=10)
    return path


@pytest.fixture
def source(tmp_path: Path, video: Path) -> Path:
    """A source with one sound video, ``good.mp4``."""
    folder = tmp_path / "source"
    folder.mkdir()
    shutil.copyfile(video, folder / "good.mp4")
    return folder


def ingested(source: Path, *names: str, label: str = "a", **params: object) -> dict[str, tuple[str, str]]:
    """Status and reason by name of what is listed beside ``good.mp4``; the set lies beside the source."""
    with (source / "clips.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("path", "label", "split"), *((n, label, "train") for n in ("good.mp4", *names))])
    clips = source.parent / "clips"
    ingest(params=IngestSettings(source=str(source), val_share=0, **params), clips=clips)
    found = {clip.source: (clip.status.value, clip.reason) for clip in ClipSet.load(clips).clips}
    assert found.pop("good.mp4") == ("ok", "")
    return found


def only(found: dict[str, tuple[str, str]]) -> tuple[str, str]:
    (row,) = found.values()
    return row


class TestWhatIsNoPlainFile:
    def test_links_to_nowhere_and_round_in_circles(self, source: Path) -> None:
        (source / "gone.mp4").symlink_to("/nowhere/x.mp4")
        (source / "round.mp4").symlink_to("round.mp4")
        found = ingested(source, "gone.mp4", "round.mp4")
        assert found["gone.mp4"] == ("unreadable", "a link to '/nowhere/x.mp4', and there is no such file")
        assert "symbolic links" in found["round.mp4"][1]

    def test_pipes_sockets_and_devices_are_never_opened(self, source: Path) -> None:
        os.mkfifo(source / "pipe.mp4")
        (source / "device.mp4").symlink_to("/dev/zero")
        with socket.socket(socket.AF_UNIX) as server:
            place = os.open(source, os.O_RDONLY)
            server.bind(f"/proc/self/fd/{place}/socket.mp4")  # the whole path may be longer than an address may be
            os.close(place)
            found = ingested(source, "pipe.mp4", "socket.mp4", "device.mp4", linked_folders=({"path": "/dev"},))
        assert {name: reason for name, (_, reason) in found.items()} == {
            "pipe.mp4": "a named pipe, not a file",
            "socket.mp4": "a socket, not a file",
            "device.mp4": "a device, not a file",
        }

    def test_a_folder_a_missing_file_and_a_hidden_one(self, source: Path, video: Path) -> None:
        (source / "folder.mp4").mkdir()
        (source / "Run").mkdir()
        shutil.copyfile(video, source / "Run" / "One.MP4")
        shutil.copyfile(video, source / ".hidden.mp4")
        found = ingested(source, "folder.mp4/", "run/one.mp4", "good.mp4/x.mp4", ".hidden.mp4")
        assert {name: reason for name, (_, reason) in found.items()} == {
            "folder.mp4": "a folder, not a file",
            "run/one.mp4": "no such file in the source; there is 'Run/One.MP4'",
            "good.mp4/x.mp4": "no such file in the source",
            ".hidden.mp4": "left out: a part of its path begins with a dot",
        }

    @pytest.mark.skipif(not shutil.which("capsh") and os.geteuid() == 0, reason="root reads everything without capsh")
    def test_what_may_not_be_read(self, source: Path, video: Path) -> None:
        for name in ("locked.mp4", "shut/in.mp4", "listed/in.mp4"):
            (source / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(video, source / name)
        (source / "clips.csv").write_text(
            "path,label,split\ngood.mp4,a,train\nlocked.mp4,a,train\nshut/in.mp4,a,train\nlisted/in.mp4,a,train\n"
        )
        (source / "locked.mp4").chmod(0o000)
        (source / "shut").chmod(0o000)
        (source / "listed").chmod(0o111)  # no listing, and yet its files may be opened
        clips = source.parent / "clips"
        command = [sys.executable, "-m", "components.ingest", "--clips", str(clips), "--params"]
        command.append(f'{{"source": "{source}", "val_share": 0}}')
        if os.geteuid() == 0:
            command = ["capsh", "--drop=cap_dac_override,cap_dac_read_search", "--", "-c", 'exec "$@"', "x", *command]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        finally:
            for name in ("shut", "listed"):
                (source / name).chmod(0o755)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert "folders that may not be read, and what is in them is left out: listed/ (" in done.stderr
        found = {clip.source: (clip.status.value, clip.reason) for clip in ClipSet.load(clips).clips}
        assert found == {
            "good.mp4": ("ok", ""),
            "listed/in.mp4": ("ok", ""),
            "locked.mp4": ("unreadable", "may not be read (Permission denied)"),
            "shut/in.mp4": ("unreadable", "may not be read (Permission denied)"),
        }


class TestLinksElsewhere:
    @pytest.fixture
    def disk(self, tmp_path: Path, video: Path) -> Path:
        """A folder that is not below the source, with a video and a link within itself."""
        folder = tmp_path / "disk"
        (folder / "walk").mkdir(parents=True)
        shutil.copyfile(video, folder / "walk" / "x.mp4")
        return folder

    def test_a_linked_file_is_told_and_allowed_by_its_folder(self, source: Path, disk: Path) -> None:
        (source / "far.mp4").symlink_to(disk / "walk" / "x.mp4")
        status, reason = only(ingested(source, "far.mp4"))
        assert status == "unreadable"
        assert f"a link to '{disk}/walk/x.mp4', outside of the source" in reason
        assert f"add {{path: {disk}/walk}} to ingestion.linked_folders" in reason
        assert only(ingested(source, "far.mp4", linked_folders=({"path": str(disk / "walk")},))) == ("ok", "")
        beside = {"path": str(disk) + "/wal"}  # a folder of which the name only begins alike
        assert only(ingested(source, "far.mp4", linked_folders=(beside,)))[0] == "unreadable"

    def test_a_linked_class_folder_is_walked_once_it_is_allowed(self, source: Path, disk: Path) -> None:
        (source / "walk").symlink_to(disk / "walk")
        (source / "classInd.txt").write_text("1 walk\n")
        (source / "trainlist01.txt").write_text("walk/x.avi 1\n")
        (source / "testlist01.txt").write_text("\n")
        params = {"source": str(source), "layout": "ucf101", "val_share": 0}
        with pytest.raises(KineflowError, match="no listed video is usable"):
            ingest(params=IngestSettings(**params), clips=source.parent / "clips")
        allowed = IngestSettings(**params, linked_folders=({"path": str(disk)},))
        ingest(params=allowed, clips=source.parent / "clips")
        (clip,) = ClipSet.load(source.parent / "clips").clips
        assert (clip.source, clip.status) == ("walk/x.mp4", Status.OK)

    def test_links_within_the_source_are_walked_and_circles_end(self, source: Path) -> None:
        (source / "all" / "walk").mkdir(parents=True)
        shutil.copyfile(source / "good.mp4", source / "all" / "walk" / "x.mp4")
        (source / "walk").symlink_to("all/walk")
        (source / "all" / "walk" / "up").symlink_to("../..")
        (source / "all" / "walk" / "self").symlink_to(".")
        assert only(ingested(source, "walk/x.mp4")) == ("ok", "")

    def test_a_list_that_is_named_may_be_a_link(self, source: Path, disk: Path, tmp_path: Path) -> None:
        (disk / "clips.csv").write_text("path,label,split\ngood.mp4,a,train\n")
        (tmp_path / "lists").mkdir()
        (tmp_path / "lists" / "mine.CSV").symlink_to(disk / "clips.csv")
        params = IngestSettings(source=str(source), annotations=str(tmp_path / "lists" / "mine.CSV"), val_share=0)
        ingest(params=params, clips=tmp_path / "clips")
        assert len(ClipSet.load(tmp_path / "clips").usable()) == 1

    def test_links_into_the_projects_dvc_cache_are_files_of_the_source(self, tmp_path: Path, source: Path) -> None:
        cached = tmp_path / ".dvc" / "cache" / "files" / "md5" / "ab" / "cdef"
        cached.parent.mkdir(parents=True)
        shutil.move(source / "good.mp4", cached)
        (source / "good.mp4").symlink_to(cached)
        assert ingested(source) == {}


NAMES: dict[str, Callable[[], str]] = {
    "a line end": lambda: "a\nb.mp4",
    "a carriage return and a line end": lambda: "a\r\nb.mp4",
    "an escape sequence": lambda: "a\x1b[31mb.mp4",
    "quotes": lambda: 'it\'s "so".mp4',
    "a backslash": lambda: "a\\b.mp4",
    "a formula": lambda: "=1+1.mp4",
    "as long as a name may be": lambda: "v" * 251 + ".mp4",
    "long, of wide letters": lambda: "日" * 83 + ".mp4",
    "percent and hash": lambda: "100% #1?.mp4",
}


@pytest.mark.parametrize("name", [make() for make in NAMES.values()], ids=NAMES)
def test_odd_names_are_names(source: Path, video: Path, name: str) -> None:
    shutil.copyfile(video, source / name)
    assert ingested(source, name) == {name: ("ok", "")}
    (identity,) = (c.clip_id for c in ClipSet.load(source.parent / "clips").clips if c.source == name)
    assert max(map(len, identity.split("/"))) <= 200


@pytest.mark.parametrize("length", [300, 4000])
def test_a_name_longer_than_any_file_is_missing(source: Path, length: int) -> None:
    status, reason = only(ingested(source, "n" * length + ".mp4"))
    assert (status, "name too long" in reason.lower() or "no such file" in reason) == ("unreadable", True)


@pytest.mark.parametrize(("listed", "there"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_two_ways_to_write_a_letter_are_one_name(source: Path, video: Path, listed: str, there: str) -> None:
    name = "Vidéo à côté/é.mp4"
    on_disk = unicodedata.normalize(there, name)
    (source / on_disk).parent.mkdir()
    shutil.copyfile(video, source / on_disk)
    assert ingested(source, unicodedata.normalize(listed, name)) == {on_disk: ("ok", "")}
    both = source / unicodedata.normalize(listed, "Vidéo à côté") / unicodedata.normalize(listed, "é.mp4")
    both.parent.mkdir(exist_ok=True)
    shutil.copyfile(video, both)
    assert "rename one" in only(ingested(source, name))[1]


def test_classes_typed_in_two_ways_are_one(source: Path, video: Path) -> None:
    for number in range(2):
        shutil.copyfile(video, source / f"{number}.mp4")
    labels = [unicodedata.normalize(form, "Café") for form in ("NFC", "NFD")]
    (source / "clips.csv").write_text(
        "path,label,split\n" + "".join(f"{n}.mp4,{label},train\n" for n, label in enumerate(labels)), encoding="utf-8"
    )
    ingest(params=IngestSettings(source=str(source), val_share=0), clips=source.parent / "clips")
    assert ClipSet.load(source.parent / "clips").classes == ("Café",)


def test_a_name_that_is_not_utf8_is_told_and_left_out(
    source: Path, video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copyfile(video, os.fsencode(source) + b"/caf\xe9.mp4")
    assert only(ingested(source, "café.mp4"))[1] == "no such file in the source"
    assert "not UTF-8" in caplog.text
    assert "udce9" in caplog.text


def test_paths_with_the_source_before_them_and_ones_that_come_back(
    source: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "run").mkdir()
    shutil.copyfile(video, source / "run" / "x.mp4")
    for listed in (f"{source}/run/x.mp4", f"{source}/run/../run/x.mp4", "run/../run/./x.mp4", "walk/../run//x.mp4"):
        assert ingested(source, listed) == {"run/x.mp4": ("ok", "")}
    monkeypatch.chdir(source.parent)
    (source.parent / "alias").symlink_to(source)
    assert ingested(Path("alias"), f"{source}/run/x.mp4") == {"run/x.mp4": ("ok", "")}


def test_the_list_of_rejected_files_runs_nothing_and_shows_nothing_odd(source: Path) -> None:
    ingested(source, '=HYPERLINK("x")', "@SUM(1)", "-1.mp4")
    with (source.parent / "clips" / "rejected.csv").open(newline="") as stream:
        shown = sorted(row["source"] for row in csv.DictReader(stream))
    assert shown == ["'-1.mp4", '\'=HYPERLINK("x")', "'@SUM(1)"]


def test_ids_of_many_names_of_which_no_letter_is_kept_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kineflow.data.clip_ids._DIGITS", 2)  # of 300 hashes many are alike, as of 200,000 with 8
    clips = [ListedClip(f"{chr(0x4E00 + n)}.mp4", "a", Split.TRAIN, "g", "here") for n in range(300)]
    ids = clip_ids(clips)
    assert len(set(map(str.lower, ids))) == len(ids)
    assert sum(len(identity) == 4 for identity in ids) > 30  # those that the short hash tells apart keep it


def test_ids_of_parts_within_one_millisecond_stay_apart() -> None:
    clips = [ListedClip("a.mp4", "a", Split.TRAIN, "g", "here", start, 3.0) for start in (1.0001, 1.0002)]
    assert len(set(clip_ids(clips))) == 2


def test_a_short_file_that_parts_are_listed_of_is_nobodys(source: Path, video: Path) -> None:
    for name in ("short", "long", "one"):
        shutil.copyfile(video, source / f"{name}.mp4")  # of 2 s
    rows = "a,short,0,2,train\nb,short,5,7,train\na,long,0,1,train\nb,long,1,2,train\na,one,30,32,train\n"
    (source / "k.csv").write_text("label,youtube_id,time_start,time_end,split\n" + rows)
    params = IngestSettings(source=str(source), layout="kinetics", val_share=0)
    ingest(params=params, clips=source.parent / "clips")
    clips = ClipSet.load(source.parent / "clips").clips
    assert sorted((c.group, c.label, c.frames if c.status is Status.OK else c.reason[:11]) for c in clips) == [
        ("long", "a", 10), ("long", "b", 10), ("one", "a", 20),
        ("short", "a", "lasts 2.0 s"), ("short", "b", "0 frames in"),
    ]  # fmt: skip


def test_the_held_out_split_takes_no_copy_from_train(source: Path) -> None:
    for number in range(0, 8, 2):
        write_video(
            source / f"{number}.mp4", (np.full((32, 32, 3), 20 * number + n, np.uint8) for n in range(4)), fps=10
        )
        shutil.copyfile(source / f"{number}.mp4", source / f"{number + 1}.mp4")
    rows = "".join(f"{number}.mp4,a,train\n" for number in range(8))
    (source / "clips.csv").write_text(f"path,label,split\n{rows}")
    for seed in range(4):
        ingest(params=IngestSettings(source=str(source), val_share=0.25), seed=seed, clips=source.parent / "clips")
        clips = ClipSet.load(source.parent / "clips").clips
        assert len({(clip.sha256, clip.split) for clip in clips}) == 4
        assert len([clip for clip in clips if clip.split is Split.VAL]) == 2
