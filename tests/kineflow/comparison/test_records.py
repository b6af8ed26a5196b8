from pathlib import Path

import pytest

from kineflow.comparison.records import find_runs
from kineflow.storage.errors import KineflowError
from kineflow.tracking.parent import ParentRecord, record_parent
from kineflow.tracking.runs import end_pipeline_run, open_step_run

pytestmark = pytest.mark.slow

TAGS = {
    "evaluation.data_version": "d" * 64, "evaluation.split": "test", "evaluation.protocol": "ten clips",
    "evaluation.sha256": "e" * 64,
}  # fmt: skip


@pytest.fixture
def runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pipeline runs run-a (evaluated twice), run-b (not evaluated) and run-c (whose evaluation is run-a's)."""
    monkeypatch.setenv("KINEFLOW_DATA_VERSION", "0123.dir")
    monkeypatch.setenv("KINEFLOW_GIT_COMMIT", "c" * 40)
    for top1 in (0.5, 0.6):
        with open_step_run("evaluate", params={}, experiment="d3d", pipeline_run_id="run-a") as run:
            figures = {"student/top1": top1, "plain/top1": 0.25, "cost/cpu_s": 3.0, "cost/peak_memory_mb": 100.0}
            run.record(figures, {}, TAGS)
    with open_step_run("train", params={}, experiment="tsn", pipeline_run_id="run-b") as run:
        run.record({"loss": 1.0, "cost/cpu_s": 2.0}, {}, {})
    with open_step_run("register", params={}, experiment="d3d", pipeline_run_id="run-c") as run:
        pass
    record = ParentRecord({"student": {"steps": 500}}, {"recipe": "d3d", "evaluation.sha256": "e" * 64})
    record_parent("run-c", lambda: record)
    end_pipeline_run("run-a", "FINISHED")
    return project


def test_records_are_the_latest_first(runs: Path) -> None:
    latest, middle, earlier = find_runs()
    assert (middle.name, middle.id, middle.status, middle.judged) == ("tsn-run-b", "run-b", "RUNNING", None)
    assert middle.cost == {"cpu_s": 2.0, "wall_s": 0, "peak_memory_mb": 0.0}
    assert (earlier.id, earlier.data, earlier.commit) == ("run-a", "0123.dir", "cccccccc")
    assert earlier.started[:2] == "20"
    assert earlier.judged is not None
    assert earlier.judged.basis == ("d" * 64, "ten clips")
    assert earlier.judged.figures == {"plain/top1": 0.25, "student/top1": 0.6}
    assert earlier.judged.made_by == "run-a"
    assert (latest.recipe, latest.params) == ("d3d", {"student.steps": "500"})


def test_an_evaluation_that_was_up_to_date_is_that_of_the_run_that_made_it(runs: Path) -> None:
    (record,) = find_runs(["run-c"])
    assert record.judged is not None
    assert (record.judged.made_by, record.judged.figures["student/top1"]) == ("run-a", 0.6)


def test_the_number_of_records_is_bounded(runs: Path) -> None:
    assert [record.id for record in find_runs(limit=1)] == ["run-c"]


def test_runs_are_chosen_by_id_or_its_beginning_or_a_condition(runs: Path) -> None:
    assert [record.id for record in find_runs(["run-a", "run-b"])] == ["run-a", "run-b"]
    assert [record.id for record in find_runs(where="params.`student.steps` = '500'")] == ["run-c"]
    with pytest.raises(KineflowError, match="--where 'steps >': cannot be read"):
        find_runs(where="steps >")


@pytest.mark.parametrize(("wanted", "found"), [("run-", "3"), ("run-d", "no"), ("run", "no")])
def test_an_id_must_name_one_run(runs: Path, wanted: str, found: str) -> None:
    with pytest.raises(KineflowError, match=f"{found} pipeline runs have the id '{wanted}'"):
        find_runs([wanted])


def test_there_may_be_no_runs(project: Path) -> None:
    assert find_runs() == []
