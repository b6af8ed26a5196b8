"""Which data a run reads, as a cluster must know it: DVC's hash of them, and the remote that has them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.dvc.dvc_command import run_dvc_command
from components.dvc.settings import check_remote, check_version
from kineflow.storage.config import read_yaml
from kineflow.storage.errors import KineflowError
from kineflow.tracking.lineage import DATA_FILE

_MISSING_SHOWN = 5


@dataclass(frozen=True)
class DataVersion:
    """A version of the data.

    Attributes:
        md5: DVC's hash; of a folder it ends in ``.dir``.
        remote: URL or folder of the DVC remote, such as ``s3://bucket/dvc``; without credentials.
    """

    md5: str
    remote: str


def read_data_version(root: Path) -> DataVersion:
    """The version that ``data.dvc`` names, and the default remote of DVC's settings, local ones included.

    Args:
        root: The project's folder.

    Raises:
        KineflowError: There is no ``data.dvc``, DVC has no default remote, or its URL carries credentials.
    """
    output = _tracked(root)
    settings = _settings(root)
    name = output.get("remote") or settings.get("core.remote")
    url = settings.get(f"remote.{name}.url")
    if not name or not url:
        problem = f"DVC knows no remote {name!r}" if name else "DVC has no default remote to fetch the data from"
        raise KineflowError(problem, where=root / ".dvc", remedy="dvc remote add --default store s3://bucket/dvc")
    try:
        check_version(output["md5"])
        check_remote(url)
    except ValueError as error:
        raise KineflowError(
            str(error), where=root / ".dvc", remedy=f"mend it with: dvc remote modify {name} url …"
        ) from None
    return DataVersion(output["md5"], url)


def check_pushed(root: Path) -> None:
    """Make sure that the default remote has everything that ``data.dvc`` names.

    Raises:
        KineflowError: It has not; or DVC, or the remote, cannot be asked.
    """
    missing = _not_pushed(root)
    if missing:
        files = [name for name in missing if not name.endswith("/")] or missing
        listed_files = ", ".join(files[:_MISSING_SHOWN]) + (", …" if len(files) > _MISSING_SHOWN else "")
        raise KineflowError(
            f"the data are not pushed; the remote lacks {len(files)} of their files: {listed_files}",
            where=root / DATA_FILE,
            remedy="dvc push data.dvc",
        )


def _tracked(root: Path) -> dict[str, Any]:
    path = root / DATA_FILE
    if not path.is_file():
        raise KineflowError("the data are not tracked by DVC", where=path, remedy="dvc add data")
    match read_yaml(path).get("outs"):
        case [{"md5": str()} as output]:
            return dict(output)
    raise KineflowError("holds no output with an md5", where=path, remedy="make it with: dvc add data")


def _settings(root: Path) -> dict[str, str]:
    """DVC's settings of all levels by name; never shown, for there may be passwords among them."""
    lines = run_dvc_command(["config", "--list"], root).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _not_pushed(root: Path) -> list[str]:
    read_data_version(root)  # without a remote DVC would find nothing amiss
    path = str(_tracked(root).get("path", "data"))  # told the name of the .dvc file, DVC finds nothing either
    asked = ["data", "status", "--not-in-remote", "--granular", "--json", path]
    status = json.loads(run_dvc_command(asked, root) or "{}")
    return sorted(status.get("not_in_remote", []))
