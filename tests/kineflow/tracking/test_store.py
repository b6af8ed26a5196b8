import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from kineflow.comparison.records import find_runs
from kineflow.registry.promotion import promote
from kineflow.storage.errors import MISTAKE, OUT_OF_SIGHT, KineflowError
from kineflow.tracking import store
from kineflow.tracking.store import (
    artifact_location,
    check_store,
    connect,
    database_file,
    prepare_store,
    quiet_mlflow,
    store_lock,
    tracking_uri,
    unreachable,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]


class TestTrackingUri:
    def test_is_an_absolute_sqlite_file_in_the_root_by_default(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.chdir(tmp_path)
        assert tracking_uri() == tracking_uri(tmp_path) == f"sqlite:///{tmp_path.resolve()}/mlflow.db"

    def test_a_relative_sqlite_file_is_made_absolute(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///runs/here.db")
        assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path.resolve()}/runs/here.db"

    @pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "/data/mlruns", "file:mlruns", "file:///data/mlruns"])
    def test_a_folder_is_refused_with_what_to_write_for_it(self, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(KineflowError, match=r"name a file: sqlite:///.*mlruns\.db"):
            tracking_uri()

    def test_a_relative_registry_is_the_projects_too(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KINEFLOW_PROJECT", str(project))
        monkeypatch.setenv("MLFLOW_REGISTRY_URI", "sqlite:///mlflow.db")
        (project / "deep").mkdir()
        monkeypatch.chdir(project / "deep")
        assert connect()._registry_uri == f"sqlite:///{project}/mlflow.db"
        assert list((project / "deep").iterdir()) == []

    def test_a_server_is_taken_as_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example/")
        assert tracking_uri() == "https://mlflow.example/"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:////a/b.db", Path("/a/b.db")),
        ("sqlite:///b.db?timeout=3", Path("b.db")),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("http://host", None),
        ("postgresql://host/db", None),
    ],
)
def test_database_file(uri: str, path: Path | None) -> None:
    assert database_file(uri) == path


def test_artifacts_lie_beside_the_database_and_a_server_chooses_itself() -> None:
    assert artifact_location("sqlite:////a/mlflow.db", "d3d/x") == "/a/mlartifacts/d3d%2Fx"
    assert artifact_location("http://host", "d3d") is None


def test_quiet_mlflow_turns_telemetry_off_and_respects_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    quiet_mlflow()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"


class TestAnotherVersionOfMlflow:
    def revise(self, project: Path, revision: str) -> None:
        with sqlite3.connect(project / "mlflow.db") as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))

    def test_an_older_database_is_to_be_upgraded(self, project: Path) -> None:
        self.revise(project, "451aebb31d03")  # of MLflow 1.0
        with pytest.raises(KineflowError, match="made by an older MLflow") as caught:
            connect()
        assert f"mlflow db upgrade sqlite:///{project}/mlflow.db" in str(caught.value)
        assert "server" not in str(caught.value)

    def test_a_newer_one_wants_a_newer_mlflow(self, project: Path) -> None:
        self.revise(project, "feedfacecafe")
        with pytest.raises(KineflowError, match="made by a newer MLflow"):
            check_store()

    def test_one_of_this_version_is_taken(self, project: Path) -> None:
        check_store()


class TestPrepareStore:
    def test_a_prepared_file_is_left_alone_and_mlflow_is_not_imported(self, project: Path) -> None:
        before = (project / "mlflow.db").read_bytes()
        script = (
            "import sys; from kineflow.tracking import store; store.prepare_store(); print('mlflow' in sys.modules)"
        )
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=project, env=environ, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "False"
        assert (project / "mlflow.db").read_bytes() == before

    def test_an_empty_file_gets_its_tables(self, tmp_path: Path) -> None:
        (tmp_path / "mlflow.db").touch()
        uri = prepare_store(f"sqlite:///{tmp_path}/mlflow.db")
        assert connect(uri).search_experiments()

    def test_an_interrupted_start_leaves_no_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from mlflow.store.db import utils

        def interrupt(engine: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(utils, "_initialize_tables", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare_store(f"sqlite:///{tmp_path}/mlflow.db")
        assert [path.name for path in tmp_path.iterdir() if path.suffix == ".db"] == []

    @pytest.mark.parametrize("content", [b"no database at all, but long enough to be looked at" * 30, None])
    def test_refuses_a_file_of_something_else(self, tmp_path: Path, content: bytes | None) -> None:
        path = tmp_path / "mlflow.db"
        if content is None:
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE experiments (id INTEGER)")
        else:
            path.write_bytes(content)
        kept = path.read_bytes()
        with pytest.raises(KineflowError, match=r"mlflow\.db: not a(.|\n)*move the file away"):
            prepare_store(f"sqlite:///{path}")
        assert path.read_bytes() == kept

    def test_a_server_is_left_alone(self) -> None:
        assert prepare_store("http://localhost:1") == "http://localhost:1"


def test_the_lock_names_its_file_when_it_is_held(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_LOCK_TIMEOUT_SEC", 0.05)
    uri = tracking_uri()
    with store_lock(uri), pytest.raises(KineflowError, match=r"mlflow\.db\.lock"), store_lock(uri):
        pass


def test_the_lock_of_a_server_does_not_hold_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    path = store._lock_file("http://ann:s3cret@host")
    assert "s3cret" not in str(path)
    assert path != store._lock_file("http://host")


START_TOGETHER = """
import sys, time
from pathlib import Path
from kineflow.tracking.store import prepare_store
from kineflow.tracking.runs import open_step_run
number, count = sys.argv[1:]
Path(f"ready{number}").touch()
while len(list(Path().glob("ready*"))) < int(count):
    time.sleep(0.01)
prepare_store()
with open_step_run(f"step{number}", params={"number": number}, experiment="demo", pipeline_run_id="together") as run:
    run.log_metrics({"x": float(number)}, 0)
"""


def test_processes_that_start_together_on_a_fresh_file_all_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 3
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START_TOGETHER, str(number), str(count)],
            cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True,
        )
        for number in range(count)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * count, outputs

    client = connect(tracking_uri(tmp_path))
    experiment = client.get_experiment_by_name("demo").experiment_id
    runs = client.search_runs([experiment])
    parents = [run for run in runs if run.data.tags["kineflow.kind"] == "pipeline"]
    children = [run for run in runs if run.data.tags["kineflow.kind"] == "step"]
    assert len(parents) == 1
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    assert sorted(run.data.metrics["x"] for run in children) == [0.0, 1.0, 2.0]


def test_looking_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(KineflowError, match="nothing has been recorded yet"):
        connect(must_exist=True)
    assert find_runs() == []
    with pytest.raises(KineflowError, match="nothing has been recorded yet"):
        promote("student")
    assert list(tmp_path.iterdir()) == []


def test_a_database_on_a_full_disk_is_said_to_be(tmp_path: Path) -> None:
    error = unreachable(f"sqlite:///{tmp_path}/mlflow.db", RuntimeError("(sqlite3) database or disk is full"))
    assert (error.where, error.exit_code) == (tmp_path / "mlflow.db", 28)


@pytest.mark.parametrize(
    ("answer", "exit_code"),
    [
        ("INTERNAL_ERROR", OUT_OF_SIGHT),  # also MLflow's own word for no connection
        ("TEMPORARILY_UNAVAILABLE", OUT_OF_SIGHT),
        ("REQUEST_LIMIT_EXCEEDED", OUT_OF_SIGHT),
        ("PERMISSION_DENIED", MISTAKE),
    ],
)
def test_a_server_that_may_answer_later_is_told_from_one_that_says_no(answer: str, exit_code: int) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ErrorCode

    error = MlflowException("no", error_code=ErrorCode.Value(answer))
    assert unreachable("http://mlflow:5000", error).exit_code == exit_code
