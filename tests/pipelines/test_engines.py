"""The same recipe through both engines: which tasks ran, what came out, and what stops a run."""

from __future__ import annotations

import json
from typing import Any

import mlflow
import pytest

from kineflow.evaluation.scores import Scores
from pipelines.dag.graph import graph_of

pytestmark = pytest.mark.slow

ALL = [task.name for task in graph_of("d3d").tasks]
MODELS = ("teacher", "plain", "distilled", "student")


@pytest.fixture(scope="module")
def first_run(project: Any) -> Any:
    done = project.kineflow("run", "d3d")
    assert done.code == 0, done.said
    return done


def test_dvc_runs_every_task_and_shows_the_results(project: Any, first_run: Any) -> None:
    assert sorted(first_run.ran) == sorted(ALL)
    for model in MODELS:
        assert f"\n{model} " in first_run.said
    assert "teacher + student" in first_run.said
    assert "kineflow promote tiny" in first_run.said
    for name in ("evaluate/report.html", "validate/report.html", "student/model/model.safetensors"):
        assert (project.folder / "outputs" / name).is_file()


def test_what_is_done_is_not_done_again(project: Any, first_run: Any) -> None:
    again = project.kineflow("run", "d3d")
    assert again.code == 0
    assert again.ran == []
    assert "nothing to do" in again.said


def test_runs_are_tracked_under_one_parent(project: Any, first_run: Any) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'd3d'")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.data.tags["kineflow.kind"] == "pipeline"]
    steps = {run.info.run_name: run for run in runs if run.data.tags["kineflow.kind"] == "step"}
    assert parent.info.status == "FINISHED"
    assert {run.data.tags["mlflow.parentRunId"] for run in steps.values()} == {parent.info.run_id}
    assert set(MODELS) <= set(steps)
    assert "evaluate/student/top1" in parent.data.metrics
    student = steps["student"]
    assert [read.dataset.name for read in student.inputs.dataset_inputs] == ["clips"]
    assert student.data.params["distillation.kd_weight"] == "0.3"
    assert {"train/cross_entropy", "train/distillation", "val/top1"} <= set(student.data.metrics)


def test_the_student_is_registered_with_its_lineage(project: Any, first_run: Any) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    version = client.get_model_version_by_alias("tiny", "candidate")
    written = json.loads((project.folder / "outputs/register/registration").read_text())
    assert str(version.version) == written["version"]
    assert version.tags["lineage.teacher"].startswith("teacher")
    assert version.tags["weights.sha256"] == written["weights_sha256"]


def test_kfp_runs_the_same_tasks_with_the_same_result(project: Any, first_run: Any) -> None:
    done = project.kineflow("run", "d3d", "--engine", "kfp")
    assert done.code == 0, done.said
    assert sorted(done.ran) == sorted(ALL)
    by_dvc = project.folder / "outputs/evaluate/evaluation"
    (by_kfp,) = (project.folder / "outputs/kfp").glob("d3d-*/evaluate/evaluation")
    for model in MODELS:
        one, other = (Scores.load(folder / "scores" / f"{model}.parquet") for folder in (by_dvc, by_kfp))
        assert one.clip_ids == other.clip_ids
        assert (one.logits == other.logits).all()
    client = mlflow.MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    assert len(client.search_model_versions("name = 'tiny'")) == 1  # same weights, same data: same version


def test_a_change_of_parameters_does_again_what_reads_them(project: Any, first_run: Any) -> None:
    project.set_params(lambda params: params["student"].update(batch_size=3))
    done = project.kineflow("run", "d3d")
    assert done.code == 0, done.said
    assert sorted(done.ran) == sorted(["plain", "distilled", "student", "evaluate", "register"])


def test_a_typo_stops_before_anything_runs(project: Any, first_run: Any) -> None:
    project.set_params(lambda params: params["student"].update(batchsize=3))
    try:
        done = project.kineflow("run", "d3d")
    finally:
        project.set_params(lambda params: params["student"].pop("batchsize"))
    assert done.code == 2
    assert "student.batchsize: unknown key" in done.said
    assert "Traceback" not in done.said
    assert "── " not in done.said


def test_bad_data_stop_the_run_in_both_engines(project: Any, first_run: Any) -> None:
    listed = project.folder / "data" / "clips.csv"
    before = listed.read_text()
    rows = before.splitlines()
    train, test = (next(row for row in rows if f",{split}," in row) for split in ("train", "test"))
    leaking = ",".join([*test.split(",")[:3], train.split(",")[3]])
    listed.write_text(before.replace(test, leaking))
    try:
        for engine in ("dvc", "kfp"):
            done = project.kineflow("run", "d3d", "--engine", engine)
            assert done.code == 2, done.said
            assert train.split(",")[3] in done.said  # the group that lies in two splits
            assert "Traceback" not in done.said
            assert "plain" not in done.ran
    finally:
        listed.write_text(before)


def test_a_failed_run_is_tracked_as_failed(project: Any) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'd3d'")
    latest = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"], max_results=1)
    assert latest[0].data.tags.get("error")
    assert latest[0].info.status == "FAILED"
