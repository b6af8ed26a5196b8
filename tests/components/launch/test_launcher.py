"""Training steps on several processes, with torch's own launcher, and processes that really die."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from components.frontend import command
from components.frontend.contract import Signature
from components.frontend.exits import exit_code
from components.frontend.kfp import run_in_kfp
from components.frontend.run import _tracked, execute
from components.launch.local import launch
from components.launch.step_command import step_command
from components.launch.trainjob_settings import TRAINJOB
from components.launch.worker import LAUNCH, init_worker, raise_mistake
from components.train import train
from kineflow.models.bundle import load_bundle
from kineflow.storage.errors import KineflowError
from kineflow.tracking.run_variables import RUN_ID
from kineflow.tracking.tracker import NULL_TRACKER

pytestmark = pytest.mark.slow

PARAMS: dict[str, Any] = {
    "frames": 4, "short_side": 16, "crop": 12, "steps": 6, "validate_every_steps": 2, "batch_size": 4, "flip": False,
    "optimiser": {"name": "sgd", "learning_rate": 0.01},
    # Deep normalisation of clips this small makes two trainings of two orders of summing.
    "partial_norms": "statistics",
}  # fmt: skip
TWO = {**PARAMS, "devices": 2}
OF_WORKERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", LAUNCH, TRAINJOB)


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (RUN_ID, "DVC_STAGE", "MLFLOW_TRACKING_URI", *OF_WORKERS):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def given(tiny_data, tiny_initial, tmp_path: Path) -> dict[str, Any]:
    return {"clips": tiny_data.clips, "initial": steady(tiny_initial["rgb"], tmp_path / "initial"), "params": TWO,
            "name": "plain", "seed": 3, "model": tmp_path / "out" / "model"}  # fmt: skip


def steady(bundle: Path, folder: Path) -> Path:
    """The same network without dropout, whose draws would differ between one process and two."""
    import dataclasses

    from kineflow.models.bundle import save_bundle
    from kineflow.models.registry import create_model

    network, card = load_bundle(bundle)
    hyperparameters = {**card.hyperparameters, "dropout": 0.0}
    without = create_model(card.architecture, num_classes=0, in_channels=3, **hyperparameters)
    without.load_state_dict(network.state_dict())
    save_bundle(folder, without, dataclasses.replace(card, hyperparameters=hyperparameters))
    return folder


def curves(model: Path) -> list[tuple[int, str, float]]:
    with (model / "curves.csv").open(newline="") as stream:
        return [(int(row["step"]), row["name"], float(row["value"])) for row in csv.DictReader(stream)]


def start(given: dict[str, Any], metrics: Path, **environment: str) -> subprocess.Popen[str]:
    """The step as a command of its own, as a user or DVC starts it."""
    return subprocess.Popen(
        [sys.executable, *step_command("components.train", given, metrics)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    output = process.communicate(timeout=570)[1]
    return process.returncode, output


def after_a_round(process: subprocess.Popen[str], model: Path) -> dict[int, int]:
    """Wait for the first checkpoint; process ids of the workers by rank."""
    while not list(model.parent.glob(".model-work/*/last.ckpt")):
        assert process.poll() is None, end(process)[1]
        time.sleep(0.02)
    return workers(process.pid)


def workers(parent: int) -> dict[int, int]:
    """Process ids of the children that have a rank, by rank."""
    ranks = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent_of_it = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (folder / "environ").read_text().split("\0") if parent_of_it == parent else []
        except (OSError, ValueError):
            continue
        ranks |= {int(each[5:]): int(folder.name) for each in variables if each.startswith("RANK=")}
    return ranks


def is_alive(process_id: int) -> bool:
    try:
        return "\nState:\tZ" not in (Path("/proc") / str(process_id) / "status").read_text()
    except OSError:
        return False


def assert_gone(process_ids: list[int]) -> None:
    for _ in range(1000):
        if not any(map(is_alive, process_ids)):
            return
        time.sleep(0.05)
    pytest.fail("processes were left behind")


class TestStepCommand:
    def test_is_the_command_of_a_user(self, tmp_path: Path) -> None:
        given = {"clips": Path("a b"), "flow": None, "use_unlabelled": True, "params": {"steps": 2}, "name": "7",
                 "seed": 3}  # fmt: skip
        assert step_command("components.distill", given, tmp_path / "m.json") == [
            "-m", "components.distill", "--clips", "a b", "--use-unlabelled", "true", "--params", '{"steps": 2}',
            "--name", "7", "--seed", "3", "--metrics", str(tmp_path / "m.json"),
        ]  # fmt: skip

    def test_is_read_back_as_it_was_meant(self, given: dict[str, Any], tmp_path: Path) -> None:
        signature = Signature.of(train)
        parsed = vars(
            command._parser(train, signature).parse_args(
                step_command("components.train", {**given, "name": "--name"}, tmp_path / "m.json")[2:]
            )
        )
        assert command.resolve(parsed["params"]) == TWO
        assert (parsed["name"], parsed["clips"], parsed["metrics"]) == ("--name", given["clips"], tmp_path / "m.json")


class TestWhereProcessesComeFrom:
    @pytest.mark.parametrize("cluster", ["", "{}"])
    def test_several_nodes_are_the_cluster_s_or_an_error_that_says_how(
        self, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, cluster: str
    ) -> None:
        asked: list[tuple[object, ...]] = []

        def run_trainjob(
            module: str, given: dict[str, Any], *, inputs: object, outputs: object, nodes: int, devices: int
        ) -> dict[str, float]:
            asked.append((module, given["params"], given["model"], nodes, devices))
            assert (inputs, outputs) == (("clips", "flow", "initial"), ("model",))
            return {"val/top1": 0.5}

        from components.launch import trainjob

        monkeypatch.setattr(trainjob, "run_trainjob", run_trainjob)
        monkeypatch.setenv(TRAINJOB, cluster)
        params = {**PARAMS, "nodes": 2, "devices": 2}
        if cluster:
            assert execute(train, {**given, "params": params}).metrics == {"val/top1": 0.5}
            assert asked == [("components.train", params, given["model"], 2, 2)]
            return
        with pytest.raises(KineflowError, match="2 nodes are asked for") as caught:
            execute(train, {**given, "params": params})
        assert "torchrun --nnodes 2 --nproc-per-node 2" in str(caught.value)
        assert asked == []

    def test_parameters_are_checked_before_anything_is_started(self, given: dict[str, Any]) -> None:
        with pytest.raises(KineflowError, match="multiple of nodes × devices"):
            execute(train, {**given, "params": {**TWO, "batch_size": 3}})

    def test_more_devices_than_gpus(self, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        with pytest.raises(KineflowError, match="devices is 2, and this machine has 1 GPUs"):
            execute(train, given)

    def test_a_step_that_is_no_training_is_not_run_by_several_processes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from components.merge_flow import merge_flow

        monkeypatch.setenv("RANK", "0")
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(KineflowError, match="merge_flow runs in one process"):
            execute(merge_flow, {})


class TestInAProcessOfSeveral:
    """What other processes than the first do not do."""

    @pytest.fixture
    def second(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "2")

    def test_it_tracks_nothing(self, second: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
        with _tracked(train, {}, Signature.of(train), tmp_path) as tracker:
            assert tracker is NULL_TRACKER
        assert list(tmp_path.iterdir()) == []

    def test_the_first_mistake_is_left_to_the_launcher(
        self, second: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv(LAUNCH, str(tmp_path))

        def fail(error: KineflowError) -> Callable[[], None]:
            def work() -> None:
                raise error

            return work

        from kineflow.training.processes import LOST_PROCESS, lost_process

        assert exit_code(fail(lost_process())) == LOST_PROCESS
        raise_mistake(tmp_path)  # nobody's mistake, so that there is another attempt
        assert exit_code(fail(KineflowError("no video", where=Path("a.mp4"), remedy="look"))) == 2
        assert exit_code(fail(KineflowError("disk", exit_code=28))) == 28
        with pytest.raises(SystemExit) as ended:
            init_worker()
        assert ended.value.code == 0
        with pytest.raises(KineflowError) as caught:
            raise_mistake(tmp_path)
        assert (str(caught.value), caught.value.exit_code) == ("a.mp4: no video\n  → look", 2)
        assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("dies", "words"),
    [("os.kill(os.getpid(), 9)", "SIGKILL"), ("sys.exit(7)", "exit code 7")],
    ids=["killed", "by itself"],
)
def test_processes_that_keep_dying_are_given_up(tmp_path: Path, dies: str, words: str) -> None:
    before = dict(os.environ), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    program = f"import os, sys; open(sys.argv[1], 'a').write(os.environ['RANK']); {dies}"
    with pytest.raises(KineflowError) as caught:
        launch(["-c", program, str(tmp_path / "starts")], devices=2, folder=tmp_path)
    assert f"ended with {words}, after all had been started again 3 times" in str(caught.value)
    assert caught.value.exit_code == 1
    assert len((tmp_path / "starts").read_text()) >= 4  # of one process, and mostly of both
    assert (dict(os.environ), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.long
def test_a_process_that_is_killed_changes_nothing(given: dict[str, Any], tmp_path: Path) -> None:
    """Killed in the middle, all start again from the last round: the curves are those of one undisturbed process."""
    alone = tmp_path / "alone" / "model"
    execute(train, {**given, "params": PARAMS, "model": alone})
    process = start(given, tmp_path / "m.json")
    ranks = after_a_round(process, given["model"])
    assert ranks.keys() == {0, 1}
    os.kill(ranks[1], signal.SIGKILL)
    code, output = end(process)
    assert code == 0, output
    assert "a process was lost; all were started again" in output
    assert "Traceback" not in output
    trained, expected = curves(given["model"]), curves(alone)
    assert [row[:2] for row in trained] == [row[:2] for row in expected]
    assert [row[2] for row in trained] == pytest.approx([row[2] for row in expected], rel=1e-5)
    assert json.loads((tmp_path / "m.json").read_text())["val/loss"] in losses_on_val(given["model"])
    assert [path.name for path in given["model"].parent.iterdir()] == ["model"]


def losses_on_val(model: Path) -> list[float]:
    return [value for _, name, value in curves(model) if name == "val/loss"]


@pytest.mark.long
def test_a_restart_repeats_an_undisturbed_run_to_the_bit(given: dict[str, Any], tmp_path: Path) -> None:
    """Also when it is the first process that dies, which keeps the checkpoints."""
    undisturbed = {**given, "model": tmp_path / "undisturbed" / "model"}
    assert end(start(undisturbed, tmp_path / "m.json"))[0] == 0
    process = start(given, tmp_path / "m.json")
    os.kill(after_a_round(process, given["model"])[0], signal.SIGKILL)
    assert end(process)[0] == 0
    assert curves(given["model"]) == curves(undisturbed["model"])
    weights = [load_bundle(each["model"])[0].state_dict() for each in (given, undisturbed)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.long
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGKILL], ids=lambda stop: stop.name)
def test_a_launcher_that_is_stopped_leaves_no_process_and_goes_on_next_time(
    given: dict[str, Any], tmp_path: Path, stop: signal.Signals
) -> None:
    process = start(given, tmp_path / "m.json")
    ranks = after_a_round(process, given["model"])
    process.send_signal(stop)
    code, output = end(process)
    assert code == (-signal.SIGKILL if stop is signal.SIGKILL else 128 + stop)
    assert output.count("interrupted: ") == (0 if stop is signal.SIGKILL else 1)
    assert "Traceback" not in output
    assert_gone(list(ranks.values()))
    assert not given["model"].exists()
    code, output = end(start(given, tmp_path / "m.json"))
    assert code == 0
    assert "step 2/6" not in output
    assert [step for step, name, _ in curves(given["model"]) if name == "val/loss"] == [2, 4, 6]


@pytest.mark.long
def test_a_mistake_that_one_process_meets_is_said_once_and_not_tried_again(
    given: dict[str, Any], tmp_path: Path
) -> None:
    import dataclasses
    import shutil

    from kineflow.sets.clip_set import ClipSet

    shutil.copytree(given["clips"], tmp_path / "clips")
    broken = tmp_path / "clips" / "media" / "train-0.mp4"
    broken.write_bytes(b"no video")
    dataclasses.replace(ClipSet.load(given["clips"]), media_root=str(broken.parent)).save(tmp_path / "clips")
    code, output = end(start({**given, "clips": tmp_path / "clips"}, tmp_path / "m.json"))
    assert code == 2
    assert output.startswith("error: ")
    assert output.count(str(broken)) == 1
    assert "Traceback" not in output
    assert "started again" not in output


@pytest.mark.long
def test_from_kfp_one_run_is_tracked_and_the_figures_come_back(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    class Artifact:
        def __init__(self, path: Path) -> None:
            self.path = str(path)

    class Metrics:
        def __init__(self) -> None:
            self.logged: dict[str, float] = {}

        def log_metric(self, name: str, value: float) -> None:
            self.logged[name] = value

    uri, metrics = f"sqlite:///{tmp_path}/mlflow.db", Metrics()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = signal.getsignal(signal.SIGTERM)
    artifacts = {name: Artifact(given[name]) for name in ("clips", "initial", "model")}
    params = {**TWO, "steps": 6.0, "devices": 2.0}  # as KFP hands numbers on
    others = {"flow": None, "params": params, "name": "plain", "seed": 3, "metrics": metrics}
    run_in_kfp("components.train", {**artifacts, **others})
    assert signal.getsignal(signal.SIGTERM) is before
    assert metrics.logged["val/loss"] in losses_on_val(given["model"])
    client = mlflow.MlflowClient(uri)
    runs = [run for each in client.search_experiments() for run in client.search_runs([each.experiment_id])]
    assert [(run.info.run_name, run.info.status) for run in runs] == [("plain", "FINISHED")]
    history = client.get_metric_history(runs[0].info.run_id, "val/loss")
    assert [figure.step for figure in history if figure.step] == [2, 4, 6]


@pytest.mark.long
def test_two_nodes_as_kubeflow_trainer_starts_them_survive_the_loss_of_a_process(
    given: dict[str, Any], tmp_path: Path
) -> None:
    """Each node runs the plain command under ``torchrun``, which finds the others by ``PET_*``."""
    import socket

    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = step_command("components.train", {**given, "params": {**PARAMS, "nodes": 2}}, tmp_path / "m.json")
    cluster = {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_MASTER_ADDR": "localhost"}
    nodes = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--max-restarts=2", *command],
            env={
                **os.environ,
                **cluster,
                "PET_MASTER_PORT": str(port),
                "PET_NODE_RANK": str(number),
                "OMP_NUM_THREADS": "1",
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    after_a_round(nodes[1], given["model"])
    os.kill(workers(nodes[1].pid)[1], signal.SIGKILL)
    ended = [end(node) for node in nodes]
    assert [code for code, _ in ended] == [0, 0], ended
    assert sum(output.count("step 6/6") for _, output in ended) == 1
    assert (tmp_path / "m.json").exists()
    assert [step for step, name, _ in curves(given["model"]) if name == "val/loss"] == [2, 4, 6]
    assert [path.name for path in given["model"].parent.iterdir()] == ["model"]
