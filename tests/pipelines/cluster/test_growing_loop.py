"""The loop of a schedule, dry: what is new on S3 is taken in, judged beside the champion, and told to people.

Steps as the pods of a run have them, against a real S3 server, a real MLflow server and a webhook.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.close_run import close_run
from components.evaluate import evaluate
from components.frontend.run import execute
from components.ingest import ingest
from components.list_source import list_source
from components.register import register
from components.train import train
from components.validate import validate
from kineflow.registry.promotion import promote
from kineflow.tracking.store import connect
from kineflow.video.encode import write_video
from tests.kineflow.tracking.test_servers import free_port, running
from tests.swift import Swift

pytestmark = pytest.mark.slow

TEST_CLIPS = 20  # fewer in common are not compared
REGISTRATION = {"name": "cameras", "data": "common", "test": "not_worse", "margin": 1.0}
TRAIN = {"frames": 4, "short_side": 16, "crop": 12, "steps": 2, "validate_every_steps": 2, "batch_size": 2}


@pytest.fixture
def heard() -> Iterator[tuple[str, list[str]]]:
    """Address of a webhook, and what came there."""
    texts: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/secret-path", texts
        server.shutdown()


class Bucket:
    """A bucket that cameras put clips into."""

    def __init__(self, swift: Swift, folder: Path) -> None:
        self.name, self.rows = swift.make_bucket(), ["path,label,split,group"]
        self._client, self._folder = swift.client(), folder

    def add(self, split: str, count: int, first: int) -> None:
        for number in range(first, first + count):
            label = ("left", "right")[number % 2]
            frames = np.full((6, 16, 16, 3), 60 + number, np.uint8)
            for time in range(len(frames)):
                left = time if number % 2 else 11 - time
                frames[time, 4:9, left : left + 5] = 220
            file = self._folder / f"{split}-{number}.mp4"
            write_video(file, frames, fps=25)
            self._client.upload_file(str(file), self.name, f"videos/{file.name}")
            self.rows.append(f"{file.name},{label},{split},{split}{number}")
        body = "\n".join(self.rows).encode()
        self._client.put_object(Bucket=self.name, Key="videos/clips.csv", Body=body)


def one_run(number: int, bucket: Bucket, initial: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """All steps, in the order of the recipe; gives what some of them said."""
    monkeypatch.setenv("KINEFLOW_RUN_ID", f"run-{number}")
    ingestion = {"source": f"s3://{bucket.name}/videos", "short_side": 16, "val_share": 0.2}
    execute(list_source, {"params": ingestion, "listed": out / "listed"})
    clips = out / "clips"
    taken_in = execute(ingest, {"params": ingestion, "clips": clips, "seed": 1})
    checks = {"min_clips_per_class": 1, "allow_near_copies": True}
    checked = execute(validate, {"clips": clips, "params": checks, "report": out / "report.html"})
    trained = {"clips": clips, "initial": initial, "params": TRAIN, "name": "plain", "seed": number}
    execute(train, {**trained, "model": out / "model"})
    judging = {"clips_per_video": 1, "student": "plain", "baselines": False}
    judged = {"evaluation": out / "evaluation", "report": out / "evaluation.html"}
    execute(evaluate, {"clips": clips, "models": [out / "model"], "params": judging, **judged})
    execute(
        register,
        {"model": out / "model", "evaluation": out / "evaluation", "params": REGISTRATION, "registration": out / "r"},
    )
    execute(close_run, {"params": {}, "closed": out / "closed"})
    version = json.loads((out / "listed").read_text())["source_version"]
    return {"version": version, "clips": taken_in.metrics["clips"], "checks": checked.metrics["checks"]}


def test_a_bucket_that_grows_gives_a_candidate_beside_the_champion_and_a_message(
    swift: Swift, heard: tuple[str, list[str]], tiny_initial: dict[str, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    webhook, texts = heard
    port = free_port()
    serve = ["server", "--port", str(port), "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db",
             "--artifacts-destination", "./served"]  # fmt: skip
    (tmp_path / "server").mkdir()
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    variables = swift.environment | {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "KINEFLOW_RECIPE": "cameras",
        "KINEFLOW_ACCEPTED": str(tmp_path / "volume" / "accepted"),
        "KINEFLOW_WEBHOOK_SECRET": webhook,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    bucket = Bucket(swift, tmp_path)
    bucket.add("train", 12, 0)
    bucket.add("test", TEST_CLIPS, 40)
    initial = tiny_initial["rgb"]
    with running(serve, health=f"http://127.0.0.1:{port}/health", folder=tmp_path / "server"):
        first = one_run(1, bucket, initial, tmp_path / "out-1", monkeypatch)
        assert promote("cameras", dry_run=False).applied
        bucket.add("train", 4, 20)
        bucket.add("test", 2, 70)
        second = one_run(2, bucket, initial, tmp_path / "out-2", monkeypatch)
        aliases = {
            alias: connect().get_model_version_by_alias("cameras", alias).version for alias in ("candidate", "champion")
        }
    assert aliases == {"candidate": "2", "champion": "1"}
    assert (first["clips"], second["clips"]) == (32, 38)
    assert first["version"] != second["version"]
    assert second["checks"] > first["checks"], "the second set is held against the first too"
    assert len(texts) == 2
    assert "cameras, run run-1: finished" in texts[0]
    assert "cameras version 1 is the candidate; the gate holds:\n  first champion" in texts[0]
    assert "cameras version 2 is the candidate; the gate holds:" in texts[1]
    assert f"on the champion's {TEST_CLIPS} clips" in texts[1]
