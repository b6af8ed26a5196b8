"""A step's tries on a cluster: its command run again and again, as Argo has it run."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.frontend.attempts import NODE, forget_mistakes
from components.frontend.kfp import component_of, run_in_kfp
from components.kubernetes.labels import ARGO_NODE
from components.launch.kept_work import VOLUME
from kineflow.storage.errors import OUT_OF_SIGHT
from tests.components.frontend import steep
from tests.deploy.kubeflow.excerpts import excerpt

ROOT = Path(__file__).resolve().parents[3]
TASK = "d3d-x7k2p.root(0).exit-handler-1(0).train(0).executor"
Try = Callable[..., int]


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Try:
    """Runs the step once, and gives how often it has begun in all."""

    def call(number: int, exit_code: int, *, task: str = TASK, run: str = "5f0c") -> int:
        monkeypatch.setenv(NODE, f"{task}({number})")
        monkeypatch.setenv("KINEFLOW_RUN_ID", run)
        tries = tmp_path / "tries"
        given = {"tries": str(tries), "exit_code": exit_code, "tea": SimpleNamespace(path=tmp_path / "tea")}
        if exit_code:
            with pytest.raises((SystemExit, ZeroDivisionError)):
                run_in_kfp(steep.__name__, given)
        else:
            run_in_kfp(steep.__name__, given)
        return len(tries.read_text())

    monkeypatch.setenv(VOLUME, str(tmp_path / "volume"))
    return call


def test_a_mistake_is_not_made_twice_and_is_told_again(attempt: Try, capsys: pytest.CaptureFixture[str]) -> None:
    assert attempt(0, 2) == 1
    capsys.readouterr()
    assert attempt(1, 2) == 1, "the second try does not begin"
    assert "error: pot: the leaves are wet\n  → dry them" in capsys.readouterr().err
    assert attempt(2, 2) == 1


@pytest.mark.parametrize("exit_code", [1, OUT_OF_SIGHT, errno.ENOSPC])
def test_what_may_pass_is_tried_again(attempt: Try, exit_code: int) -> None:
    assert attempt(0, exit_code) == 1
    assert attempt(1, 0) == 2


def test_a_mistake_is_that_of_one_task_in_one_run(attempt: Try) -> None:
    attempt(0, 2)
    assert attempt(1, 0, task=TASK.replace("train", "train-2")) == 2
    assert attempt(1, 0, run="6a1d") == 3


def test_a_run_that_somebody_tries_again_begins_anew(attempt: Try) -> None:
    attempt(0, 2)
    assert attempt(0, OUT_OF_SIGHT) == 2
    assert attempt(1, 0) == 3


def test_half_a_note_is_none(attempt: Try, tmp_path: Path) -> None:
    attempt(0, 2)
    (note,) = (tmp_path / "volume").rglob("*.json")
    note.write_text('{"problem": ')
    assert attempt(1, 0) == 2


def test_a_volume_that_cannot_be_written_loses_no_words(
    attempt: Try, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "volume").write_text("a file")
    assert attempt(0, 2) == 1
    assert "the leaves are wet" in capsys.readouterr().err
    assert attempt(1, 2) == 2


def test_the_end_of_a_run_forgets_its_mistakes_and_no_others(attempt: Try, tmp_path: Path) -> None:
    attempt(0, 2, run="other")
    attempt(0, 2)
    forget_mistakes()
    assert [path.name for path in (tmp_path / "volume" / "mistakes").iterdir()] == ["other"]


def test_nothing_outside_of_the_folder_is_forgotten(
    attempt: Try, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt(0, 2)
    for run in ("..", ".", "", "a/b"):
        monkeypatch.setenv("KINEFLOW_RUN_ID", run)
        forget_mistakes()
    assert list((tmp_path / "volume").rglob("*.json"))


@pytest.mark.slow
def test_the_command_of_the_package_itself_stops_at_its_second_run(tmp_path: Path) -> None:
    from google.protobuf.json_format import MessageToDict

    spec = MessageToDict(component_of(steep.steep).pipeline_spec)
    (executor,) = spec["deploymentSpec"]["executors"].values()
    output = {"artifacts": [{"name": "tea", "uri": str(tmp_path / "tea"), "type": {"schemaTitle": "system.Artifact"}}]}
    handed = {
        "inputs": {"parameterValues": {"tries": str(tmp_path / "tries"), "exit_code": 2}},
        "outputs": {"artifacts": {"tea": output}, "outputFile": str(tmp_path / "output.json")},
    }
    words = [word.replace("{{$}}", json.dumps(handed)) for word in executor["container"]["args"]]

    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "KINEFLOW_RUN_ID": "5f0c",
        VOLUME: str(tmp_path),
    }

    def run(number: int) -> str:
        done = subprocess.run(
            [*executor["container"]["command"], *words],
            env={**environment, NODE: f"{TASK}({number})"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        return done.stdout + done.stderr

    assert "error: pot: the leaves are wet" in run(0)
    again = run(1)
    assert "an attempt before this one ended with a mistake" in again
    assert "error: pot: the leaves are wet" in again
    assert (tmp_path / "tries").read_text() == "x"


def test_the_number_of_a_try_is_where_kubeflow_looks_for_it_too() -> None:
    assert f'pod.Annotations["{ARGO_NODE}"]' in excerpt("attempt")
    assert 'strings.LastIndex(nodeName, "(")' in excerpt("attempt")
    assert "common.AnnotationKeyNodeName: nodeName" in excerpt("pod_annotations"), (
        "which Argo gives a pod as it is made"
    )
