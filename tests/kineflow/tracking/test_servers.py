"""Against MLflow's real servers: serving a registered student, and tracking on a server that dies."""

import base64
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kineflow.models.card import load_card
from kineflow.registry.measured import Measured
from kineflow.registry.promotion import promote
from kineflow.registry.registration import register_student
from kineflow.serving.served_model import load_video_model
from kineflow.serving.trial import example_video
from kineflow.tracking.runs import open_step_run
from kineflow.tracking.store import connect

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
PASSWORD = "plantedPassword42"
SHOWN = Measured({"top1": 0.5}, "a" * 64, 12)


@contextmanager
def running(
    arguments: list[str], *, health: str, folder: Path, module: str = "mlflow"
) -> Iterator[subprocess.Popen[bytes]]:
    """An MLflow server in ``folder``, up and answering; ended with all its processes."""
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=folder, env=environ, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        limit = time.monotonic() + 240
        while not answers(health):
            assert process.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < limit, (folder / "server.log").read_text()
            time.sleep(0.3)
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def post(url: str, payload: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(url, json.dumps(payload).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_registered_student_is_served(project: Path, bundle: Path) -> None:
    register_student(bundle, name="demo", evaluation=SHOWN)
    assert promote("demo", dry_run=False).applied
    video = base64.b64encode(example_video(load_card(bundle))).decode()
    port = free_port()
    for path in (project / "mlartifacts").rglob("video_pyfunc.py"):
        path.write_text("raise SystemExit('code of the store was run')")
    (project / ".dvc").mkdir()
    serve = ["serve", "models:/demo@champion", "--port", str(port)]
    health = f"http://127.0.0.1:{port}/health"
    with running(serve, health=health, folder=project, module="pipelines.cli") as server:
        url = f"http://127.0.0.1:{port}/invocations"
        status, answer = post(url, {"dataframe_records": [{"video": video}], "params": {"topk": 2}})
        assert status == 200
        [row] = answer["predictions"]
        assert row["label"] in ("left", "right", "spin")
        assert len(row["top"]) == 2
        assert sum(row["probabilities"].values()) == pytest.approx(1)

        garbage = base64.b64encode(b"no video").decode()
        status, answer = post(url, {"dataframe_split": {"columns": ["video"], "data": [[garbage]]}})
        assert status == 400
        assert "video 0: not readable as a video" in answer["message"]

        server.terminate()
        assert server.wait(60) == 143
        assert not answers(health), "the server goes with the command"


def test_a_server_that_dies_ends_no_training_and_learns_no_password(
    project: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    port = free_port()
    serve = ["server", "--port", str(port), "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db",
             "--artifacts-destination", "./served"]  # fmt: skip
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with running(serve, health=f"http://127.0.0.1:{port}/health", folder=project) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:{PASSWORD}@127.0.0.1:{port}")
        with open_step_run("register", params={"x": 1}, experiment="d3d", pipeline_run_id="p1") as run:
            made = register_student(bundle, name="demo", evaluation=SHOWN, run_id=run.run_id)
        assert made.store == f"http://***@127.0.0.1:{port}"
        assert connect().get_run(run.run_id).info.status == "FINISHED"
        assert load_video_model("models:/demo@candidate").unwrap_python_model().card.name == "student"
        again = register_student(bundle, name="demo", evaluation=SHOWN)
        assert (again.version, again.created) == ("1", False)

        epochs = 0
        with caplog.at_level(logging.WARNING, "kineflow"), open_step_run("train", params={}, experiment="d3d") as run:
            for epoch in range(3):
                run.log_metrics({"loss": 1.0}, epoch)
                run.set_tags({"epoch": str(epoch)})
                if epoch == 0:
                    end(server)
                epochs += 1
        assert epochs == 3

    warnings = [record.getMessage() for record in caplog.records if record.name.startswith("kineflow")]
    assert len([text for text in warnings if "cannot be used" in text]) == 1
    assert any("did not reach the tracking store" in text for text in warnings)
    output = capfd.readouterr()
    assert PASSWORD not in caplog.text + output.out + output.err
    assert [path for path in project.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()] == []
