"""One run of a project at a time."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from components.frontend.lifeline import LIFELINE
from kineflow.storage.errors import KineflowError
from pipelines.engines.run_lock import check_not_running, lifeline, run_lock


def test_while_it_is_held_others_are_told_by_whom(tmp_path: Path) -> None:
    check_not_running(tmp_path)
    with run_lock(tmp_path, "tsn", "0a1b") as environment:
        assert environment[LIFELINE].endswith(":0a1b")
        with pytest.raises(KineflowError, match=f"tsn, process {os.getpid()} on .*, since 20") as caught:
            check_not_running(tmp_path)
        assert caught.value.where == tmp_path
    check_not_running(tmp_path)


def test_what_a_killed_run_has_left_locks_nothing_whoever_has_its_number_now(tmp_path: Path) -> None:
    left = tmp_path / ".dvc" / "tmp" / "kineflow" / "run.lock"
    left.parent.mkdir(parents=True)
    left.write_text(json.dumps({"run": "f", "recipe": "d3d", "pid": os.getpid(), "host": "here", "since": "then"}))
    check_not_running(tmp_path)
    with run_lock(tmp_path, "tsn", "0a1b"):
        pass


def test_a_lifeline_goes_with_its_run_and_one_of_a_killed_run_with_the_next(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    folder = tmp_path / ".dvc" / "tmp" / "kineflow"
    killed = folder / "run-dead" / "run.lock"
    killed.parent.mkdir(parents=True)
    killed.touch()
    with lifeline(tmp_path, "tsn", "0a1b") as one, lifeline(tmp_path, "tsn", "2c3d") as two:
        assert one != two
        assert sorted(path.name for path in folder.iterdir()) == ["run-0a1b", "run-2c3d"]
    assert list(folder.iterdir()) == []
