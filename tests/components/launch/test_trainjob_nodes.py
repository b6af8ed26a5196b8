"""The nodes of a training job: its command is really run, as two nodes on this machine that share a folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.frontend.contract import load_step
from components.frontend.run import execute
from components.frontend.trainjob_node import rendezvous_arguments
from components.launch.trainjob_settings import TRAINJOB, TrainJobSettings
from kineflow.models.bundle import load_bundle
from kineflow.storage.errors import KineflowError
from tests.components.launch.fake_cluster import FakeCluster, fake_cluster

ROOT = Path(__file__).resolve().parents[3]
PARAMS = {
    "frames": 4, "short_side": 16, "crop": 12, "steps": 4, "validate_every_steps": 2, "batch_size": 4, "flip": False,
    "workers": 0,
}  # fmt: skip


class Machines:
    """Runs the command of a TrainJob as Kubeflow Trainer does: once a node, each told its place.

    Attributes:
        said: What each node printed, once the job has ended.
        nodes: The processes.
    """

    def __init__(self, cluster: FakeCluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.nodes: list[subprocess.Popen[str]] = []
        self.said: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def run(self, job: dict) -> None:
        """The controller."""
        trainer, name = job["spec"]["trainer"], job["metadata"]["name"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        self.nodes, logs = [], [self.folder / f"{name}-{n}.log" for n in range(trainer["numNodes"])]
        for rank, log in enumerate(logs):
            place = {"PET_NNODES": str(trainer["numNodes"]), "PET_NPROC_PER_NODE": "8", "PET_NODE_RANK": str(rank),
                     "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": port}  # fmt: skip
            stated = {each["name"]: each["value"] for each in trainer["env"] if "value" in each}
            own = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "OMP_NUM_THREADS": "1"}
            command = [sys.executable if part == "python" else part for part in [*trainer["command"], *trainer["args"]]]
            with log.open("w") as output:
                self.nodes.append(subprocess.Popen(
                    command, cwd=ROOT, env=own | stated | place, stdout=output, stderr=subprocess.STDOUT, text=True,
                ))  # fmt: skip
            self.cluster.has_pod(name, rank, "Running")
        threading.Thread(target=self.meanwhile, daemon=True).start()
        codes = [node.wait(timeout=300) for node in self.nodes]
        self.said = [log.read_text() for log in logs]
        for rank, (code, text) in enumerate(zip(codes, self.said, strict=True)):
            lines = "\n".join(f"2026-01-01T00:00:00.{n:09d}Z {line}" for n, line in enumerate(text.splitlines()))
            self.cluster.has_pod(name, rank, "Failed" if code else "Succeeded", lines)
        kind = "Failed" if any(codes) else "Complete"
        self.cluster.says(name, kind, "JobsEnded", f"exit codes {codes}")


@pytest.fixture
def machines(tmp_path, monkeypatch):
    """A cluster whose jobs run here."""
    volume = tmp_path / "volume"
    volume.mkdir()
    with fake_cluster() as cluster:
        settings = TrainJobSettings.model_validate({
            "image": "kineflow", "volume": {"claim": "data", "path": str(volume)},
            "timeout_sec": 300, "poll_sec": 0.2, "max_restarts": 2,
        })  # fmt: skip
        for name in ("MLFLOW_TRACKING_URI", "DVC_STAGE", "KUBERNETES_SERVICE_HOST", "RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig(tmp_path / "kubeconfig")))
        monkeypatch.setenv("KINEFLOW_NAMESPACE", "kineflow")
        monkeypatch.setenv("KINEFLOW_RUN_ID", "run-on-two-nodes")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
        monkeypatch.setenv(TRAINJOB, settings.to_json())
        machines = Machines(cluster, tmp_path)
        cluster.controller = machines.run
        yield machines
        for node in machines.nodes:
            node.kill()


@pytest.fixture
def given(tiny_data, tiny_initial, tmp_path) -> dict:
    return {"clips": tiny_data.clips, "initial": tiny_initial["rgb"], "params": {**PARAMS, "nodes": 2}, "name": "plain",
            "seed": 1, "model": tmp_path / "artifacts" / "model"}  # fmt: skip


@pytest.mark.long
def test_two_nodes_train_together_and_start_again_together_when_a_process_of_one_dies(machines, given, tmp_path):
    given["params"] |= {"steps": 8, "validate_every_steps": 2}
    killed = []

    def kill_one_when_there_is_a_checkpoint() -> None:
        while not list((tmp_path / "volume").glob("jobs/*/*/outputs/.model-work/*/last.ckpt")):
            time.sleep(0.02)
        [worker] = children(machines.nodes[1].pid)
        os.kill(worker, signal.SIGKILL)
        killed.append(worker)

    machines.meanwhile = kill_one_when_there_is_a_checkpoint
    result = execute(load_step("components.train"), given)

    assert killed
    first, second = machines.said
    assert "exitcode: -9" in second
    assert first.count("step 2/8,") == 1, "after the loss, the first node went on from the checkpoint of step 2"
    assert "step 8/8," in first
    assert "step" not in second.partition("exitcode")[0], "only the first process says how it goes"
    assert load_bundle(given["model"])[1].name == "plain"
    assert {"val/top1", "val/loss"} <= result.metrics.keys()
    assert len(machines.cluster.created) == 1
    assert not machines.cluster.jobs
    assert not list((tmp_path / "volume" / "jobs").iterdir())


@pytest.mark.long
def test_a_mistake_that_the_nodes_find_is_said_once_by_the_launcher(machines, given):
    given["initial"] = given["clips"]
    with pytest.raises(KineflowError) as error:
        execute(load_step("components.train"), given)
    assert "not a model's folder" in str(error.value)
    assert "exit code" not in str(error.value)
    assert len(machines.cluster.created) == 1
    assert not machines.cluster.jobs


def children(process: int) -> list[int]:
    found = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(each) for each in found.split()]


@pytest.mark.parametrize(("rank", "is_host"), [("0", "true"), ("3", "false")])
def test_the_first_node_holds_the_rendezvous(monkeypatch, rank, is_host):
    for name, value in {"NODE_RANK": rank, "MASTER_ADDR": "job-node-0-0.job", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(f"PET_{name}", value)
    backend, endpoint, settings = rendezvous_arguments()
    assert (backend, endpoint) == ("--rdzv-backend=c10d", "--rdzv-endpoint=job-node-0-0.job:29500")
    assert f"is_host={is_host}," in settings


def test_a_node_that_is_none_says_so(monkeypatch):
    monkeypatch.delenv("PET_NODE_RANK", raising=False)
    with pytest.raises(KineflowError, match="PET_NODE_RANK is not set") as error:
        rendezvous_arguments()
    assert "torch-distributed" in str(error.value)
