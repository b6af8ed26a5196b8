"""What a project's store may lose, and what it may not."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.feature_set import FeatureEntry, FeatureSet, FeatureSource
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.sets.garbage import Garbage, find_garbage, remove_garbage
from kineflow.sets.media import using
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError

DAY = 24 * 3600


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    return tmp_path


def media(project: Path, *paths: str) -> None:
    for path in paths:
        (project / "media" / path).parent.mkdir(parents=True, exist_ok=True)
        (project / "media" / path).write_bytes(path.encode())


def clip(path: str) -> Clip:
    return Clip(path, path, "x", path, Split.TEST, 5, 25.0, 8, 8, 0, path, Status.OK, "", "")


def save_clips(project: Path, folder: str, *paths: str) -> Path:
    media(project, *paths)
    ClipSet(("x",), tuple(map(clip, paths)), str(project / "media")).save(project / folder)
    return project / folder


def save_flow(project: Path, folder: str, *paths: str) -> Path:
    media(project, *paths)
    entries = {path: FlowEntry(path, path, 4, 8, 8, Status.OK, "") for path in paths}
    FlowSet(20.0, entries, str(project / "media")).save(project / folder)
    return project / folder


def grow_old(project: Path, seconds: float = 2 * DAY) -> None:
    for path in (project / "media").rglob("*"):
        if not path.is_symlink():
            os.utime(path, (path.stat().st_atime - seconds, path.stat().st_mtime - seconds))


def lock(project: Path, file: str, folder: Path) -> None:
    """Move a set into DVC's cache, named by a lock and no longer in the project."""
    listed = []
    for path in sorted(folder.iterdir()):
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        cached = project / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
        cached.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, cached)
        listed.append({"md5": md5, "relpath": path.name})
    text = json.dumps(listed)
    md5 = hashlib.md5(text.encode()).hexdigest()
    (project / ".dvc" / "cache" / "files" / "md5" / md5[:2]).mkdir(parents=True, exist_ok=True)
    (project / ".dvc" / "cache" / "files" / "md5" / md5[:2] / f"{md5[2:]}.dir").write_text(text)
    (project / file).parent.mkdir(parents=True, exist_ok=True)
    outs = [{"path": "outputs/x", "md5": f"{md5}.dir"}, {"path": "outputs/report.html", "md5": "0" * 32}]
    (project / file).write_text(yaml.safe_dump({"schema": "2.0", "stages": {"ingest": {"cmd": "x", "outs": outs}}}))
    shutil.rmtree(folder)


def nobody(_: Sequence[Clip]) -> bool:
    return False


def find(project: Path, **how: object) -> Garbage:
    arguments = {"cache": project / ".dvc" / "cache", "wanted": nobody} | how
    return find_garbage(project, **arguments)  # type: ignore[arg-type]


def names(project: Path, garbage: Garbage) -> set[str]:
    return {path.relative_to(project / "media").as_posix() for path in garbage.files}


def test_what_any_set_names_is_kept(project: Path) -> None:
    save_clips(project, "outputs/ingest/clips", "clips/aa/in-outputs.mp4")
    save_flow(project, "elsewhere/in/the/project/flow", "flow/bb/elsewhere.mp4")
    lock(project, "dvc.lock", save_clips(project, "tmp", "clips/cc/locked.mp4"))
    lock(project, "runs/tsn/small/dvc.lock", save_flow(project, "tmp", "flow/dd/locked-below-runs.mp4"))
    media(project, "features/ee/seen.safetensors")
    feature = FeatureEntry("a", "features/ee/seen.safetensors", 4, Status.OK, "")
    from kineflow.spec.preprocessing import Preprocessing

    preprocessing = Preprocessing("rgb", 1, 1, 16, 16, (1.0,) * 3, (1.0,) * 3)
    source = FeatureSource("0", "b", "map", preprocessing)
    FeatureSet(source, (2,), {"a": feature}, str(project / "media")).save(project / "outputs" / "features")
    media(project, "clips/00/orphan.mp4", "flow/11/orphan.mp4", "features/22/orphan.safetensors", "index/33/known.json")
    (project / "outputs" / "scores").mkdir()
    (project / "outputs" / "scores" / "flow.parquet").write_bytes(b"scores of a model of this name")
    grow_old(project)

    garbage = find(project)
    assert names(project, garbage) == {"clips/00/orphan.mp4", "flow/11/orphan.mp4", "features/22/orphan.safetensors"}
    assert garbage.kept == {"clips": 2, "flow": 2, "features": 1, "sets": 5}
    assert garbage.by_kind(project / "media")["flow"] == (1, len("flow/11/orphan.mp4"))
    gone = remove_garbage(project, garbage, cache=project / ".dvc" / "cache", wanted=nobody)
    assert names(project, gone) == names(project, garbage)
    assert not (project / "media" / "clips" / "00" / "orphan.mp4").exists()
    assert (project / "media" / "index" / "33" / "known.json").is_file()
    assert find(project).files == {}


def test_a_set_that_is_gone_is_kept_where_it_is_wanted(project: Path) -> None:
    for name in ("champion", "abandoned"):
        shutil.rmtree(save_clips(project, "outputs/clips", f"clips/aa/{name}.mp4", "clips/bb/both.mp4"))
        save_flow(project, "outputs/flow", "flow/cc/some.mp4")
    shutil.rmtree(project / "outputs")
    grow_old(project)

    def wanted(clips: Sequence[Clip]) -> bool:
        return any("champion" in clip.path for clip in clips)

    garbage = find(project, wanted=wanted)
    assert {name for name in names(project, garbage) if not name.startswith("sets/")} == {
        "clips/aa/abandoned.mp4",
        "flow/cc/some.mp4",
    }
    assert garbage.kept["sets"] == 1


def test_what_is_young_or_being_written_is_left(project: Path) -> None:
    media(project, "clips/aa/young.mp4", "clips/aa/.x-1.partial.mp4", "clips/aa/old.mp4")
    grow_old(project, 2 * 3600)
    media(project, "clips/aa/young.mp4")
    assert names(project, find(project)) == {"clips/aa/old.mp4"}
    grow_old(project, 2 * DAY)
    assert names(project, find(project)) == {
        "clips/aa/young.mp4", "clips/aa/.x-1.partial.mp4", "clips/aa/old.mp4"
    }  # fmt: skip


def test_links_are_not_followed(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    media(other, "precious.mp4")
    media(project, "clips/aa/old.mp4")
    (project / "media" / "clips" / "linked").symlink_to(other / "media")
    (project / "media" / "clips" / "aa" / "link.mp4").symlink_to(other / "media" / "precious.mp4")
    grow_old(project)
    grow_old(other)
    assert names(project, find(project)) == {"clips/aa/old.mp4"}


def test_a_set_that_nobody_can_read_here_is_told(project: Path) -> None:
    lock(project, "dvc.lock", save_clips(project, "tmp", "clips/cc/locked.mp4"))
    shutil.rmtree(project / ".dvc" / "cache")
    assert find(project).unread == ("dvc.lock: ingest: outputs/x",)
    folder = save_clips(project, "outputs/clips", "clips/aa/a.mp4")
    (folder / "manifest.parquet").write_bytes(b"damaged")
    with pytest.raises(KineflowError, match="nobody knows what it needs"):
        find(project)


def test_what_somebody_came_to_need_meanwhile_stays(project: Path) -> None:
    media(project, "clips/aa/reused.mp4", "clips/aa/old.mp4")
    grow_old(project)
    garbage = find(project)
    reused = project / "media" / "clips" / "aa" / "reused.mp4"
    ClipSet(("x",), (clip("clips/aa/reused.mp4"),), str(project / "media")).save(project / "outputs" / "clips")
    gone = remove_garbage(project, garbage, cache=project / ".dvc" / "cache", wanted=nobody)
    assert (names(project, gone), reused.is_file()) == ({"clips/aa/old.mp4"}, True)


class TestBusy:
    @pytest.fixture
    def found(self, project: Path) -> Garbage:
        media(project, "clips/aa/old.mp4")
        grow_old(project)
        return find(project)

    def refuses(self, project: Path, found: Garbage) -> None:
        with pytest.raises(KineflowError) as caught:
            remove_garbage(project, found, cache=project / ".dvc" / "cache", wanted=nobody)
        assert "wait" in str(caught.value.remedy)
        assert all(path.is_file() for path in found.files)

    def test_a_step_that_writes_media(self, project: Path, found: Garbage) -> None:
        with using(project / "media"):
            self.refuses(project, found)
        remove_garbage(project, found, cache=project / ".dvc" / "cache", wanted=nobody)
        assert not any(path.is_file() for path in found.files)

    @pytest.mark.parametrize("kind", ["read", "write"])
    def test_a_stage_that_dvc_runs(self, project: Path, found: Garbage, kind: str) -> None:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        for pid, refused in ((os.getpid(), True), (ended.pid, False)):
            holder = {"pid": pid, "cmd": "dvc repro"}
            held = {kind: {"/p/outputs": [holder] if kind == "read" else holder}}
            (project / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(held))
            if refused:
                self.refuses(project, found)
        remove_garbage(project, found, cache=project / ".dvc" / "cache", wanted=nobody)
