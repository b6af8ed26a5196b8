from pathlib import Path
from typing import Any

import pytest

from kineflow.tracking.parent import NOTE_TAG, ParentRecord, link_model, record_parent
from kineflow.tracking.runs import StepRun, open_step_run
from kineflow.tracking.store import connect


def run_of_a_step(text: str = "") -> StepRun:
    with open_step_run("plain", params={}, experiment="d3d", pipeline_run_id="run-1") as run:
        page = Path("report.html")
        page.write_text(text)
        run.log_dataset("test", version="0123", source="clips", context="test", profile={"clips": 3})
        run.record({"top1": 0.5}, {"report.html": page}, {})
    return run


@pytest.mark.slow
def test_a_parent_is_understood_without_its_steps(project: Path) -> None:
    parent_id = run_of_a_step("<p>").parent_id
    assert parent_id is not None
    record = ParentRecord({"student": {"lr": 0.1}}, {"recipe": "d3d"}, {"params.yaml": "student: {lr: 0.1}"}, "# Well")
    record_parent("run-1", lambda: record)
    client = connect()
    model_id = client.create_logged_model(client.get_run(parent_id).info.experiment_id, name="m").model_id
    link_model(client, run_of_a_step().run_id, model_id)

    parent = client.get_run(parent_id)
    assert parent.data.params == {"student.lr": "0.1"}
    assert parent.data.metrics["plain/top1"] == 0.5
    assert (parent.data.tags["recipe"], parent.data.tags[NOTE_TAG]) == ("d3d", "# Well")
    assert [(each.dataset.name, each.dataset.digest) for each in parent.inputs.dataset_inputs] == [("test", "0123")]
    assert [each.model_id for each in parent.outputs.model_outputs] == [model_id]
    files = project / "mlartifacts" / "d3d" / parent_id / "artifacts"
    assert sorted(str(path.relative_to(files)) for path in files.rglob("*.*")) == ["params.yaml", "plain/report.html"]


def test_nothing_is_looked_up_for_a_run_without_a_record(project: Path) -> None:
    connect()
    record_parent("run-1", lambda: pytest.fail("there is no record to add to"))


def test_what_fails_ends_nothing(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_of_a_step()

    def fail() -> Any:
        raise OSError("a file is gone")

    record_parent("run-1", fail)
    assert "a file is gone" in caplog.text
