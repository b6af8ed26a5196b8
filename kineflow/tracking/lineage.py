"""What led to a result: the version of the data, of the code, and of everything it ran on; as tags of a run."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from kineflow import __version__
from kineflow.storage.config import read_yaml
from kineflow.storage.errors import KineflowError

DATA_FILE = "data.dvc"
DATA_VERSION = "KINEFLOW_DATA_VERSION"
NOT_VERSIONED = "none"
"""What that variable holds in a run that reads other data than those that DVC knows."""
PACKAGES = ("torch", "numpy", "av", "opencv-contrib-python-headless", "mlflow", "dvc", "kfp")
SOURCE_FOLDERS = ("kineflow", "components", "pipelines")

GIT_COMMIT = "KINEFLOW_GIT_COMMIT"
"""The commit, where there is no repository: set in images."""
GIT_DIRTY = "KINEFLOW_GIT_DIRTY"
"""``true`` or ``false``, beside the commit: what a run found at its start, for all of its steps."""

_GIT_TIMEOUT_SEC = 20
_WRITTEN_BY_RUNS = ("dvc.yaml", "dvc.lock", "digests.yaml", ".dvc/plots/kineflow_*.json", "runs/*/**/params.yaml")
_FROM_ENVIRONMENT = {
    "dvc.stage": "DVC_STAGE",
    "dvc.experiment": "DVC_EXP_NAME",
    "kfp.run_id": "KFP_RUN_ID",
    "image": "KINEFLOW_IMAGE",
}


def lineage_tags(root: Path) -> dict[str, str]:
    """Tags that lead from a run back to its data, code and environment; what cannot be found out is left out.

    Args:
        root: The project's folder: of ``data.dvc``, the git repository and the source.
    """
    version = data_md5(root)
    tags = {**git_tags(root), **_code_tags(root), **environment_tags(), "source.digest": tree_digest(root)}
    tags |= {tag: os.environ[name] for tag, name in _FROM_ENVIRONMENT.items() if os.environ.get(name)}
    return tags | ({"dvc.data.md5": version} if version else {})


def data_md5(root: Path) -> str | None:
    """Hash by which DVC knows the data (``md5`` in ``data.dvc``), or None where there is no such file.

    ``KINEFLOW_DATA_VERSION`` comes first: on a cluster the repository is not there, and a run sets it to ``none`` where
    it reads other data than those of ``data.dvc``.

    Raises:
        KineflowError: ``data.dvc`` is there, but is no DVC file with one hashed output.
    """
    if given := os.environ.get(DATA_VERSION):
        return None if given == NOT_VERSIONED else given
    path = root / DATA_FILE
    if not path.is_file():
        return None
    outputs = read_yaml(path).get("outs")
    match outputs:
        case [{"md5": str(version)}]:
            return version
    raise KineflowError("holds no output with an md5", where=path, remedy="make it with: dvc add data")


def version_of_inputs(root: Path, places: Iterable[str]) -> str:
    """The version of what a run reads: that of ``data.dvc`` where it tracks all of it, else ``none``.

    With lists beside the tracked videos, equal videos are other data when a row changes: then the digest of the clip
    set tells versions apart, which is taken over both.

    Args:
        root: The project's folder.
        places: Folders, files or URIs, as a parameter file names them, of videos and of lists; relative ones lie in the
            project, and empty ones are left out.

    Raises:
        KineflowError: As :func:`data_md5`.
    """
    version, path = data_md5(root), root / DATA_FILE
    if version is None or os.environ.get(DATA_VERSION):
        return version or NOT_VERSIONED
    (output,) = read_yaml(path)["outs"]
    tracked = (root / str(output.get("path", ""))).resolve()
    is_tracked = all(
        "://" not in place and (root / place).resolve().is_relative_to(tracked) for place in places if place
    )
    return version if is_tracked else NOT_VERSIONED


def git_tags(root: Path) -> dict[str, str]:
    """``git.commit``, and ``git.dirty``: whether anything differs from it beside what runs themselves write.

    What the environment says comes first where it says both, and where there is no repository.
    """
    given, said = os.environ.get(GIT_COMMIT), os.environ.get(GIT_DIRTY)
    commit = given if given and said else _git(root, "rev-parse", "HEAD")
    if commit is None:
        return {"git.commit": given} if given else {}
    tags = {"git.commit": commit, "mlflow.source.git.commit": commit}
    return {**tags, "git.dirty": said if given and said else _is_dirty(root)}


def _is_dirty(root: Path) -> str:
    without = [f":(exclude,top,glob)**/{name}" for name in _WRITTEN_BY_RUNS]
    return str(bool(_git(root, "status", "--porcelain", "--", ":/", *without))).lower()


def _code_tags(root: Path) -> dict[str, str]:
    """``kineflow.commit`` and ``kineflow.dirty``: of Kineflow's own checkout, where the project is another folder."""
    code = Path(__file__).resolve().parents[2]
    if root.resolve() == code or not (code / ".git").exists():
        return {}
    changes = _git(code, "status", "--porcelain", "--untracked-files=no")
    commit = _git(code, "rev-parse", "HEAD")
    return {"kineflow.commit": commit, "kineflow.dirty": str(bool(changes)).lower()} if commit else {}


def environment_tags() -> dict[str, str]:
    """Versions of Python, of the packages that matter, and the machine's kind; never its name."""
    tags = {
        "env.python": platform.python_version(),
        "env.platform": f"{platform.system()}-{platform.machine()}",
        "env.kineflow": __version__,
    }
    for package in PACKAGES:
        try:
            tags[f"env.{package}"] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    torch = sys.modules.get("torch")  # importing it here would cost seconds in steps that do without
    if torch is not None and torch.cuda.is_available():
        tags["env.gpu"] = torch.cuda.get_device_name()
    return tags


def tree_digest(root: Path) -> str:
    """Hex SHA-256 over the names and bytes of the project's Python files, committed or not.

    Where ``root`` is not the project (a step in a container), it is taken over the installed packages.
    """
    base = root if (root / SOURCE_FOLDERS[0]).is_dir() else Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    files = (path for folder in SOURCE_FOLDERS for path in (base / folder).rglob("*.py"))
    for path in sorted(files, key=lambda path: path.relative_to(base).as_posix()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(base).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _git(root: Path, *arguments: str) -> str | None:
    """What git says, or None where it is missing or ``root`` is no repository."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=_GIT_TIMEOUT_SEC, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
