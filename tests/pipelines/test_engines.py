"""One recipe by DVC, and by KFP as the package for a cluster: which tasks ran, what came out, what stops a run.

The package is executed for real, by KFP's local runner, with a folder in place of the shared volume. By KFP what is cut
short is seen here, and what goes through to the end among the long tests: of the package below, of ``--engine kfp`` in
``tests/test_no_credentials.py``.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from kineflow.comparison.differences import differing_params
from kineflow.comparison.records import find_runs
from kineflow.evaluation.scores import Scores
from kineflow.sets.flow_set import FlowSet
from kineflow.tracking.store import prepare_store
from pipelines.cluster.data_version import read_data_version
from pipelines.dag.graph import graph_of
from pipelines.dag.sources import ROOT
from tests.pipelines.cluster_site import Site
from tests.pipelines.conftest import TINY_PARAMS, Project
from tests.secret_search import found_below, found_in

pytestmark = pytest.mark.slow

ALL = [task.name for task in graph_of("d3d").tasks]
MODELS = ("teacher", "plain", "distilled", "student")


# As a shell has them where a user works with S3 and a tracking server.
PLANTED = {
    "AWS_ACCESS_KEY_ID": "planted:KEYID77f0",
    "AWS_SECRET_ACCESS_KEY": "planted/S3secret+a13c",
    "MLFLOW_TRACKING_PASSWORD": "planted/Mlflow+9e0b",
}


@pytest.fixture(scope="module")
def first_run(project: Any) -> Any:
    subprocess.run([sys.executable, "-m", "dvc", "add", "--quiet", "data"], cwd=project.folder, check=True)
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", *identity, *words], cwd=project.folder, check=True)
    done = project.kineflow("run", "d3d", env=PLANTED)
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


def test_a_run_counts_as_that_of_its_seed(project: Any, first_run: Any) -> None:
    done = project.kineflow("run", "d3d", "--seeds", str(TINY_PARAMS["seed"]))
    assert done.code == 0, done.said
    assert done.said.count("up to date") == len(ALL)
    report = json.loads((project.folder / "runs/d3d/params+repeats/outputs/report.json").read_text())
    metrics = json.loads((project.folder / "outputs/evaluate/evaluation/metrics.json").read_text())
    (student,) = (row for row in report["evaluations"]["evaluate"]["rows"] if row["name"] == "student")
    assert student["figures"]["top1"]["mean"] == metrics["student"]["top1"]


def test_dvc_draws_curves_and_confusion(project: Any, first_run: Any) -> None:
    command = [sys.executable, "-m", "dvc", "plots", "show", "--json"]
    answer = json.loads(subprocess.run(command, cwd=project.folder, check=True, capture_output=True).stdout)
    assert "errors" not in answer
    assert set(answer["data"]) == {"curves", "confusion"}  # and none of a copy that a run has kept
    curves, confusion = (answer["data"][name][0]["content"]["data"]["values"] for name in ("curves", "confusion"))
    assert {row["filename"].split("/")[-3] for row in curves} == set(MODELS)
    assert {"train/loss", "val/top1"} <= {row["name"] for row in curves}
    assert {row["model"] for row in confusion} >= {"student"}


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
    splits = {"train", "val", "test", "unlabelled"}
    assert {read.dataset.name for read in student.inputs.dataset_inputs} == splits
    assert {read.dataset.name for read in parent.inputs.dataset_inputs} == splits
    assert parent.data.params["distillation.kd_weight"] == "0.3"
    assert parent.data.metrics["student/cost/cpu_s"] > 0
    assert "| student |" in parent.data.tags["mlflow.note.content"]
    assert {run.data.tags["git.dirty"] for run in (parent, *steps.values())} == {
        "false"
    }  # though the run itself has written dvc.lock
    assert len(parent.outputs.model_outputs) == 1
    assert student.data.params["distillation.kd_weight"] == "0.3"
    assert {"train/cross_entropy", "train/distillation", "val/top1"} <= set(student.data.metrics)


def test_the_student_is_registered_with_its_lineage(project: Any, first_run: Any) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    version = client.get_model_version_by_alias("tiny", "candidate")
    written = json.loads((project.folder / "outputs/register/registration").read_text())
    assert str(version.version) == written["version"]
    assert version.tags["lineage.teacher"].startswith("teacher")
    assert version.tags["weights.sha256"] == written["weights_sha256"]


def test_a_model_leads_back_to_what_made_it(project: Any, first_run: Any, tmp_path: Path) -> None:
    back = tmp_path / "back"
    done = project.kineflow("lineage", "tiny@candidate", "--check", "--checkout", str(back))
    assert done.code == 0, done.said
    assert "✗" not in done.said
    for made in ("teacher_weights_sha256: ", "initial_weights_sha256: ", "clips: ", "flow: ", "code: commit "):
        assert f"✓ {made}" in done.said
    again = Project(back).kineflow("run", "d3d")
    assert (again.code, again.ran) == (0, []), again.said

    card = (project.folder / "outputs" / "teacher" / "model" / "model.json").read_bytes()
    md5 = hashlib.md5(card, usedforsecurity=False).hexdigest()
    cached = project.folder / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    cached.rename(tmp_path / "away")
    try:
        done = project.kineflow("lineage", "tiny@candidate", "--check")
    finally:
        (tmp_path / "away").rename(cached)
    assert done.code == 2, done.said
    assert "✗ outputs/teacher/model: 1 of its files are not in the cache" in done.said
    assert "✗ teacher_weights_sha256: " in done.said


def test_a_change_of_parameters_does_again_what_reads_them_and_nothing_else(project: Any, first_run: Any) -> None:
    project.set_params(lambda params: params["evaluation"].update(workers=1))
    done = project.kineflow("run", "d3d")
    assert done.code == 0, done.said
    assert done.ran == ["evaluate"]  # its scores are the same, so that nothing is registered anew


def test_dvc_by_itself_makes_a_run_that_is_compared_with_the_others(project: Any, first_run: Any) -> None:
    project.set_params(lambda params: params["evaluation"].update(examples=3))
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "dvc", "repro", "--quiet"]
    subprocess.run(command, cwd=project.folder, check=True, env=env, timeout=600)
    made, *earlier = find_runs(root=project.folder)
    assert (made.recipe, made.status, made.params["evaluation.examples"]) == ("d3d", "FINISHED", "3")
    assert made.judged is not None
    assert made.judged.made_by == made.id
    assert [run.judged.basis for run in earlier if run.judged][:1] == [made.judged.basis]
    assert list(differing_params([made, earlier[0]])) == ["evaluation.examples"]


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


@pytest.mark.parametrize("engine", ["kfp", "dvc"])
def test_a_step_that_fails_ends_the_run_with_its_words(project: Any, first_run: Any, engine: str) -> None:
    project.set_params(lambda params: params["validation"].update(min_frames=999))
    try:
        done = project.kineflow("run", "d3d", "--engine", engine)
    finally:
        project.set_params(lambda params: params["validation"].pop("min_frames"))
    assert done.code == 2, done.said
    assert "checks of the clip set failed" in done.said
    assert "Traceback" not in done.said
    assert "── plain" not in done.said.replace("── plain: up to date", "")


def test_a_failed_run_is_tracked_as_failed(project: Any) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'd3d'")
    latest = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"], max_results=1)
    assert latest[0].data.tags.get("error")
    assert latest[0].info.status == "FAILED"


@pytest.fixture(scope="module")
def site(project: Any, first_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")

    def dvc(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *arguments, "--quiet"], cwd=project.folder, check=True)

    dvc("add", "data")
    dvc("remote", "add", "--default", "store", str(folder / "remote"))
    dvc("push")
    made = Site(project, folder)
    prepare_store(made.store)
    return made


@pytest.fixture(scope="module")
def broken(site: Site) -> tuple[str, Path]:
    """A run that validation ends; what it said, and where its outputs are."""
    code, said, outputs = site.run("broken", lambda params: params["validation"].update(min_frames=999), env=PLANTED)
    assert code != 0, said
    return said, outputs


def ran(outputs: Path) -> list[str]:
    return [path.parent.name for path in outputs.rglob("executor_output.json")]


def test_data_are_fetched_by_their_hash(site: Site, broken: tuple[str, Path]) -> None:
    said, outputs = broken
    assert {"fetch-data", "ingest", "close-run"} <= set(ran(outputs)), said
    version = read_data_version(site.project.folder).md5.removesuffix(".dir")
    fetched = json.loads((outputs / "fetch-data" / "data").read_text())
    assert Path(fetched["path"]) == site.folder / "volume" / "data" / version
    assert (Path(fetched["path"]) / "clips.csv").is_file()


def test_a_failing_step_closes_the_run_as_failed_with_its_last_words(site: Site, broken: tuple[str, Path]) -> None:
    _, outputs = broken
    assert "train" not in ran(outputs)
    assert json.loads((outputs / "close-run" / "closed").read_text())["status"] == "FAILED"
    record = site.parent("broken")
    assert record.info.status == "FAILED"
    assert "validate" in record.data.tags["error"]
    assert record.data.params["validation.min_frames"] == "999"
    assert yaml.safe_load((site.folder / "broken.yaml").read_text().split("---")[0])["pipelineInfo"]["name"] == "d3d"


def test_no_credential_of_the_environment_is_said_or_written(
    project: Any, first_run: Any, site: Site, broken: tuple[str, Path]
) -> None:
    for folder in (project.folder, site.folder):
        assert found_below(folder, PLANTED.values()) == {}
    for said in (first_run.said, broken[0]):
        assert found_in(said.encode(), PLANTED.values()) == []


@pytest.mark.long
class TestWhole:
    """Of the package, what takes a minute."""

    @pytest.fixture(scope="class")
    def finished(self, site: Site) -> Path:
        code, said, outputs = site.run("whole")
        assert code == 0, said
        return outputs

    def test_every_task_runs_and_the_run_is_closed_as_finished(self, site: Site, finished: Path) -> None:
        tasks = len(graph_of("d3d").tasks) - 1 + 3 + len(("fetch-data", "merge-flow", "close-run"))
        assert len(ran(finished)) == tasks
        assert {"merge-flow", "register"} <= set(ran(finished))
        assert json.loads((finished / "close-run" / "closed").read_text()) == {"status": "FINISHED", "failures": {}}
        assert site.parent("whole").info.status == "FINISHED"

    def test_the_scores_are_those_of_the_run_by_dvc(self, project: Any, finished: Path) -> None:
        for model in MODELS:
            one, other = (
                Scores.load(folder / "scores" / f"{model}.parquet")
                for folder in (project.folder / "outputs/evaluate/evaluation", finished / "evaluate" / "evaluation")
            )
            assert one.clip_ids == other.clip_ids
            assert (one.logits == other.logits).all()

    def test_shards_make_one_flow_set_whose_media_lie_on_the_volume(self, site: Site, finished: Path) -> None:
        assert len(list(finished.rglob("extract-flow*/flow/flowset.json"))) == 3
        flow = FlowSet.load(finished / "merge-flow" / "flow")
        assert Path(flow.media_root).is_relative_to(site.folder / "volume" / "media")
        assert all(flow.locate(clip_id).is_file() for clip_id in flow.usable_ids())
        artifacts = [finished / "merge-flow", *finished.rglob("extract-flow*")]
        written = [path for folder in artifacts for path in folder.rglob("*") if path.is_file()]
        assert not [path for path in written if path.suffix == ".mp4"]  # a launcher downloads every artifact whole
