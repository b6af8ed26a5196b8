"""A project as it was when a registered model was made, in a folder of its own: there, a run has nothing to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from components.dvc.dvc_command import run_dvc_command
from components.dvc.workspace_files import KEPT_AS, LOCK_FILE
from kineflow.registry.origins import Origins, kept_file
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_folder
from kineflow.storage.project import media_folder
from pipelines.engines.dvc_stages import write_dvc_files
from pipelines.engines.workspace import Workspace
from pipelines.garbage import cache_of

_DVC = ".dvc"
_COMMIT = re.compile(r"[0-9a-f]{40,64}")


def restore(origins: Origins, into: Path, project: Path) -> Path:
    """Bring back commit, parameters, lock, outputs and data of the run that made a version.

    The folder shares DVC's cache and the stored media with the project, so that it takes little room.

    Args:
        origins: Of the version.
        into: A folder that is not there yet, or is empty.
        project: Whose repository, cache and store are read.

    Returns:
        The restored project: ``into``, or the folder below it where the project is one of a repository.

    Raises:
        KineflowError: The folder is in use, or something was not recorded or is not there any more.
    """
    commit = _restorable(origins, into)
    top = Path(_git(project, "rev-parse", "--show-toplevel"))
    below = project.resolve().relative_to(top.resolve())
    cache = cache_of(project).resolve()
    with atomic_folder(into) as partial:
        _git(project, "clone", "--quiet", "--no-checkout", str(top), str(partial))
        _git(partial, "checkout", "--quiet", "--detach", commit)
        restored = partial / below
        _share(restored, project, cache)
        _write_kept(origins, restored)
        run_dvc_command(["checkout", "--quiet", "--force", "--allow-missing"], restored)
        if run_dvc_command(["remote", "list"], restored).strip():
            run_dvc_command(["pull", "--quiet", "--allow-missing"], restored)
    return into / below


def _restorable(origins: Origins, into: Path) -> str:
    """The commit to bring back."""
    commit, params = origins.code.get("git.commit", ""), origins.run.get("params", "")
    remedy = "commit before you run: then a model can be brought back from its version"
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise KineflowError("in use", where=into, remedy="name a folder that is not there yet")
    if not _COMMIT.fullmatch(commit) or origins.code.get("git.dirty") != "false":
        raise KineflowError(
            "its run was not of a commit" if commit else "no commit was recorded", where=origins.name, remedy=remedy
        )
    if (
        not params
        or not {"recipe", "workspace"} <= origins.run.keys()
        or ".." in Path(params).parts
        or Path(params).is_absolute()
    ):
        raise KineflowError(
            f"its parameter file is not known or lies outside of the project: {params or 'none'}",
            where=origins.name,
            remedy="keep parameter files in the project",
        )
    return commit


def _write_kept(origins: Origins, restored: Path) -> None:
    """Parameters and lock as the run kept them. The stages are written anew: what they run never comes from a store."""
    params, folder = restored / origins.run["params"], restored / origins.run["workspace"]
    targets = {"params.yaml": params, KEPT_AS[LOCK_FILE]: folder / LOCK_FILE}
    with tempfile.TemporaryDirectory(prefix="kineflow-origins-") as name:
        for kept, target in targets.items():
            file = kept_file(origins, kept, Path(name))
            if file is None:
                raise KineflowError(
                    f"its run did not keep {kept}", where=origins.name, remedy="run the recipe again, with DVC"
                )
            if not target.resolve().is_relative_to(restored.resolve()):
                raise KineflowError(
                    "outside of the project", where=target, remedy="keep parameter files in the project"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    write_dvc_files(origins.run["recipe"], Workspace(restored, folder, params))


def _share(restored: Path, project: Path, cache: Path) -> None:
    """DVC's settings and cache, and the media, are those of the project."""
    settings = restored / _DVC / "config"
    if not settings.exists():
        settings.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project / _DVC / "config", settings)
    run_dvc_command(["cache", "dir", "--local", str(cache)], restored)
    media = media_folder(project)
    if media.is_dir() and not media_folder(restored).exists():
        media_folder(restored).symlink_to(media.resolve(), target_is_directory=True)


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False, env=_plain())
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise KineflowError(
            f"git {words[0]} failed: {said[-1] if said else done.returncode}",
            where=folder,
            remedy="see that this is the project's repository and has the commit: git fetch",
        )
    return done.stdout.strip()


def _plain() -> dict[str, str]:
    """Without what a hook of git's would set, which names another repository."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
