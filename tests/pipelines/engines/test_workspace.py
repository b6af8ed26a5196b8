from pathlib import Path

from components.dvc.workspace_files import recipe_of
from pipelines.engines.workspace import Workspace


def folder_of(project: Path, recipe: str, params: str) -> str:
    path = project / params
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return Workspace.of(recipe, path, project).folder.relative_to(project).as_posix()


def test_each_recipe_and_each_parameter_file_has_its_own(tmp_path: Path) -> None:
    asked = [
        ("d3d", "params.yaml"), ("d3d", "exp1/params.yaml"), ("d3d", "exp2/params.yaml"), ("tsn", "exp2/params.yaml"),
        ("d3d", "params/params.yaml"), ("d3d", "exp2/params.yml"), ("d3d", "exp2/params.yaml.yaml"),
        ("d3d", "runs/d3d/params+seed2/params.yaml"),
    ]  # fmt: skip
    folders = [folder_of(tmp_path, *each) for each in asked]
    assert folders == [
        ".",
        "runs/d3d/exp1/params",
        "runs/d3d/exp2/params",
        "runs/tsn/exp2/params",
        "runs/d3d/params/params",
        "runs/d3d/exp2/params.yml",
        "runs/d3d/exp2/params.yaml",
        "runs/d3d/params+seed2",
    ]


def test_the_projects_own_folder_is_of_the_recipe_that_it_was_first_run_with(tmp_path: Path) -> None:
    assert folder_of(tmp_path, "tsn", "params.yaml") == "."
    (tmp_path / "dvc.yaml").write_text("# The recipe tsn, from …\nstages: {}\n")
    assert recipe_of(tmp_path) == "tsn"
    assert folder_of(tmp_path, "tsn", "params.yaml") == "."
    assert folder_of(tmp_path, "d3d", "params.yaml") == "runs/d3d/params"


def test_files_outside_of_the_project_do_not_meet(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    folders = set()
    for name in ("one", "two"):
        path = tmp_path / name / "config.yaml"
        path.parent.mkdir()
        path.touch()
        workspace = Workspace.of("d3d", path, project)
        assert workspace.folder.is_relative_to(project / "runs" / "d3d")
        assert (project / workspace.params).resolve() == path.resolve()
        folders.add(workspace.folder)
    assert len(folders) == 2
