"""A whole recipe with each step in a container of its own, against the same steps as subprocesses."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest

from kineflow.evaluation.scores import Scores
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.flow_file import read_flow
from kineflow.sets.flow_set import FlowSet
from pipelines.dag.graph import graph_of
from pipelines.dag.sources import ROOT
from tests.pipelines.conftest import Project, small_project

pytestmark = pytest.mark.containers

ALL = [task.name for task in graph_of("d3d").tasks]
MODELS = ("teacher", "plain", "distilled", "student")


@pytest.fixture(scope="module")
def project(image: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = small_project(tmp_path_factory.mktemp("project"))
    synth = made.kineflow("synth", "data", "--spec", "synth.yaml", "--seed", "3", "--workers", "1")
    assert synth.code == 0, synth.said
    return made


@pytest.fixture(scope="module")
def by_docker(project: Project, image: str) -> Any:
    done = project.kineflow("run", "d3d", "--engine", "docker", env={"KINEFLOW_IMAGE": image})
    assert done.code == 0, done.said
    return done


@pytest.fixture(scope="module")
def by_subprocess(project: Project, by_docker: Any) -> Any:
    done = project.kineflow("run", "d3d", "--engine", "kfp")
    assert done.code == 0, done.said
    return done


def test_every_task_has_run(by_docker: Any) -> None:
    assert sorted(by_docker.ran) == sorted(ALL)


def test_results_are_those_of_subprocesses(project: Project, by_docker: Any, by_subprocess: Any) -> None:
    (one,), (other,) = (list((project.folder / "outputs" / engine).glob("d3d-*")) for engine in ("docker", "kfp"))
    flows = [FlowSet.load(run / "extract-flow" / "flow") for run in (one, other)]
    clips = ClipSet.load(one / "ingest" / "clips").usable()
    for clip in clips[:4]:
        first, second = (read_flow(flow.locate(clip.clip_id)) for flow in flows)
        assert (first == second).all()
    for model in MODELS:
        scores = [Scores.load(run / "evaluate" / "evaluation" / "scores" / f"{model}.parquet") for run in (one, other)]
        assert scores[0].clip_ids == scores[1].clip_ids
        # Same machine, same libraries, same number of threads; OpenMP of another build may add in another order.
        assert abs(scores[0].logits - scores[1].logits).max() < 1e-4
    tables = [re.findall(r"^[\w+ ]+ \d+\.\d%.*$", done.said, re.MULTILINE) for done in (by_docker, by_subprocess)]
    assert len(tables[0]) == len(MODELS) + 1  # a fusion
    assert tables[0] == tables[1]


def test_steps_leave_nothing_that_belongs_to_root(project: Project, by_docker: Any) -> None:
    (run,) = (project.folder / "outputs" / "docker").glob("d3d-*")
    owners = {path.stat().st_uid for path in (run, *run.rglob("*"))}
    assert owners == {os.getuid() or 10001}


def test_runs_are_tracked_in_the_same_store_with_their_image(project: Project, by_docker: Any, image: str) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'd3d'")
    runs = client.search_runs([experiment.experiment_id])
    steps = [run for run in runs if run.data.tags["kineflow.kind"] == "step" and run.data.tags.get("image") == image]
    assert {run.info.run_name for run in steps} >= set(MODELS)
    assert {run.info.status for run in steps} == {"FINISHED"}
    assert client.get_model_version_by_alias("tiny", "candidate")


def test_bad_data_stop_the_run_with_the_steps_own_words(project: Project, by_docker: Any, image: str) -> None:
    listed = project.folder / "data" / "clips.csv"
    before = listed.read_text()
    rows = before.splitlines()
    train, test = (next(row for row in rows if f",{split}," in row) for split in ("train", "test"))
    group = train.split(",")[3]
    listed.write_text(before.replace(test, ",".join([*test.split(",")[:3], group])))
    try:
        done = project.kineflow("run", "d3d", "--engine", "docker", env={"KINEFLOW_IMAGE": image})
    finally:
        listed.write_text(before)
    assert done.code == 2
    assert "Traceback" not in done.said
    last = done.said.rpartition("error: ")[2]
    message = done.said[done.said.index("validate failed") :]
    assert "executor_output.json" in message
    assert group in message, last
    assert "── extract-flow" not in done.said


def test_an_image_of_other_code_is_refused(project: Project, image: str, tmp_path: Path) -> None:
    for package in ("kineflow", "components", "pipelines"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "pipelines" / "changed.py").write_text("# not in the image\n")
    changed = {"KINEFLOW_IMAGE": image, "PYTHONPATH": str(tmp_path)}
    done = project.kineflow("run", "d3d", "--engine", "docker", env=changed)
    assert done.code == 2
    assert "built from other source code" in done.said
    assert "── " not in done.said


def test_ctrl_c_stops_the_containers(project: Project, image: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "run", "d3d", "--engine", "docker"],
        cwd=project.folder, env={**os.environ, "KINEFLOW_IMAGE": image, "KINEFLOW_RUN_ID": "stopped"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    _wait_for(lambda: _running("stopped") != "", 120)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    _wait_for(lambda: _running("stopped") == "", 20)


def _running(run_id: str) -> str:
    return subprocess.run(
        ["docker", "ps", "--quiet", "--filter", f"label=kineflow.run={run_id}"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def _wait_for(condition: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "in vain"
        time.sleep(0.2)
