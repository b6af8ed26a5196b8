"""Fetching data by hash, from a folder and from a real S3 server."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.dvc.dvc_command import run_dvc_command
from components.dvc.fetch import COMPLETE_FILE
from components.dvc.lease import lease
from components.dvc.settings import FetchDataSettings
from components.fetch_data import fetch_data
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from tests.swift import Swift

pytestmark = pytest.mark.slow

FILES = {"clips.csv": b"path,label\n", "videos/a.mp4": b"first" * 1000, "videos/b.mp4": b"second" * 1000}


@dataclass(frozen=True)
class Pushed:
    """Data that DVC has pushed to a folder."""

    project: Path
    remote: Path
    version: str


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    root = tmp_path_factory.mktemp("pushed")
    project, remote = root / "project", root / "remote"
    for name, content in FILES.items():
        (project / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (project / "data" / name).write_bytes(content)
    run_dvc_command(["init", "--no-scm"], project)
    run_dvc_command(["remote", "add", "--default", "store", str(remote)], project)
    run_dvc_command(["add", "data"], project)
    run_dvc_command(["push"], project)
    version = (project / "data.dvc").read_text().split("md5: ")[1].split()[0]
    return Pushed(project, remote, version)


def params(pushed: Pushed, into: Path, **more: object) -> FetchDataSettings:
    values = {"remote": str(pushed.remote), "version": pushed.version, "into": str(into)} | more
    return parse_params(FetchDataSettings, values, where="params")


def fetched(chosen: FetchDataSettings, output: Path) -> dict[str, object]:
    fetch_data(params=chosen, data=output)
    content: dict[str, object] = json.loads(output.read_text())
    return content


def files_in(folder: Path) -> dict[str, bytes]:
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    found.pop(COMPLETE_FILE)
    return found


def test_data_come_to_lie_in_a_folder_named_by_their_hash(pushed: Pushed, tmp_path: Path) -> None:
    into = tmp_path / "cache" / "data"

    told = fetched(params(pushed, into), tmp_path / "out" / "data.json")

    folder = into / pushed.version.removesuffix(".dir")
    assert files_in(folder) == FILES
    size = sum(map(len, FILES.values()))
    assert told | {"seconds": 0} == {
        "path": str(folder), "version": pushed.version, "files": 3, "bytes": size, "seconds": 0
    }  # fmt: skip
    assert [path.name for path in into.iterdir()] == [folder.name], "nothing else stays: the data are stored once"
    assert {path.stat().st_nlink for path in folder.rglob("*") if path.is_file()} == {1}


def test_what_is_there_is_not_fetched_again(pushed: Pushed, tmp_path: Path) -> None:
    chosen = params(pushed, tmp_path)
    first = fetched(chosen, tmp_path / "first.json")
    before = {path: path.stat().st_mtime_ns for path in Path(str(first["path"])).rglob("*")}

    gone = params(pushed, tmp_path, remote="s3://absent-bucket/dvc", endpoint_url="http://127.0.0.1:9")
    again = fetched(gone, tmp_path / "again.json")

    assert again | {"seconds": 0} == first | {"seconds": 0}
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_single_file_comes_in_a_folder_of_its_own(pushed: Pushed, tmp_path: Path) -> None:
    single = hashlib.md5(FILES["clips.csv"], usedforsecurity=False).hexdigest()

    told = fetched(params(pushed, tmp_path, version=single), tmp_path / "data.json")

    assert files_in(Path(str(told["path"]))) == {"data": FILES["clips.csv"]}


def test_from_a_real_s3_server(swift: Swift, pushed: Pushed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = swift.make_bucket()
    for path in pushed.remote.rglob("*"):
        if path.is_file():
            swift.client().upload_file(str(path), bucket, f"dvc/{path.relative_to(pushed.remote).as_posix()}")
    for name, value in swift.environment.items():
        monkeypatch.setenv(name, value)

    told = fetched(params(pushed, tmp_path, remote=f"s3://{bucket}/dvc", jobs=2), tmp_path / "data.json")
    assert files_in(Path(str(told["path"]))) == FILES

    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")  # now by argument, with the wrong key
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-7f3a")
    chosen = params(pushed, tmp_path / "new", remote=f"s3://{bucket}/dvc", endpoint_url=swift.endpoint_url)
    with pytest.raises(KineflowError, match=r"dvc fetch failed|does not have") as raised:
        fetched(chosen, tmp_path / "refused.json")
    assert "planted-7f3a" not in str(raised.value)
    assert not (tmp_path / "refused.json").exists()


def test_a_version_that_was_not_pushed_is_one_clear_message(pushed: Pushed, tmp_path: Path) -> None:
    absent = "0" * 32 + ".dir"
    with pytest.raises(KineflowError, match=rf"{absent}") as raised:
        fetched(params(pushed, tmp_path / "into", version=absent), tmp_path / "data.json")
    assert "push" in str(raised.value)
    assert "Traceback" not in str(raised.value)
    assert not (tmp_path / "data.json").exists()
    assert not (tmp_path / "into" / ("0" * 32)).exists()


@pytest.fixture
def own_remote(pushed: Pushed, tmp_path: Path) -> Pushed:
    """The same, for a test to damage."""
    remote = tmp_path / "own-remote"
    shutil.copytree(pushed.remote, remote)
    return Pushed(pushed.project, remote, pushed.version)


def stored(pushed: Pushed, content: bytes) -> Path:
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return pushed.remote / "files" / "md5" / digest[:2] / digest[2:]


def test_a_fetch_that_was_cut_short_goes_on_where_it_stopped(own_remote: Pushed, tmp_path: Path) -> None:
    missing, into = stored(own_remote, FILES["videos/b.mp4"]), tmp_path / "into"
    content = missing.read_bytes()
    missing.unlink()
    with pytest.raises(KineflowError, match="dvc fetch failed"):
        fetched(params(own_remote, into), tmp_path / "data.json")
    folder = into / own_remote.version.removesuffix(".dir")
    assert not folder.exists(), "half of the data has no name"

    missing.write_bytes(content)
    stored(own_remote, FILES["videos/a.mp4"]).unlink()  # fetched before; must not be asked for again

    fetched(params(own_remote, into), tmp_path / "data.json")
    assert files_in(folder) == FILES


def test_a_file_that_was_damaged_in_the_remote_is_refused(own_remote: Pushed, tmp_path: Path) -> None:
    damaged = stored(own_remote, FILES["videos/a.mp4"])
    damaged.chmod(0o644)
    damaged.write_bytes(b"other" * 1000)

    with pytest.raises(KineflowError) as raised:
        fetched(params(own_remote, tmp_path / "into"), tmp_path / "data.json")

    assert str(own_remote.remote) in str(raised.value)
    assert not (tmp_path / "into" / own_remote.version.removesuffix(".dir")).exists()


@pytest.mark.parametrize(
    "name", ["../outside", *(pytest.param(name, marks=pytest.mark.slow) for name in ("/outside", COMPLETE_FILE))]
)
def test_a_listing_that_leads_outside_or_takes_the_marks_name_is_refused(
    own_remote: Pushed, tmp_path: Path, name: str
) -> None:
    digest = stored(own_remote, FILES["clips.csv"])
    listing = json.dumps([{"md5": f"{digest.parent.name}{digest.name}", "relpath": name}]).encode()
    version = hashlib.md5(listing, usedforsecurity=False).hexdigest() + ".dir"
    path = own_remote.remote / "files" / "md5" / version[:2] / version[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(listing)

    with pytest.raises(KineflowError):
        fetched(params(own_remote, tmp_path / "into" / "deep", version=version), tmp_path / "data.json")

    assert not list(tmp_path.rglob("outside"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"version": "../../etc"}, "32 hexadecimal digits"),
        ({"version": "e43d144031ad70a8eca7d953adedcfdc.dir/.."}, "32 hexadecimal digits"),
        ({"version": "E43D144031AD70A8ECA7D953ADEDCFDC"}, "32 hexadecimal digits"),
        ({"into": "s3://bucket/x"}, "local folder"),
        ({"into": ""}, "into"),
        ({"remote": ""}, "remote"),
        ({"remote": 's3://b"\nx'}, "remote"),
        ({"jobs": -1}, "jobs"),
    ],
)
def test_impossible_params_are_refused(
    pushed: Pushed, tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    values = params(pushed, tmp_path).model_dump() | changed
    with pytest.raises(KineflowError, match=message):
        parse_params(FetchDataSettings, values, where="params")


@pytest.mark.parametrize(
    "remote",
    ["https://me:hunter2@host/dvc", "s3://AKIA7@bucket/dvc", "azure://box/dvc?sig=hunter2", "ssh://me:hunter2@host/x"],
)
def test_credentials_in_a_url_are_refused(pushed: Pushed, tmp_path: Path, remote: str) -> None:
    for named in ("remote", "endpoint_url"):
        with pytest.raises(KineflowError, match="holds a credential") as raised:
            params(pushed, tmp_path, **{named: remote})
        assert "hunter2" not in str(raised.value)
        assert "AKIA7" not in str(raised.value)
    assert params(pushed, tmp_path, remote="ssh://me@host/dvc").remote == "ssh://me@host/dvc"


def test_half_a_folder_under_the_datas_name_is_refused(pushed: Pushed, tmp_path: Path) -> None:
    folder = tmp_path / pushed.version.removesuffix(".dir")
    folder.mkdir()
    (folder / "clips.csv").touch()
    with pytest.raises(KineflowError, match="not complete"):
        fetched(params(pushed, tmp_path), tmp_path / "data.json")
    (folder / COMPLETE_FILE).write_text("done")
    with pytest.raises(KineflowError, match="not written by Kineflow"):
        fetched(params(pushed, tmp_path), tmp_path / "data.json")


def test_a_place_that_cannot_be_written_is_one_message(pushed: Pushed, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KineflowError, match="cannot be written"):
        fetched(params(pushed, tmp_path / "file" / "data"), tmp_path / "data.json")


def test_two_fetches_at_the_same_time_give_one_folder(pushed: Pushed, tmp_path: Path) -> None:
    into = tmp_path / "into"
    chosen = params(pushed, into).model_dump_json()
    programs = [
        subprocess.Popen(
            [sys.executable, "-m", "components.fetch_data", "--data", f"{tmp_path}/{number}.json", "--params", chosen],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    said = [program.communicate(timeout=120)[1] for program in programs]

    assert [program.returncode for program in programs] == [0, 0], said
    told = [json.loads((tmp_path / f"{number}.json").read_text()) for number in range(2)]
    assert told[0]["path"] == told[1]["path"]
    assert files_in(Path(told[0]["path"])) == FILES
    assert [path.name for path in into.iterdir()] == [Path(told[0]["path"]).name]
    assert sum("fetching" in text for text in said) == 1, "only one of them did the work"


def test_a_fetch_takes_over_from_one_that_died(pushed: Pushed, tmp_path: Path) -> None:
    left = tmp_path / f".fetching-{pushed.version.removesuffix('.dir')}" / "lease"
    left.parent.mkdir()
    left.write_text("dead 7")

    told = fetched(params(pushed, tmp_path, wait_sec=1), tmp_path / "data.json")

    assert files_in(Path(str(told["path"]))) == FILES
    assert not left.parent.exists()


def test_a_fetch_that_lost_its_lease_does_not_break_the_winners_folder(
    pushed: Pushed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.dvc import fetch as module

    finished = module._finished

    def finished_second(repository: Path, *, single: bool) -> Path:
        monkeypatch.setattr(module, "_finished", finished)
        lost = next(tmp_path.glob(".fetching-*/lease"))
        lost.unlink()  # as one who took this fetch for dead would
        fetched(params(pushed, tmp_path), tmp_path / "winner.json")
        return finished(repository, single=single)

    monkeypatch.setattr(module, "_finished", finished_second)
    told = fetched(params(pushed, tmp_path), tmp_path / "loser.json")

    assert files_in(Path(str(told["path"]))) == FILES
    assert told | {"seconds": 0} == json.loads((tmp_path / "winner.json").read_text()) | {"seconds": 0}


def test_a_living_owner_keeps_its_lease(tmp_path: Path) -> None:
    path, owners = tmp_path / "lease", []

    def wait() -> None:
        with lease(path, stale_sec=0.6, until=lambda: bool(owners)) as ours:
            assert not ours

    with lease(path, stale_sec=0.6, until=lambda: False) as ours:
        assert ours
        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(2)  # several times what would make a silent owner count as dead
        assert path.read_text().split()[1] != "0"
        assert waiter.is_alive(), "the waiter must not have got it"
        owners.append("done")
        waiter.join(10)
        assert not waiter.is_alive()
    assert not path.exists()


def test_fetched_data_can_be_ingested(tmp_path: Path) -> None:
    import numpy as np

    from components.ingest import ingest
    from kineflow.data.ingest_settings import IngestSettings
    from kineflow.sets.clip_set import ClipSet
    from kineflow.video.encode import write_video

    project = tmp_path / "project"
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        frames = rng.integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
        write_video(project / "data" / f"{name}.mp4", frames, fps=25)
    (project / "data" / "clips.csv").write_text("path,label,split,group\na.mp4,x,train,a\nb.mp4,y,val,b\n")
    run_dvc_command(["init", "--no-scm"], project)
    run_dvc_command(["remote", "add", "--default", "store", str(tmp_path / "remote")], project)
    run_dvc_command(["add", "data"], project)
    run_dvc_command(["push"], project)
    version = (project / "data.dvc").read_text().split("md5: ")[1].split()[0]

    values = {"remote": str(tmp_path / "remote"), "version": version, "into": str(tmp_path / "cache")}
    told = fetched(parse_params(FetchDataSettings, values, where="params"), tmp_path / "data.json")
    assert os.access(told["path"], os.R_OK)  # type: ignore[arg-type]
    ingest(params=IngestSettings(source=str(told["path"]), short_side=32, workers=1), clips=tmp_path / "clips")

    assert sorted(clip.source for clip in ClipSet.load(tmp_path / "clips").clips) == ["a.mp4", "b.mp4"]
