"""What the container of a step may see and do on this machine: user, mounts, network, environment.

Everything that a step reads or writes lies at the same path inside the container as outside, so that paths in clip
sets, models and the tracking store mean the same in both.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kineflow.models.named_weights import MIRROR
from kineflow.models.weights_table import TENSORFLOW
from kineflow.tracking.locations import ARTIFACT_FOLDER

IMAGE_USER = 10001  # the Dockerfile's
NETWORK = "KINEFLOW_DOCKER_NETWORK"

_STORE_SUFFIXES = (
    "",
    ".lock",
    ".running",
    "-journal",
    "-wal",
    "-shm",
)  # SQLite's own files, our lock and marks of runs
_PASSED_ON = ("KINEFLOW_", "MLFLOW_", "OMP_", "MKL_")
_PASSED_ON_WITH_NETWORK = (
    "AWS_", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy",
    "https_proxy", "no_proxy",
)  # fmt: skip
_SHARED_MEMORY = "2g"  # processes that load clips hand them over there; Docker's default is 64 MB


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine, and where a container sees it."""

    source: Path
    target: Path
    read_only: bool = True


def step_user(uid: int, gid: int) -> str:
    """Who a step is: the caller, so that outputs are the caller's; for root the image's own user, in root's group."""
    return f"{uid}:{gid}" if uid else f"{IMAGE_USER}:0"


def open_to_group(paths: Iterable[Path]) -> None:
    """Let the owner's group do with files and folders what the owner can, where they are this user's."""
    for path in paths:
        status = path.stat()
        owners = status.st_mode & stat.S_IRWXU
        if status.st_uid == os.getuid():
            path.chmod(stat.S_IMODE(status.st_mode) | owners >> 3)


def step_mounts(inputs: Iterable[Path], store: Path | None, media: Path | None = None) -> list[Mount]:
    """What a step's container sees beside its outputs.

    Args:
        inputs: Files and folders that steps read; beside the index of a checkpoint of TensorFlow's, its data files too.
        store: SQLite file of the tracking store, None for a server. SQLite must be able to make files beside it, so its
            folder can be written to; what else lies there now is protected.
        media: The project's store of media, which steps add to; None where there is no project.
    """
    mounts = [] if media is None else [Mount(media.resolve(), media, read_only=False)]
    mounts += [Mount(path.resolve(), path.absolute()) for each in inputs for path in (each, *_data_files(each))]
    if store is not None:
        own = {store.name + suffix for suffix in _STORE_SUFFIXES} | {ARTIFACT_FOLDER}
        mounts.append(Mount(store.parent, store.parent, read_only=False))
        mounts += [
            Mount(entry, entry)
            for entry in sorted(store.parent.iterdir())
            if entry.name not in own and not entry.is_symlink() and (entry.is_dir() or entry.is_file())
        ]
    return list({mount.target: mount for mount in reversed(mounts)}.values())[::-1]


def _data_files(index: Path) -> list[Path]:
    return sorted(index.parent.glob(f"{glob.escape(index.stem)}.data-*")) if index.suffix == TENSORFLOW else []


def store_files(store: Path) -> list[Path]:
    """What of a tracking store has to be written to: its files, its folder, and all folders of artifacts."""
    artifacts = store.parent / ARTIFACT_FOLDER
    folders = [artifacts, *(path for path in artifacts.rglob("*") if path.is_dir())] if artifacts.is_dir() else []
    files = (store.with_name(store.name + suffix) for suffix in _STORE_SUFFIXES)
    return [store.parent, *(file for file in files if file.exists()), *folders]


def needs_network(params: Mapping[str, Any], store_uri: str) -> bool:
    """Whether a run reads or writes anything that is not on this machine's disk."""
    return urlsplit(store_uri).scheme not in ("sqlite", "file", "") or any(_uris(params))


def run_settings(environment: Mapping[str, str], *, network: str, user: str, folder: Path) -> dict[str, Any]:
    """Arguments for ``docker run`` that every step is given.

    Args:
        environment: This process's; what steps need of it is passed on.
        network: ``none``, ``host``, or the name of a Docker network.
        user: See :func:`step_user`.
        folder: Working folder.
    """
    return {
        "environment": step_variables(environment, with_network=network != "none"),
        "network_mode": network,
        "user": user,
        "working_dir": str(folder),
        "read_only": True,
        "tmpfs": {"/tmp": "exec"},  # kernels are compiled there
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "shm_size": _SHARED_MEMORY,
    }


def step_variables(environment: Mapping[str, str], *, with_network: bool) -> dict[str, str]:
    """The variables that steps are given; credentials only where there is somebody to show them to."""
    prefixes = (*_PASSED_ON, *(_PASSED_ON_WITH_NETWORK if with_network else ()))
    return {name: value for name, value in environment.items() if name.startswith(prefixes)}


def named_files(variables: Mapping[str, str]) -> list[Path]:
    """What of this machine variables name: files, such as a bundle of certificates, and the folder of weights."""
    files = [Path(value) for value in variables.values() if value.startswith("/") and Path(value).is_file()]
    mirror = Path(variables.get(MIRROR, ""))
    return [*files, mirror] if mirror.is_absolute() and mirror.is_dir() else files


def _uris(value: Any) -> Iterable[str]:
    if isinstance(value, str) and "://" in value:
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _uris(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _uris(part)
