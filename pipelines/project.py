"""A project: the folder of a team's parameter files, runs, models and media, which lies outside of Kineflow's code."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from configparser import ConfigParser
from pathlib import Path

from components.dvc.dvc_command import run_dvc_command
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from pipelines.dag.graph import graph_of, whole_graph
from pipelines.dag.params import given_keys, graph_for, schema_of
from pipelines.dag.recipes import load_pipeline, recipe_names
from pipelines.dag.sources import ROOT
from pipelines.engines.workspace import PARAMS_FILE, RUNS

_DVC_SETTINGS = {
    "core": {"analytics": "false", "check_update": "false", "autostage": "false"},
    "cache": {"type": '"reflink,hardlink,copy"'},
}
_GITIGNORE = """\
/data/
/labelling/
/media/
/outputs/
/runs/**/outputs/
/mlartifacts/
/mlflow.db*
*.partial
"""
_README = """\
# A Kineflow project

Put videos and `clips.csv` (`path,label,split[,group][,start,end]`) into `data/`, or name another place
in `params.yaml`: its paths are relative to this folder. Commands work from here and from folders below.

    kineflow check {recipe}   # every fault at once, before anything runs
    kineflow run {recipe}     # again after a change: only what would come out otherwise is done again
    kineflow suggest {recipe} # clips whose labels would teach most; `kineflow label answers.csv` takes them in
    kineflow compare          # runs side by side
    kineflow promote NAME     # the candidate becomes the champion, if the gate holds
    kineflow predict clip.mp4 --model models:/NAME@champion
"""
_README_OF_VIDEOS = """\
# A Kineflow project

Made from the videos that `params.yaml` names under `ingestion.source`, which are only read. Look at `data.html`, and
correct `clips.csv` (class, split and group of each clip) and `params.yaml` where you know better. Then, from here or
from folders below:

    kineflow init --update    # new videos beside the others: rows for them, after yours
    kineflow check {recipe}   # every fault at once, before anything runs
    kineflow run {recipe}     # again after a change: only what would come out otherwise is done again
    kineflow suggest {recipe} # clips whose labels would teach most; `kineflow label answers.csv` takes them in
    kineflow compare          # runs side by side
    kineflow promote NAME     # the candidate becomes the champion, if the gate holds
    kineflow predict clip.mp4 --model models:/NAME@champion
"""


def make_project(folder: Path, recipe: str, *, paper: str = "", params: str = "") -> Path:
    """Make a project of a folder, with what is in it.

    Args:
        folder: Of the project.
        recipe: Whose parameters it starts from.
        paper: Data set, to start from the parameters at the paper's scale on it; empty: from the demo's.
        params: Text of its parameter file, in place of the recipe's own.

    Raises:
        KineflowError: There is no such recipe, the folder is a project already, or DVC refuses.
    """
    if not params:
        load_pipeline(recipe)
    folder = folder.resolve()
    check_no_project(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".dvc").is_dir():
        run_dvc_command(["init", *_beside_git(folder)], folder)
        _set_up_dvc(folder)
    readme = (_README_OF_VIDEOS if params else _README).format(recipe=recipe)
    for name, text in ((".gitignore", _GITIGNORE), ("README.md", readme)):
        if not (folder / name).exists():
            (folder / name).write_text(text, encoding="utf-8")
    with atomic_file(folder / PARAMS_FILE) as partial:  # last: it is what tells that all is there
        partial.write_text(params or recipe_params(recipe, paper=paper), encoding="utf-8")
    return folder


def check_no_project(folder: Path) -> None:
    """See that a folder has no parameter file yet.

    Raises:
        KineflowError: It has.
    """
    if (folder / PARAMS_FILE).exists():
        raise KineflowError(
            "a project already",
            where=folder / PARAMS_FILE,
            remedy="name another folder, or give this one another recipe with: kineflow init --recipe NAME",
        )


def add_recipe(project: Path, recipe: str, *, paper: str = "", by_data_set: bool = False) -> Path:
    """Give a project a parameter file for one more recipe, ``params/<recipe>.yaml``.

    Args:
        project: Its folder.
        recipe: Whose parameters.
        paper: Data set, for those at the paper's scale on it; empty: the demo's.
        by_data_set: Call it ``params/<recipe>_<paper>.yaml``: a recipe may have one for each data set.

    Returns:
        Path of the file.

    Raises:
        KineflowError: There is no such recipe, or the project has parameters for it; with ``by_data_set``, that file.
    """
    load_pipeline(recipe)
    path = project.resolve() / "params" / f"{f'{recipe}_{paper}' if by_data_set else recipe}.yaml"
    for there in (path,) if by_data_set else (path, project / PARAMS_FILE):
        if there.exists() and (by_data_set or _is_of(there, recipe)):
            raise KineflowError(
                f"it is of {recipe} already", where=there, remedy="copy it, and name the copy by --params"
            )
    text = recipe_params(recipe, paper=paper)
    path.parent.mkdir(exist_ok=True)
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def recipe_params(recipe: str, *, paper: str = "") -> str:
    """Text of a recipe's own parameter file, under a heading of the project's own.

    Args:
        recipe: Its name.
        paper: Data set, for the parameters at the paper's scale on it; empty: the demo's.

    Raises:
        KineflowError: The checkout has none.
    """
    path = _paper_file(recipe, paper) if paper else ROOT / "params" / f"{recipe}.yaml"
    if not paper and not path.is_file():
        path = ROOT / PARAMS_FILE
    if not path.is_file():
        raise KineflowError(
            "no such file of parameters",
            where=path,
            remedy="install a whole checkout: pip install -e PATH",
        )
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    while lines and lines[0].startswith("#"):
        lines.pop(0)
    scale = f"at its paper's scale on {paper}" if paper else "from its demo"
    heading = f"# Parameters of {recipe}, {scale}; `kineflow check {recipe}` says if they are valid.\n"
    return heading + "".join(lines)


def paper_files(recipe: str) -> dict[str, Path]:
    """Parameter files of a recipe at its paper's scale, ``params/<recipe>_<data set>.yaml``, by data set."""
    longer = tuple(name for name in recipe_names() if name.startswith(f"{recipe}_"))
    return {
        path.stem.removeprefix(f"{recipe}_"): path
        for path in sorted((ROOT / "params").glob(f"{recipe}_*.yaml"))
        if not path.stem.startswith(longer)
    }


def _paper_file(recipe: str, data_set: str) -> Path:
    files = paper_files(recipe)
    if data_set not in files:
        known = f"there are {', '.join(files)}" if files else "it has none"
        raise KineflowError(
            f"{recipe} has no parameters at a paper's scale on {data_set!r}; {known}",
            where=ROOT / "params",
            remedy="name one of them with --dataset" if files else "leave --paper out",
        )
    return files[data_set]


def output_folders(project: Path) -> dict[Path, int]:
    """Folders of outputs of all workspaces of a project, and their size in bytes."""
    folders = [project / "outputs", *(project / RUNS).rglob("outputs")]
    return {path: _size(path) for path in sorted(folders) if path.is_dir() and not path.is_symlink()}


def remove_outputs(folders: Iterable[Path]) -> None:
    """Remove folders with all that is in them."""
    for folder in folders:
        shutil.rmtree(folder)


def recipe_of(params_file: Path) -> str:
    """The recipe whose parameters a file holds: it has sections that no other recipe has; empty where several fit."""
    fitting = _fitting(params_file)
    return fitting[0] if len(fitting) == 1 else ""


def _is_of(params_file: Path, recipe: str) -> bool:
    """Whether a parameter file is of a recipe: it has all of its sections, or some that no other recipe has."""
    return _fitting(params_file) == [recipe] or set(given_keys(params_file)) == set(
        schema_of(graph_for(recipe, params_file))
    )


def _fitting(params_file: Path) -> list[str]:
    """Recipes that know all sections of a parameter file; those with optional steps, where no recipe does without."""
    sections = set(given_keys(params_file))
    for graph in (graph_of, whole_graph):
        if fitting := [name for name in recipe_names() if sections <= set(schema_of(graph(name)))]:
            return fitting
    return []


def _set_up_dvc(folder: Path) -> None:
    """Add our settings to those that DVC has written, which refuses a file that names a section twice."""
    path = folder / ".dvc" / "config"
    settings = ConfigParser()
    settings.read(path, encoding="utf-8")
    settings.read_dict(_DVC_SETTINGS)
    with path.open("w", encoding="utf-8") as file:
        settings.write(file)
    with (folder / ".dvcignore").open("a", encoding="utf-8") as file:
        file.write("/media/\n")  # large, and none of DVC's business


def _beside_git(folder: Path) -> list[str]:
    """How DVC is told where git is: at this folder, above it, or nowhere."""
    asked = ["git", "-C", str(folder), "rev-parse", "--show-toplevel"]
    try:
        top_level = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ["--no-scm"]
    return [] if Path(top_level).resolve() == folder else ["--subdir"]


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
