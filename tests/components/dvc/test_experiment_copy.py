import os
import subprocess
from pathlib import Path

import pytest

from components.dvc.experiment_copy import share_with_project
from kineflow.storage.project import media_folder
from kineflow.tracking.store import tracking_uri


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    return tmp_path / "project"


def test_an_experiment_in_a_copy_uses_media_and_records_of_the_project(project: Path) -> None:
    copy = project / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1"
    copy.mkdir(parents=True)
    (copy / ".gitignore").write_text("media/\n")
    for arguments in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", "-C", copy, *arguments], check=True)
    share_with_project(copy)
    share_with_project(copy)
    status = ["git", "-C", copy, "status", "--porcelain", "--untracked-files"]
    assert subprocess.run(status, capture_output=True, text=True, check=True).stdout == "A  .gitignore\n"
    assert media_folder(copy).resolve() == media_folder(project)
    assert media_folder(copy).is_dir()
    assert tracking_uri(copy) == tracking_uri(project) == f"sqlite:///{project}/mlflow.db"


def test_a_store_that_is_named_by_a_relative_path_is_the_projects(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = project / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1"
    copy.mkdir(parents=True)
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(variable, "sqlite:///mlruns.db")
    share_with_project(copy)
    assert tracking_uri(copy) == os.environ["MLFLOW_REGISTRY_URI"] == f"sqlite:///{project}/mlruns.db"


def test_a_project_is_left_as_it_is(project: Path, tmp_path: Path) -> None:
    for folder in (project, tmp_path / "another"):
        folder.mkdir()
        share_with_project(folder)
        assert list(folder.iterdir()) == []
