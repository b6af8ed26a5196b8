"""A rehearsal: what it makes of a parameter file, which clips it takes, and that nothing of it is left."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner

from kineflow.storage.errors import KineflowError
from kineflow.training.settings import RunSettings
from pipelines import rehearsal
from pipelines.cli import app
from pipelines.dag.params import graph_for, load_params, schema_of
from pipelines.dag.sources import ROOT
from pipelines.plan import Plan
from pipelines.rehearsed_params import clips_a_step, rehearsed, shares_of
from pipelines.training_needs import TrainingNeed
from tests.pipelines.conftest import TINY_PARAMS

if TYPE_CHECKING:
    from tests.pipelines.conftest import Project


def plan_of(recipe: str, path: Path) -> Plan:
    graph = graph_for(recipe, path)
    return Plan(graph, load_params(graph, path), schema_of(graph), path, Path("/own"), "here")


@pytest.mark.parametrize("path", sorted((ROOT / "params").glob("*_ucf101.yaml")), ids=lambda path: path.stem)
def test_a_papers_file_keeps_its_sizes_and_takes_one_step(path: Path, tmp_path: Path) -> None:
    recipe = path.stem.removesuffix("_ucf101")
    plan = plan_of(recipe, path)
    made = rehearsed(plan, shares_of(plan, [], float("inf")), on_gpu=True, teachers={})
    own = tmp_path / "params.yaml"
    own.write_text(yaml.safe_dump(made))
    graph = graph_for(recipe, own)
    assert [task.name for task in graph.tasks] == [task.name for task in plan.graph.tasks]
    values = load_params(graph, own)
    for _, key, _ in plan.sections(RunSettings):
        before, after = plan.values[key], values[key]
        assert (after["steps"], after["epochs"]) == (1, 0)
        assert clips_a_step(after) == clips_a_step(before)
        for size in ("frames", "crop", "network"):
            assert after.get(size) == before.get(size)
    assert "/data" not in own.read_text().replace("/data/weights", "")


def test_a_step_is_made_to_fit_and_parts_of_batches_stay_as_large(tmp_path: Path) -> None:
    training = {**TINY_PARAMS["student"], "batch_size": 64, "nodes": 2, "accumulate": 4, "steps": 9}
    values: dict[str, Any] = {**TINY_PARAMS, "student": {**training, "validate_every_steps": 3}}
    values["distillation"] = {"unlabelled_batch_size": 32}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    plan = plan_of("d3d", path)
    whole = rehearsed(plan, shares_of(plan, [], float("inf")), on_gpu=False, teachers={})
    assert (whole["student"]["nodes"], whole["student"]["accumulate"]) == (1, 2)
    assert clips_a_step(whole["student"]) == 8
    assert whole["distillation"]["unlabelled_batch_size"] == 8
    need = [TrainingNeed("student", 1.0, 4.0), TrainingNeed("plain", 1.0, 2.0)]
    half = rehearsed(plan, shares_of(plan, need, 2.0), on_gpu=False, teachers={})
    assert clips_a_step(half["student"]) == 4
    assert half["distillation"]["unlabelled_batch_size"] == 4
    assert clips_a_step(half["teacher"]) == 2  # of which nothing is known: as the one that fits least


@pytest.fixture
def videos(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with real clips of two classes in UCF101's layout."""
    clips = sorted((shared_data / "clips").glob("v_*.avi"))
    for name in ("Archery", "Bowling"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        for group in ("01", "02", "03"):
            (tmp_path / "videos" / name / f"v_{name}_g{group}_c01.avi").symlink_to(clips[0])
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Archery\n2 Bowling\n")
    names = ("Archery", "Bowling")
    train = [f"{n}/v_{n}_g{g}_c01.avi {i}\n" for i, n in enumerate(names, 1) for g in ("02", "03")]
    (lists / "trainlist01.txt").write_text("".join(train))
    (lists / "testlist01.txt").write_text("".join(f"{n}/v_{n}_g01_c01.avi\n" for n in names))
    values = {**TINY_PARAMS, "distillation": {"unlabelled_batch_size": 0}}
    linked = [{"path": str(shared_data / "clips")}]
    values["ingestion"] = {
        "source": "videos", "annotations": "lists", "layout": "ucf101", "linked_folders": linked
    }  # fmt: skip
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_takes_clips_of_each_split_and_leaves_nothing(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://records.example")
    monkeypatch.delenv("KINEFLOW_PROJECT", raising=False)

    def fail(_recipe: str, folder: Path) -> Any:
        made["folder"], made["environment"] = folder, dict(os.environ)
        made["rows"] = (folder / "clips.csv").read_text().splitlines()
        made["videos"] = sorted(path.name for path in (folder / "videos").rglob("*.avi"))
        raise KineflowError("a stage failed")

    monkeypatch.setattr(rehearsal, "_run", fail)
    with pytest.raises(KineflowError, match="a stage failed"):
        rehearsal.rehearse("d3d", videos / "params.yaml", videos)
    splits = [row.split(",")[1:3] for row in made["rows"][1:]]
    assert splits == [["Archery", "train"], ["Archery", "val"], ["Archery", "test"], ["Bowling", "train"]]
    assert len(made["videos"]) == 4
    assert not made["folder"].exists()
    assert made["folder"].is_relative_to(Path(tempfile.gettempdir()).resolve())
    assert "MLFLOW_TRACKING_URI" not in made["environment"]
    assert made["environment"]["KINEFLOW_PROJECT"] == str(made["folder"])
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://records.example"
    assert "KINEFLOW_PROJECT" not in os.environ


def test_videos_that_cannot_be_opened_are_not_taken(videos: Path) -> None:
    for path in (videos / "videos" / "Bowling").iterdir():
        path.unlink()
        path.write_bytes(b"no video")
    with pytest.raises(KineflowError, match=r"classes that have these: 1; .*'Bowling' 0 of 1 in train"):
        rehearsal.rehearse("d3d", videos / "params.yaml", videos)


def rehearsed_rows(recipe: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    def stop(_recipe: str, made: Path) -> Any:
        raise KineflowError((made / "clips.csv").read_text())

    monkeypatch.setattr(rehearsal, "_run", stop)
    with pytest.raises(KineflowError) as stopped:
        rehearsal.rehearse(recipe, folder / "params.yaml", folder)
    return stopped.value.problem.splitlines()


def list_plainly(videos: Path, rows: list[str], **more: Any) -> None:
    """Have the videos listed by a CSV of path, label, split, group and further classes, in parameters with ``more``."""
    (videos / "clips.csv").write_text("\n".join(["path,label,split,group,also", *rows]) + "\n")
    values = yaml.safe_load((videos / "params.yaml").read_text())
    values["ingestion"] |= {"layout": "csv", "annotations": "clips.csv"}
    (videos / "params.yaml").write_text(yaml.safe_dump({"ingestion": values["ingestion"], **(more or values)}))


def test_a_clip_keeps_all_of_its_classes(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "{0}/v_{0}_g0{1}_c01.avi"
    rows = [
        f"{path.format('Archery', 1)},Archery,train,a,Run;Bowling", f"{path.format('Bowling', 1)},Run,train,b,Bowling",
        f"{path.format('Archery', 2)},Archery,val,c,Run", f"{path.format('Archery', 3)},Archery,test,d,",
    ]  # fmt: skip
    list_plainly(videos, rows)
    header, *made = rehearsed_rows("d3d", videos, monkeypatch)
    assert header == "path,label,split,group,also"
    assert [row.partition(",")[2] for row in made] == [
        "Archery,train,a,Run;Bowling", "Archery,val,c,Run", "Archery,test,d,", "Run,train,b,Bowling",
    ]  # fmt: skip


def test_folds_take_as_many_groups_as_there_are(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = yaml.safe_load((ROOT / "params" / "few_clips.yaml").read_text())
    few.pop("ingestion")
    rows = [
        f"{name}/v_{name}_g0{group}_c01.avi,{name},train,{group if name == 'Bowling' else group % 2},"
        for name in ("Archery", "Bowling")
        for group in (1, 2, 3)
    ]
    list_plainly(videos, rows, **few)
    assert len(rehearsed_rows("few_clips", videos, monkeypatch)) == 1 + 2 + 3
    list_plainly(
        videos, [row.replace(",train,2,", ",train,1,").replace(",train,0,", ",train,1,") for row in rows], **few
    )
    [fault, *_] = rehearsed_rows("few_clips", videos, monkeypatch)
    assert "of each 2 groups or more of train or val" in fault
    assert "'Archery' 1 of 1 in train" in fault


def test_what_is_interrupted_is_not_said_to_be_kept(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(rehearsal, "_run", interrupt)
    monkeypatch.setattr("pipelines.preflight.check_run", lambda *_: SimpleNamespace(notices=()))
    monkeypatch.setenv("KINEFLOW_PROJECT", str(videos))
    done = CliRunner().invoke(app, ["rehearse", "d3d"])
    assert done.exit_code == 130
    assert "interrupted: nothing of the rehearsal is kept" in done.output


@pytest.mark.long
def test_every_stage_runs_and_says_what_it_took(project: Project) -> None:
    before = {path for path in project.folder.rglob("*") if ".dvc" not in path.parts}
    done = project.kineflow("rehearse", "d3d", "--memory", "2", env={"OMP_NUM_THREADS": "1"})
    assert done.code == 0, done.said
    table = done.said[done.said.index("rehearsed on") :]
    for stage in ("ingest", "extract-flow", "teacher", "student", "evaluate", "register"):
        assert f"\n{stage} " in table
    assert {path for path in project.folder.rglob("*") if ".dvc" not in path.parts} == before
