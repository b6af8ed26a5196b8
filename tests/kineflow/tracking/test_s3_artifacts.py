"""MLflow's server with its artifacts on a real S3 server: through the server, and straight from the client."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from kineflow.models.bundle import load_bundle
from kineflow.models.card import load_card
from kineflow.registry.measured import Measured
from kineflow.registry.promotion import promote
from kineflow.registry.registration import register_student
from kineflow.serving.predict import predict_video
from kineflow.serving.served_model import load_video_model
from kineflow.serving.trial import example_video
from kineflow.tracking.runs import open_step_run
from kineflow.tracking.store import connect
from tests.kineflow.tracking.test_servers import free_port, running
from tests.swift import Swift

pytestmark = pytest.mark.slow

SHOWN = Measured({"top1": 0.5}, "a" * 64, 12)
THROUGH_THE_SERVER = ["--artifacts-destination"]
STRAIGHT = ["--no-serve-artifacts", "--default-artifact-root"]


@pytest.mark.parametrize(
    "artifacts",
    [
        pytest.param(THROUGH_THE_SERVER, id="through the server"),
        pytest.param(STRAIGHT, id="straight to S3", marks=pytest.mark.long),
    ],
)
def test_a_run_its_files_and_a_champion_are_kept_on_s3(
    swift: Swift, project: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, artifacts: list[str]
) -> None:
    bucket, port = swift.make_bucket(), free_port()
    for name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_EC2_METADATA_DISABLED"]:
        monkeypatch.delenv(name)
    with ExitStack() as running_servers:
        with monkeypatch.context() as of_the_server:
            for name, value in swift.environment.items():
                of_the_server.setenv(name, value)
            serve = ["server", "--port", str(port), "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db"]
            health = f"http://127.0.0.1:{port}/health"
            server = running([*serve, *artifacts, f"s3://{bucket}/mlflow"], health=health, folder=project)
            running_servers.enter_context(server)
        if artifacts is STRAIGHT:  # otherwise clients have no key to S3, and need none
            for name, value in swift.environment.items():
                monkeypatch.setenv(name, value)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        report = project / "report.html"
        report.write_text("<html>what was measured</html>")

        with open_step_run("register", params={"x": 1}, experiment="d3d", pipeline_run_id="p1") as run:
            run.log_metrics({"val/top1": 0.5}, 0)
            connect().log_artifact(run.run_id, str(report))
            register_student(bundle, name="demo", evaluation=SHOWN, run_id=run.run_id)
        assert promote("demo", dry_run=False).applied
        champion = load_video_model("models:/demo@champion").unwrap_python_model()

        video = project / "clip.mp4"
        video.write_bytes(example_video(load_card(bundle)))
        network, card = load_bundle(bundle)
        expected = predict_video(video, network, card)
        np.testing.assert_array_equal(predict_video(video, champion.network, champion.card), expected)
        kept = [item["Key"] for item in swift.client().list_objects_v2(Bucket=bucket)["Contents"]]
        assert any(key.startswith("mlflow/") and key.endswith("/report.html") for key in kept)
        assert any(key.endswith("model.safetensors") for key in kept), kept
        on_disk = [path for path in project.rglob("*") if path.name in ("report.html", "model.safetensors")]
        assert on_disk == [report], "nothing is kept beside the server"
