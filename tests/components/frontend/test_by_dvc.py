import os
from pathlib import Path
from typing import Any

import pytest

from components.frontend.by_dvc import RunByDvc
from kineflow.tracking.lineage import DATA_VERSION
from kineflow.tracking.runs import open_step_run
from kineflow.tracking.store import connect

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunByDvc:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", DATA_VERSION):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.dvc").write_text(f"outs:\n- md5: {'a' * 32}.dir\n  path: data\n")
    return RunByDvc("abc", "d3d", tmp_path, {}, tmp_path / "params.yaml", data_version="none")


def _stage(run: RunByDvc, name: str, *, fails: bool = False) -> Any:
    """Do a stage; the record of the whole run after it."""
    try:
        with (
            run.kept({}, run.folder),
            open_step_run(name, params={}, experiment="d3d", pipeline_run_id=run.id, root=run.folder),
        ):
            if fails:
                raise ValueError(name)
    except ValueError:
        assert fails
    client = connect()
    [experiment] = [each.experiment_id for each in client.search_experiments() if each.name == "d3d"]
    [parent] = client.search_runs([experiment], "tags.`kineflow.kind` = 'pipeline'")
    return parent


def test_a_run_has_failed_until_the_stage_that_failed_is_done_again(run: RunByDvc) -> None:
    ended = [
        _stage(run, name, fails=fails).info.status
        for name, fails in (("ingest", True), ("flow", False), ("ingest", False))
    ]
    assert ended == ["FAILED", "FAILED", "FINISHED"]


def test_a_run_that_reads_more_than_dvc_tracks_has_no_data_version_of_dvcs(run: RunByDvc) -> None:
    assert "dvc.data.md5" not in _stage(run, "ingest").data.tags
    assert DATA_VERSION not in os.environ
