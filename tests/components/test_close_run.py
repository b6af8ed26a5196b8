"""The step close_run, with an HTTP server that answers as Kubernetes does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.close_run import close_run
from kineflow.comparison.records import find_runs
from kineflow.storage.errors import KineflowError
from kineflow.tracking.closing_settings import CloseRunSettings


@pytest.mark.slow
def test_the_step_writes_how_the_run_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kineflow.tracking.runs import open_step_run
    from kineflow.tracking.store import prepare_store

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KINEFLOW_NAMESPACE", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("KINEFLOW_RUN_ID", "run-1")
    monkeypatch.setenv("KINEFLOW_RECIPE", "d3d")
    monkeypatch.setenv("KINEFLOW_PARAMS", '{"seed": 7, "student": {"optimiser": {"learning_rate": 0.1}}}')
    prepare_store()

    def training() -> None:
        with open_step_run("train", params={}, experiment="d3d", pipeline_run_id="run-1"):
            raise RuntimeError("no more memory")

    with pytest.raises(RuntimeError):
        training()
    result = close_run(params=CloseRunSettings(), closed=tmp_path / "closed")
    written = json.loads((tmp_path / "closed").read_text())
    assert written["status"] == "FAILED"
    assert "no more memory" in written["failures"]["train"]
    assert result.metrics == {"failed": 1}
    [told] = find_runs(root=tmp_path)
    assert (told.recipe, told.params) == ("d3d", {"seed": "7", "student.optimiser.learning_rate": "0.1"})


def test_outside_a_run_there_is_nothing_to_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KINEFLOW_RUN_ID", raising=False)
    with pytest.raises(KineflowError, match="no run to close"):
        close_run(params=CloseRunSettings(), closed=tmp_path / "closed")
