"""What a kill has left of DVC's files, mended."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import yaml

from pipelines.engines.dvc_state import keep_locks, mend_databases, mend_dvc_state, mend_run_cache

LOCK = yaml.safe_dump(
    {
        "schema": "2.0",
        "stages": {
            "ingest": {
                "cmd": "python -m components.ingest",
                "deps": [{"path": "data", "hash": "md5", "md5": "0123456789abcdef0123456789abcdef.dir", "size": 5}],
                "outs": [{"path": "outputs/clips", "hash": "md5", "md5": "fedcba9876543210fedcba9876543210.dir"}],
            }
        },
    },
    sort_keys=False,
)
HALVES = ["", LOCK[: LOCK.index("cmd") + 4], LOCK[: LOCK.index("hash") + 3], "\0" * 4096, "schema: '1.0'\n", "{{", "7"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in (tmp_path, tmp_path / "runs" / "tsn" / "params"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dvc.yaml").touch()
        (folder / "dvc.lock").write_text(LOCK)
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("half", HALVES)
def test_half_a_lock_gives_way_to_the_last_whole_one(project: Path, half: str) -> None:
    lock = project / "runs" / "tsn" / "params" / "dvc.lock"  # DVC reads those of all workspaces
    assert mend_dvc_state(project) == []
    lock.write_text(half)
    (said,) = mend_dvc_state(project)
    assert said.startswith("runs/tsn/params/dvc.lock was cut short: the last whole one is back")
    assert lock.read_text() == LOCK
    assert (project / ".dvc/tmp/kineflow/locks/runs/tsn/params/dvc.lock.broken").read_text() == half
    assert mend_dvc_state(project) == []


def test_half_a_lock_of_which_there_is_no_copy_is_set_aside(project: Path) -> None:
    (project / "dvc.lock").write_text("")
    (said,) = mend_dvc_state(project)
    assert "made anew from DVC's cache" in said
    assert not (project / "dvc.lock").exists()


def test_a_copy_is_the_latest_and_goes_with_its_workspace(project: Path) -> None:
    mend_dvc_state(project)
    changed = LOCK.replace("ingest", "validate")
    (project / "dvc.lock").write_text(changed)
    shutil.rmtree(project / "runs")
    keep_locks(project)
    (project / "dvc.lock").write_text("")
    mend_dvc_state(project)
    assert (project / "dvc.lock").read_text() == changed
    assert [path.name for path in (project / ".dvc/tmp/kineflow/locks").rglob("dvc.lock")] == ["dvc.lock"]


class TestRwlock:
    @pytest.fixture
    def rwlock(self, project: Path) -> Path:
        return project / ".dvc" / "tmp" / "rwlock"

    @pytest.mark.parametrize("half", ['{"a": [{"pid": 1', "[]", '{"write": {"x": {"cmd": "dvc"}}}', "\0\0"])
    def test_half_of_it_is_removed(self, project: Path, rwlock: Path, half: str) -> None:
        rwlock.write_text(half)
        mend_dvc_state(project)
        assert not rwlock.exists()

    def test_only_those_who_wrote_it_and_still_run_stay(self, project: Path, rwlock: Path) -> None:
        arguments = psutil.Process().cmdline()[1:]
        here = {"pid": os.getppid(), "cmd": " ".join(["dvc", *psutil.Process(os.getppid()).cmdline()[1:]])}
        gone = {"pid": os.getppid(), "cmd": "dvc repro"}  # its number is another's now
        assert arguments
        rwlock.write_text(json.dumps({"write": {"/a": here, "/b": gone}, "read": {"/c": [gone], "/d": [here, gone]}}))
        mend_dvc_state(project)
        assert json.loads(rwlock.read_text()) == {"write": {"/a": here}, "read": {"/d": [here]}}

    def test_a_process_that_began_later_is_another(self, project: Path, rwlock: Path) -> None:
        same = {"pid": os.getppid(), "cmd": " ".join(["dvc", *psutil.Process(os.getppid()).cmdline()[1:]])}
        rwlock.write_text(json.dumps({"write": {"/a": same}, "read": {}}))
        os.utime(rwlock, (1, 1))
        mend_dvc_state(project)
        assert json.loads(rwlock.read_text()) == {"write": {}, "read": {}}


@pytest.mark.parametrize(("where", "age"), [("project/.dvc/cache", 0), ("shared", 7200), ("shared", 0)])
def test_what_is_no_whole_entry_of_the_run_cache_is_removed(tmp_path: Path, where: str, age: int) -> None:
    whole, half, empty = (tmp_path / where / "runs" / name / (name * 32) for name in ("0a", "0b", "0c"))
    for folder in (whole, half, empty):
        folder.mkdir(parents=True)
    (whole / ("1d" * 32)).write_text("cmd: python\n")
    (half / "3Fq8vb.tmp").write_text("cmd: pyth")
    for folder in (whole, half, empty):
        os.utime(folder, (time.time() - age,) * 2)
    mend_run_cache(tmp_path / where / "runs", tmp_path / "project")
    assert [each.exists() for each in (whole, half, empty)] == [True, *[(where, age) == ("shared", 0)] * 2]


class TestDatabases:
    @pytest.fixture
    def database(self, tmp_path: Path) -> Path:
        path = tmp_path / "hashes" / "local" / "cache.db"
        path.parent.mkdir(parents=True)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE hashes (path TEXT, md5 TEXT)")
            connection.executemany("INSERT INTO hashes VALUES (?, ?)", [(str(n), "0" * 32) for n in range(1000)])
        return path

    def test_a_whole_one_stays(self, tmp_path: Path, database: Path) -> None:
        assert mend_databases(tmp_path) == []
        assert database.exists()

    @pytest.mark.parametrize("at", [0, 4096, 8192])
    def test_a_damaged_one_is_removed_with_what_belongs_to_it(self, tmp_path: Path, database: Path, at: int) -> None:
        content = bytearray(database.read_bytes())
        content[at : at + 2000] = b"\x5a" * 2000
        database.write_bytes(content)
        database.with_name("cache.db-wal").write_bytes(b"")
        (said,) = mend_databases(tmp_path)
        assert "damaged" in said
        assert list(database.parent.iterdir()) == []

    def test_one_that_another_process_writes_to_stays(self, tmp_path: Path, database: Path) -> None:
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            assert mend_databases(tmp_path, wait_seconds=0.1) == []
        assert database.exists()


def test_a_copy_without_git_is_one_that_dvc_takes(tmp_path: Path) -> None:
    from dvc.repo import Repo

    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=tmp_path, check=True)
    shutil.move(tmp_path / ".git", tmp_path / "git")
    mend_dvc_state(tmp_path)
    assert Repo(str(tmp_path)).scm
    shutil.move(tmp_path / "git", tmp_path / ".git")
    mend_dvc_state(tmp_path)
    assert "no_scm" not in (tmp_path / ".dvc" / "config.local").read_text()
