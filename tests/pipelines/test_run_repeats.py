"""A recipe by seeds and splits: a parameter file for each run, and what becomes of the runs."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from kineflow.storage.errors import KineflowError
from kineflow.tracking.run_variables import GROUP
from pipelines import run_repeats as repeats
from pipelines.engines.axes import Axes, members_of
from pipelines.engines.outcome import Outcome
from pipelines.engines.workspace import Workspace
from pipelines.run_once import Done, Engine, RunRequest
from tests.kineflow.comparison.test_repeats import evaluation
from tests.pipelines.conftest import TINY_PARAMS


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Parameters of a project, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KINEFLOW_PROJECT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / ".dvc").mkdir()
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(TINY_PARAMS))
    return path


def with_layout(params: Path, layout: str) -> None:
    values = yaml.safe_load(params.read_text())
    values["ingestion"]["layout"] = layout
    params.write_text(yaml.safe_dump(values))


def test_every_run_has_its_own_values_and_its_own_place(params):
    with_layout(params, "ucf101")
    project = params.parent
    members = members_of("d3d", params, project, Axes(seeds=(7, 8), splits=(1, 3)))
    assert [(member.split, member.seed) for member in members] == [(1, 7), (1, 8), (3, 7), (3, 8)]
    assert members[0].params_file == params  # what kineflow run has done of it counts
    for member in members:
        member.write(params)
    folders = [Workspace.of("d3d", member.params_file, project).folder for member in members]
    assert [str(folder.relative_to(project)) for folder in folders[1:]] == [
        f"runs/d3d/params+split{split}+seed{seed}" for split, seed in ((1, 8), (3, 7), (3, 8))
    ]
    written = yaml.safe_load(members[3].params_file.read_text())
    assert (written["seed"], written["ingestion"]["split_number"]) == (8, 3)
    assert written["student"] == TINY_PARAMS["student"]
    assert yaml.safe_load(params.read_text())["seed"] == 7


@pytest.mark.parametrize(
    ("seeds", "splits", "message"),
    [
        ("1,1", "", "--seeds: different whole numbers"),
        ("1;2", "", "--seeds: different whole numbers"),
        ("1,99999999999", "", "--seeds: different whole numbers"),
        ("4294967296", "", "a whole number from 0 to"),
        ("", "1,2", "the layout 'csv' has no official splits"),
    ],
)
def test_axes_that_make_no_sense(params, seeds, splits, message):
    with pytest.raises(KineflowError, match=message):
        members_of("d3d", params, params.parent, Axes.of(seeds, splits))


@pytest.mark.parametrize(
    ("bundle", "moves"),
    [
        ("models:/a", True),
        ("models:/a@champion", True),
        ("models:/a/latest", True),
        ("models:/a/2", False),
        ("a", False),
    ],
)
def test_all_runs_learn_from_one_teacher(params, bundle, moves):
    values = yaml.safe_load(params.read_text()) | {"own_teacher": {"bundle": bundle}}
    params.write_text(yaml.safe_dump(values))
    assert len(members_of("d3d", params, params.parent, Axes(seeds=(1,)))) == 1
    with pytest.raises(KineflowError, match="models:/a/1") if moves else nullcontext():
        members_of("d3d", params, params.parent, Axes(seeds=(1, 2)))


def test_a_split_that_is_not_there(params):
    with_layout(params, "ucf101")
    with pytest.raises(KineflowError, match="split_number: input should be less than or equal to 3"):
        members_of("d3d", params, params.parent, Axes(splits=(4,)))


def test_an_engine_that_keeps_one_run_is_refused(params):
    request = RunRequest("d3d", params, params.parent, Engine.KFP)
    with pytest.raises(KineflowError, match="--seeds 1,2 cannot go by the engine kfp"):
        repeats.check_repeats(request, Axes(seeds=(1, 2)))


def test_a_name_for_one_run_is_refused(params, monkeypatch):
    monkeypatch.setenv("KINEFLOW_RUN_ID", "mine")
    with pytest.raises(KineflowError, match="KINEFLOW_RUN_ID names one"):
        repeats.check_repeats(RunRequest("d3d", params, params.parent), Axes(seeds=(1, 2)))


@pytest.mark.slow
def test_a_run_that_fails_ends_no_other_and_all_are_below_one_run(params, monkeypatch, tmp_path):
    begun: list[tuple[str, Any]] = []
    broken = {"8"}

    def run_once(request: RunRequest, _checked: Any) -> Done:
        import os

        seed = str(yaml.safe_load(request.params_file.read_text())["seed"])
        begun.append((seed, os.environ.get(GROUP)))
        if seed in broken:
            raise KineflowError("the run stopped in teacher", exit_code=3)
        folder = evaluation(tmp_path / "evaluations" / seed, plain=20, student=20 + int(seed))
        return Done(Outcome((), {"evaluate": {"evaluation": folder}}))

    monkeypatch.setattr(repeats, "run_once", run_once)
    request, axes = RunRequest("d3d", params, params.parent), Axes(seeds=(7, 8, 9))
    checked = [(member, None) for member in members_of("d3d", params, params.parent, axes)]
    for member, _ in checked:
        member.write(params)
    told: list[Any] = []

    def run() -> None:
        repeats.run_repeats(request, axes, checked, lambda *report: told.append(report))

    with pytest.raises(KineflowError, match="1 of 3 runs failed") as caught:
        run()
    assert caught.value.exit_code == 3
    report, page = told[0]
    assert [seed for seed, _ in begun] == ["7", "8", "9"]
    assert [bool(state.failure) for state in report.runs] == [False, True, False]
    figures = json.loads((page.parent / "report.json").read_text())
    assert figures["evaluations"]["evaluate"]["units"] == ["seed 7", "seed 9"]
    assert "the run stopped in teacher" in page.read_text()

    broken.clear()
    run()
    (group,) = {above for _, above in begun}  # the same command goes on with the same run
    run = mlflow.MlflowClient(f"sqlite:///{params.parent / 'mlflow.db'}").get_run(group)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["evaluate/student/top1/mean"] == pytest.approx(28 / 40)
    assert run.data.tags["axes"] == "--seeds 7,8,9"
