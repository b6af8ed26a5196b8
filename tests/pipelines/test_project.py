"""A project as its user meets it: made in any folder, found from below and by name, with nothing left elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.engines.workspace import Workspace
from pipelines.project import recipe_of, recipe_params
from tests.pipelines.conftest import TINY_SYNTH

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINEFLOW_PROJECT", "")  # commands set it; it is put back afterwards
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def kineflow(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.parametrize("git", ["nowhere", "here", "above"])
def test_init_makes_a_project_that_dvc_takes(git: str, tmp_path: Path, elsewhere: Path) -> None:
    project = tmp_path / "above" / "project"
    project.mkdir(parents=True)
    if git != "nowhere":
        subprocess.run(["git", "init", "--quiet", str(project if git == "here" else project.parent)], check=True)
    kineflow("init", str(project))
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(TINY_SYNTH))
    assert "names 'data', which is not there" in kineflow("check", "d3d", "--project", str(project), code=2)
    kineflow("--project", str(project), "synth", "--spec", str(spec), "--workers", "1")
    assert "valid for d3d" in kineflow("check", "d3d", "--project", str(project))
    wrote = kineflow("--project", str(project), "compile", "d3d", "--to", "dvc")
    assert str(project / "dvc.yaml") in wrote
    stages = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list"], cwd=project, capture_output=True, text=True, check=False
    )
    assert "ingest" in stages.stdout, stages.stderr
    assert "already" in kineflow("init", str(project), code=2)
    assert not list(elsewhere.iterdir())


def test_a_parameter_file_is_of_a_recipe_with_its_optional_sections_too(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(recipe_params("few_clips"))
    assert recipe_of(file) == "few_clips"
    file.write_text(recipe_params("d3d") + "descriptor: {}\n")
    assert recipe_of(file) == "d3d"


def test_dvc_takes_a_workspace_below_a_project_of_gits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    kineflow("init", str(tmp_path))
    other = tmp_path / "experiment" / "params.yaml"
    other.parent.mkdir()
    other.write_bytes((tmp_path / "params.yaml").read_bytes())
    monkeypatch.chdir(other.parent)
    kineflow("compile", "d3d", "--params", "params.yaml", "--to", "dvc")
    file = Workspace.of("d3d", other, tmp_path).folder / "dvc.yaml"
    frozen = subprocess.run(  # DVC refuses to write to what git ignores
        [sys.executable, "-m", "dvc", "freeze", f"{file}:ingest"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert frozen.returncode == 0, frozen.stderr


def test_a_project_takes_on_another_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kineflow("init", str(tmp_path), "--paper")
    assert "ucf101" in (tmp_path / "params.yaml").read_text()
    kineflow("init", str(tmp_path), "--recipe", "tsn")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    splits = ("train", "val", "test")
    for split in splits:
        (tmp_path / "data" / f"{split}.mp4").touch()
    (tmp_path / "data" / "clips.csv").write_text(
        "path,label,split\n" + "".join(f"{split}.mp4,a,{split}\n" for split in splits)
    )
    assert "params/tsn.yaml" in kineflow("check", "tsn")
    for recipe in ("tsn", "d3d"):
        assert f"of {recipe} already" in kineflow("init", "--recipe", recipe, code=2)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "d3d"], ["check", "d3d"], ["compare"], ["promote", "x"], ["rollback", "x"], ["gc"], ["clean"],
        ["predict", "x.mp4", "--model", "models:/x@champion"],
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_outside_of_a_project_a_command_says_so_and_leaves_nothing(words: list[str], elsewhere: Path) -> None:
    assert "kineflow init" in kineflow(*words, code=2)
    if words[0] != "check":
        assert "no such project" in kineflow(*words, "--project", "nowhere", code=2)
    assert not list(elsewhere.iterdir())


def test_clean_asks_and_removes_outputs_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kineflow("init", str(tmp_path))
    kept = [tmp_path / "mlflow.db", tmp_path / "media" / "clip.mp4", tmp_path / "runs" / "d3d" / "a" / "dvc.lock"]
    gone = [tmp_path / "outputs" / "model", tmp_path / "runs" / "d3d" / "a" / "outputs" / "model"]
    for path in (*kept, *gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    below = tmp_path / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    CliRunner().invoke(app, ["clean"], input="n\n")
    assert all(path.exists() for path in (*kept, *gone))
    kineflow("clean", "--yes")
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)


def test_clean_waits_for_a_run_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kineflow("init", str(tmp_path))
    output = tmp_path / "outputs" / "model"
    output.parent.mkdir()
    output.touch()
    lock = tmp_path / ".dvc" / "tmp" / "rwlock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text(json.dumps({"write": {str(output): {"pid": os.getpid(), "cmd": "dvc repro"}}}))
    monkeypatch.chdir(tmp_path)
    assert "at work" in kineflow("clean", "--yes", code=2)
    assert output.exists()
