from pathlib import Path

import pytest

from kineflow.storage.errors import KineflowError
from kineflow.tracking.compare import compare
from kineflow.tracking.runs import end_pipeline_run, open_step_run

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pipeline runs run-a (evaluated twice) and run-b (not evaluated), in two experiments."""
    monkeypatch.setenv("KINEFLOW_DATA_VERSION", "0123.dir")
    monkeypatch.setenv("KINEFLOW_GIT_COMMIT", "c" * 40)
    for top1 in (0.5, 0.6):
        with open_step_run("evaluate", params={}, experiment="d3d", pipeline_run_id="run-a") as run:
            run.log_metrics({"student/top1": top1, "plain/top1": 0.25})
            run.set_tags({"evaluation.data_version": "d" * 64})
    with open_step_run("train", params={}, experiment="tsn", pipeline_run_id="run-b") as run:
        run.log_metrics({"loss": 1.0})
    end_pipeline_run("run-a", "FINISHED")
    return project


def test_rows_are_the_latest_first(runs: Path) -> None:
    latest, earlier = compare()
    assert (latest["run"], latest["id"], latest["status"]) == ("tsn-run-b", "run-b", "RUNNING")
    assert "loss" not in latest
    assert {name: value for name, value in earlier.items() if name != "started"} == {
        "run": "d3d-run-a",
        "id": "run-a",
        "status": "FINISHED",
        "data": "0123.dir",
        "commit": "cccccccc",
        "plain/top1": 0.25,
        "student/top1": 0.6,
    }
    assert earlier["started"][:2] == "20"


def test_the_number_of_rows_is_bounded(runs: Path) -> None:
    assert [row["id"] for row in compare(limit=1)] == ["run-b"]


def test_runs_are_chosen_by_id_or_its_beginning(runs: Path) -> None:
    assert [row["id"] for row in compare(["run-a", "run-b"])] == ["run-a", "run-b"]


@pytest.mark.parametrize(("wanted", "found"), [("run-", "2"), ("run-c", "no"), ("run", "no")])
def test_an_id_must_name_one_run(runs: Path, wanted: str, found: str) -> None:
    with pytest.raises(KineflowError, match=f"{found} pipeline runs have the id '{wanted}'"):
        compare([wanted])


def test_there_may_be_no_runs(project: Path) -> None:
    assert compare() == []
