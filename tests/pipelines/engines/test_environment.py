"""How a run's record is closed, and what its steps find around them."""

import signal
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest

from kineflow.storage.errors import KineflowError
from kineflow.storage.stopping import signals_stop
from kineflow.tracking.lineage import git_tags
from pipelines.engines import environment
from pipelines.engines.environment import pipeline_run, step_environment


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), "KILLED"), (KineflowError("bad data"), "FAILED"), (None, "FINISHED")]
)
def test_a_run_is_closed_as_it_ended(monkeypatch: pytest.MonkeyPatch, error: BaseException | None, status: str) -> None:
    closed = []
    monkeypatch.setattr(environment, "_close", lambda _, ended: closed.append(ended))
    with pytest.raises(type(error)) if error else nullcontext(), pipeline_run("d3d", "none"):
        if error:
            raise error
    assert closed == [status]


def test_whether_files_differ_from_the_commit_is_decided_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *words], check=True)
    monkeypatch.setattr(environment, "_close", lambda *_: None)
    monkeypatch.setattr(environment, "current_project", lambda: tmp_path)
    with pipeline_run("d3d", "none"):
        (tmp_path / "edited").touch()
        assert git_tags(tmp_path)["git.dirty"] == "false"
    assert git_tags(tmp_path)["git.dirty"] == "true"


def test_a_store_that_is_gone_does_not_hide_why_the_run_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise KineflowError("the store is gone")

    monkeypatch.setattr(environment, "_close", gone)
    with pytest.raises(KineflowError, match="bad data"), pipeline_run("d3d", "none"):
        raise KineflowError("bad data")


def test_ctrl_c_as_a_run_is_closed_leaves_it_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    def close(_: str, status: str) -> None:
        signal.raise_signal(signal.SIGTERM)
        closed.append(status)

    monkeypatch.setattr(environment, "_close", close)
    with pytest.raises(KeyboardInterrupt), signals_stop(), pipeline_run("d3d", "none"):
        pass
    assert closed == ["FINISHED"]


@pytest.mark.parametrize(
    ("own", "policy", "turns"),
    [
        ({}, "passive", "4000"),
        ({"OMP_WAIT_POLICY": "active"}, "active", None),
        ({"GOMP_SPINCOUNT": "9"}, "passive", "9"),
    ],
)
def test_threads_wait_as_the_user_says(
    own: dict[str, str], policy: str, turns: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    found = step_environment(tmp_path)
    assert (found["OMP_WAIT_POLICY"], found.get("GOMP_SPINCOUNT")) == (policy, turns)
