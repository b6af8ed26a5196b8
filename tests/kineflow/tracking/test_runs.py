import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import mlflow
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kineflow.storage.errors import KineflowError
from kineflow.storage.stopping import Stopped, signals_stop
from kineflow.tracking.runs import MAX_PARAM_CHARS, StepRun, end_pipeline_run, flatten_params, open_step_run
from kineflow.tracking.store import connect

SECRET = "wJalrXUtnFEMIplantedK7MDENG"


def read(run_id: str) -> Any:
    return connect().get_run(run_id)


class TestFlattenParams:
    def test_nested_mappings_become_dotted_names(self) -> None:
        params = {"optimiser": {"lr": 0.1, "nesterov": True}, "sizes": [1, 2], "name": "d3d", "none": None, "empty": {}}
        assert flatten_params(params) == {
            "optimiser.lr": "0.1",
            "optimiser.nesterov": "true",
            "sizes": "[1, 2]",
            "name": "d3d",
            "none": "null",
            "empty": "{}",
        }

    def test_a_long_value_is_cut_with_a_note(self) -> None:
        cut = flatten_params({"x": "a" * 7000})["x"]
        assert len(cut) == MAX_PARAM_CHARS
        assert "7000 characters, sha256 " in cut

    def test_a_value_of_the_greatest_length_is_kept(self) -> None:
        assert flatten_params({"x": "a" * 6000})["x"] == "a" * 6000

    def test_what_is_no_json_is_told_as_text(self) -> None:
        assert flatten_params({"path": Path("a/b")}) == {"path": "a/b"}

    def test_credentials_are_hidden(self) -> None:
        assert flatten_params({"source": "https://ann:s3cret@host/v"}) == {"source": "https://***@host/v"}

    keys = st.text(min_size=1, max_size=300)
    leaves = st.none() | st.booleans() | st.floats() | st.text(max_size=50) | st.lists(st.integers(), max_size=3)

    nested = st.recursive(leaves, lambda below: st.dictionaries(st.text(), below, max_size=3), max_leaves=5)

    @settings(deadline=None)  # MLflow is imported on the way
    @given(st.dictionaries(keys, nested, max_size=4))
    @example({".": 1, "a/../b//c": 2, "/": 3})
    def test_mlflow_takes_whatever_comes_out(self, params: dict[str, Any]) -> None:
        from mlflow.utils.validation import _validate_param

        for name, value in flatten_params(params).items():
            _validate_param(name, value)


class TestOpenStepRun:
    @pytest.mark.slow
    def test_records_params_metrics_tags_files_and_data(self, project: Path) -> None:
        (project / "curve.png").write_bytes(b"png")
        (project / "report").mkdir()
        (project / "report" / "index.html").write_text("<p>")
        with open_step_run(
            "train_flow", params={"steps": 3, "optimiser": {"lr": 0.1}}, experiment="d3d", tags={"recipe": "d3d"}
        ) as run:
            for step in range(1200):
                run.log_metrics({"val/top1": step / 1200, "bad name (%)": float("nan")}, step)
            run.log_dataset("clips", version="f" * 64, source="data/clips")
            run.record(
                {"clips": 7.0},
                {"plots/training.png": project / "curve.png", "report": project / "report"},
                {"note": "x" * 9000},
            )

        client = connect()
        tracked = client.get_run(run.run_id)
        assert tracked.info.status == "FINISHED"
        assert tracked.info.run_name == "train_flow"
        assert tracked.data.params == {"steps": "3", "optimiser.lr": "0.1"}
        assert tracked.data.metrics["val/top1"] == 1199 / 1200
        assert tracked.data.metrics["clips"] == 7.0
        assert [point.step for point in client.get_metric_history(run.run_id, "val/top1")] == list(range(1200))
        assert "bad name ___" in tracked.data.metrics
        assert tracked.data.tags["recipe"] == "d3d"
        assert tracked.data.tags["env.python"]
        assert len(tracked.data.tags["source.digest"]) == 64
        assert len(tracked.data.tags["note"]) == 8000
        [read_set] = tracked.inputs.dataset_inputs
        assert (read_set.dataset.name, read_set.dataset.digest) == ("clips", "f" * 36)
        assert json.loads(read_set.dataset.source) == {"uri": "data/clips"}
        files = project / "mlartifacts" / "d3d" / run.run_id / "artifacts"
        assert (files / "plots" / "training.png").read_bytes() == b"png"
        assert (files / "report" / "index.html").read_text() == "<p>"

    def test_the_parent_sums_up_its_steps(self, project: Path) -> None:
        for step, top1 in (("plain", 0.3), ("student", 0.6)):
            with open_step_run(step, params={}, experiment="d3d", pipeline_run_id="run-1") as run:
                run.record({"val/top1": top1}, {}, {})
        assert run.parent_id is not None
        assert connect().get_run(run.parent_id).data.metrics == {"plain/val/top1": 0.3, "student/val/top1": 0.6}

    def test_data_can_be_found_by_its_dvc_hash(self, project: Path) -> None:
        version = "0123456789abcdef0123456789abcdef.dir"
        with open_step_run("train", params={}, experiment="d3d") as run:
            run.log_dataset("clips", version=version, source="data")
        runs = connect().search_runs([run.experiment_id], f"datasets.digest = '{version}'")
        assert [each.info.run_id for each in runs] == [run.run_id]

    def test_an_error_is_recorded_and_passed_on(self, project: Path) -> None:
        run_ids = []

        def fail() -> None:
            with open_step_run("x", params={}, experiment="d3d") as run:
                run_ids.append(run.run_id)
                run.log_metrics({"loss": 1.0}, 0)
                raise ValueError("no such clip")

        with pytest.raises(ValueError, match="no such clip"):
            fail()
        tracked = read(run_ids[0])
        assert tracked.info.status == "FAILED"
        assert tracked.data.tags["error"] == "ValueError: no such clip"
        assert tracked.data.metrics == {"loss": 1.0}

    def test_ctrl_c_is_recorded_as_killed(self, project: Path) -> None:
        with pytest.raises(KeyboardInterrupt), open_step_run("x", params={}, experiment="d3d") as run:
            raise KeyboardInterrupt
        assert read(run.run_id).info.status == "KILLED"

    def test_many_params_are_stored(self, project: Path) -> None:
        with open_step_run("x", params={f"p{number}": number for number in range(250)}, experiment="d3d") as run:
            pass
        assert len(read(run.run_id).data.params) == 250

    def test_a_deleted_experiment_is_named(self, project: Path) -> None:
        with open_step_run("x", params={}, experiment="gone") as run:
            pass
        connect().delete_experiment(run.experiment_id)
        with pytest.raises(KineflowError, match="'gone'"), open_step_run("x", params={}, experiment="gone"):
            pass


@pytest.mark.slow
@pytest.mark.parametrize("call", ["create_run", "set_terminated"])
def test_a_signal_while_a_run_begins_or_ends_leaves_it_closed(
    project: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    client = mlflow.MlflowClient
    real = getattr(client, call)

    def disturbed(*arguments: Any, **keywords: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments, **keywords)

    with monkeypatch.context() as patched:
        patched.setattr(client, call, disturbed)
        with pytest.raises(Stopped), signals_stop(), open_step_run("a", params={}, experiment="d3d"):
            pass
    (experiment,) = connect().search_experiments(filter_string="name = 'd3d'")
    (run,) = connect().search_runs([experiment.experiment_id])
    assert run.info.status == ("KILLED" if call == "create_run" else "FINISHED")
    assert not list(project.rglob("step-*"))


class TestPipelineRun:
    @pytest.mark.slow
    def test_steps_share_one_parent_that_can_be_closed(self, project: Path) -> None:
        with open_step_run("a", params={}, experiment="d3d", pipeline_run_id="0123456789abcdef", tags={"recipe": "r"}):
            pass
        with open_step_run("b", params={}, experiment="d3d", pipeline_run_id="0123456789abcdef") as second:
            pass
        with open_step_run("b", params={}, experiment="d3d", pipeline_run_id="another"):
            pass
        parent_id = read(second.run_id).data.tags["mlflow.parentRunId"]
        parent = read(parent_id)
        assert parent.info.run_name == "r-01234567"
        assert parent.info.status == "RUNNING"
        children = connect().search_runs([second.experiment_id], f"tags.`mlflow.parentRunId` = '{parent_id}'")
        assert sorted(run.info.run_name for run in children) == ["a", "b"]

        end_pipeline_run("0123456789abcdef", "FAILED")
        assert read(parent_id).info.status == "FAILED"

    @pytest.mark.slow
    def test_a_parent_runs_again_when_its_run_is_resumed(self, project: Path) -> None:
        with open_step_run("a", params={}, experiment="d3d", pipeline_run_id="p1") as first:
            pass
        parent_id = read(first.run_id).data.tags["mlflow.parentRunId"]
        end_pipeline_run("p1", "FAILED")
        with open_step_run("a", params={}, experiment="d3d", pipeline_run_id="p1") as second:
            assert read(parent_id).info.status == "RUNNING"
        assert read(second.run_id).data.tags["mlflow.parentRunId"] == parent_id

    @pytest.mark.slow
    def test_of_two_parents_made_at_once_the_older_stays(self, project: Path) -> None:
        with open_step_run("a", params={}, experiment="d3d", pipeline_run_id="p1") as first:
            pass
        parent = read(read(first.run_id).data.tags["mlflow.parentRunId"])
        client = connect()
        double = client.create_run(first.experiment_id, tags=parent.data.tags, start_time=parent.info.start_time + 1)
        with open_step_run("b", params={}, experiment="d3d", pipeline_run_id="p1") as second:
            pass
        assert read(second.run_id).data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert client.get_run(double.info.run_id).info.lifecycle_stage == "deleted"

    def test_ending_a_run_without_a_parent_does_nothing(self, project: Path) -> None:
        end_pipeline_run("never-seen", "FINISHED")

    def test_malformed_arguments_are_refused(self, project: Path) -> None:
        with (
            pytest.raises(KineflowError, match="malformed"),
            open_step_run("a", params={}, experiment="d3d", pipeline_run_id="x' OR 1"),
        ):
            pass
        with pytest.raises(KineflowError, match="DONE"):
            end_pipeline_run("p1", "DONE")  # type: ignore[arg-type]


class TestStoreInTrouble:
    def test_a_store_that_is_not_there_is_an_error_before_the_work(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:{SECRET}@127.0.0.1:9/")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        entered = False
        with (
            pytest.raises(KineflowError, match="start the server") as caught,
            open_step_run("x", params={}, experiment="d3d"),
        ):
            entered = True
        assert not entered
        assert SECRET not in str(caught.value)
        assert "http://***@127.0.0.1:9/" in str(caught.value)

    def test_a_store_that_goes_away_is_said_once_and_ends_nothing(
        self, project: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Gone:
            def __getattr__(self, name: str) -> Any:
                raise ConnectionError(f"{name}: http://ann:{SECRET}@host refused")

        run = StepRun(Gone(), f"http://ann:{SECRET}@host", "train", "id", "0")
        with caplog.at_level(logging.WARNING):
            run.log_metrics({"loss": 1.0}, 0)
            run.set_tags({"a": "b"})
            run.log_artifact(project / "mlflow.db")
            run.log_dataset("clips", version="a", source="b")
            run.close("FINISHED", None)
        assert [record.message.splitlines()[0] for record in caplog.records] == [
            "http://***@host: the tracking store cannot be used: log_batch: http://***@host refused",
            "1 figures of this step did not reach the tracking store",
        ]


@pytest.mark.slow
def test_credentials_reach_neither_the_store_nor_its_files(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("DVC_STAGE", f"train-{SECRET}")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
    run_ids = []

    def step_that_fails() -> None:
        with open_step_run(
            "x",
            params={"source": f"s3://{SECRET}@bucket", "env": dict(os.environ)},
            experiment="d3d",
            tags={"command": f"--key {SECRET}"},
            pipeline_run_id="p1",
        ) as run:
            run_ids.append(run.run_id)
            run.set_tags({"late": SECRET})
            run.log_dataset("clips", version="v", source=f"https://ann:{SECRET}@host/clips")
            raise RuntimeError(f"403 for key {SECRET}")

    with caplog.at_level(logging.DEBUG), pytest.raises(RuntimeError):
        step_that_fails()
    output = capfd.readouterr()
    assert SECRET not in caplog.text + output.out + output.err
    leaks = [path for path in project.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert leaks == []
    assert read(run_ids[0]).data.tags["error"] == "RuntimeError: 403 for key ***"
