"""A project: the folder of a team's parameter files, runs, models and media, which lies outside of Kineflow's code."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from components.dvc.dvc_command import run_dvc_command
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from pipelines.dag.recipes import load_pipeline
from pipelines.dag.sources import ROOT
from pipelines.engines.workspace import PARAMS_FILE, RUNS

_DVC_SETTINGS = """\
[core]
    analytics = false
    check_update = false
    autostage = false
[cache]
    type = "reflink,hardlink,copy"
"""
_GITIGNORE = """\
/data/
/media/
/outputs/
/runs/**/outputs/
/mlartifacts/
/mlflow.db*
*.partial
"""
_README = """\
# A Kineflow project

Put videos and `clips.csv` (`path,label,split[,group][,start,end]`) into `data/`,
or name another place in `params.yaml`.

    kineflow check {recipe}   # every fault at once, before anything runs
    kineflow run {recipe}     # again after a change: only what would come out otherwise is done again
    kineflow compare          # runs side by side
    kineflow promote NAME     # the candidate becomes the champion, if the gate holds
    kineflow predict clip.mp4 --model models:/NAME@champion
"""


def make_project(folder: Path, recipe: str) -> Path:
    """Make a project of a folder, with what is in it.

    Args:
        folder: Of the project.
        recipe: Whose demo's parameters it starts from.

    Raises:
        KineflowError: There is no such recipe, the folder is a project already, or DVC refuses.
    """
    load_pipeline(recipe)
    folder = folder.resolve()
    if (folder / PARAMS_FILE).exists():
        raise KineflowError("a project already", where=folder / PARAMS_FILE, remedy="name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".dvc").is_dir():
        run_dvc_command(["init", *_beside_git(folder)], folder)
        settings = folder / ".dvc" / "config"
        settings.write_text(_DVC_SETTINGS + settings.read_text(encoding="utf-8"), encoding="utf-8")
    for name, text in ((".gitignore", _GITIGNORE), ("README.md", _README.format(recipe=recipe))):
        if not (folder / name).exists():
            (folder / name).write_text(text, encoding="utf-8")
    with atomic_file(folder / PARAMS_FILE) as partial:  # last: it is what tells that all is there
        partial.write_text(_params_text(recipe), encoding="utf-8")
    return folder


def output_folders(project: Path) -> dict[Path, int]:
    """Folders of outputs of all workspaces of a project, and their size in bytes."""
    found = [project / "outputs", *(project / RUNS).rglob("outputs")]
    return {path: _size(path) for path in sorted(found) if path.is_dir() and not path.is_symlink()}


def remove_outputs(folders: Iterable[Path]) -> None:
    """Remove folders with all that is in them."""
    for folder in folders:
        shutil.rmtree(folder)


def _params_text(recipe: str) -> str:
    """The recipe's demo, under a heading of the project's own."""
    own = ROOT / "params" / f"{recipe}.yaml"
    text = (own if own.is_file() else ROOT / PARAMS_FILE).read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    while lines and lines[0].startswith("#"):
        lines.pop(0)
    return f"# Parameters of {recipe}, from its demo; `kineflow check {recipe}` says if they are valid.\n" + "".join(
        lines
    )


def _beside_git(folder: Path) -> list[str]:
    """How DVC is told where git is: at this folder, above it, or nowhere."""
    asked = ["git", "-C", str(folder), "rev-parse", "--show-toplevel"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ["--no-scm"]
    return [] if Path(said).resolve() == folder else ["--subdir"]


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
