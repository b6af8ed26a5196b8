"""Runs whose process was killed are closed by the next command; those of living ones are let be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kineflow.storage.errors import KineflowError
from kineflow.tracking.abandoned import close_abandoned
from kineflow.tracking.marks import Mark, marked, stale_marks
from kineflow.tracking.runs import open_step_run
from kineflow.tracking.store import connect

ROOT = Path(__file__).resolve().parents[3]
RUN_THAT_HANGS = """
import time
from pathlib import Path
from kineflow.tracking.marks import Mark, marked
from kineflow.tracking.runs import open_step_run
from kineflow.tracking.store import tracking_uri
with marked(Mark("pipeline", "run-1"), tracking_uri(), Path.cwd()):
    with open_step_run("train", params={}, experiment="d3d", pipeline_run_id="run-1"):
        print(flush=True)
        time.sleep(100)
"""


def statuses() -> dict[str, str]:
    client = connect()
    experiments = [each.experiment_id for each in client.search_experiments()]
    return {run.info.run_name: run.info.status for run in client.search_runs(experiments)}


def errors() -> list[str]:
    client = connect()
    experiments = [each.experiment_id for each in client.search_experiments()]
    return [run.data.tags.get("error", "") for run in client.search_runs(experiments)]


@pytest.fixture
def process(project: Path) -> Iterator[Any]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen([sys.executable, "-c", RUN_THAT_HANGS], cwd=project, env=environment, stdout=-1)
    assert started.stdout
    assert started.stdout.readline()
    for mark in (project / "mlflow.db.running").iterdir():
        os.utime(mark, (1, 1))
    yield started
    started.kill()
    started.communicate()


@pytest.mark.slow
def test_a_killed_process_leaves_no_run_that_runs(project: Path, process: Any) -> None:
    with open_step_run("evaluate", params={}, experiment="d3d"):
        assert close_abandoned() == 0
        process.kill()
        process.wait()
        assert close_abandoned() == 2
        assert statuses() == {"d3d-run-1": "KILLED", "train": "KILLED", "evaluate": "RUNNING"}
        assert sum("killed" in error for error in errors()) == 2
    assert statuses()["evaluate"] == "FINISHED"
    assert not (project / "mlflow.db.running").exists()


def test_a_run_that_ended_by_itself_stays_as_it_was(project: Path) -> None:
    with pytest.raises(KineflowError), open_step_run("train", params={}, experiment="d3d") as run:
        raise KineflowError("bad data")
    (project / "mlflow.db.running").mkdir()
    mark = project / "mlflow.db.running" / f"step-{run.run_id}"  # killed before it took the mark away
    mark.touch()
    os.utime(mark, (1, 1))
    assert close_abandoned() == 0
    assert statuses() == {"train": "FAILED"}
    assert not mark.exists()


def test_with_a_server_marks_lie_in_the_project_and_tell_no_password(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    with marked(Mark("pipeline", "a"), "http://me:secret@server", tmp_path):
        (mark,) = tmp_path.rglob("pipeline-a")
        assert "secret" not in str(mark)
        os.utime(mark, (1, 1))
        assert stale_marks("http://me:secret@server", tmp_path) == []
        assert stale_marks("http://another", tmp_path) == []


def test_a_folder_that_is_no_project_is_left_alone(tmp_path: Path) -> None:
    with marked(Mark("step", "a"), "http://server", tmp_path):
        assert list(tmp_path.iterdir()) == []
