"""Fetching with DVC into a folder that is whole or absent.

DVC works in a throw-away repository on the same volume, with hard links from its cache to the files, so that nothing is
stored twice. The cache is shared by all who fetch this version and outlives a fetch that was cut short; the next one
goes on with it. A finished folder is renamed into place, which only one of several can do; a lease keeps the others
from doing the same work meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from components.dvc.dvc_command import run_dvc_command
from components.dvc.lease import lease
from components.dvc.settings import FetchDataSettings
from kineflow.storage.client import ADDRESSING_STYLE
from kineflow.storage.disk import translate_full_disk
from kineflow.storage.errors import MISTAKE, OUT_OF_SIGHT, KineflowError
from kineflow.storage.safe_json import parse_json, read_json

COMPLETE_FILE = "_COMPLETE"
"""In a folder of fetched data, written before it takes its name: how many files and bytes it has."""

_FOLDER = ".dir"
_OUT = "data"
_LOG = logging.getLogger("kineflow")  # whose lines the front ends show


@dataclass(frozen=True)
class Fetched:
    """Data on the volume.

    Attributes:
        path: Their folder.
        files: How many files it has, without :data:`COMPLETE_FILE`.
        bytes: Of all of them.
    """

    path: Path
    files: int
    bytes: int


def fetch(params: FetchDataSettings) -> Fetched:
    """Fetch a version unless it is there.

    Raises:
        KineflowError: See :func:`components.fetch_data.fetch_data`.
    """
    into = Path(params.into).resolve()
    target = into / params.version.removesuffix(_FOLDER)
    aside = into / f".fetching-{target.name}"

    def is_there() -> bool:
        return _complete(target) is not None

    if not is_there():
        try:
            with translate_full_disk(into), lease(aside / "lease", stale_sec=params.wait_sec, until=is_there) as ours:
                if ours:
                    _LOG.info("fetching %s from %s", params.version, params.remote)
                    _fetch_aside(params, target, aside)
        except OSError as error:
            raise KineflowError(
                f"cannot be written: {error.strerror}", where=into, remedy="name a folder that this step may write to"
            ) from None
        if is_there():
            shutil.rmtree(aside, ignore_errors=True)
    fetched = _complete(target)
    assert fetched is not None
    return fetched


def _complete(target: Path) -> Fetched | None:
    try:
        totals = read_json(target / COMPLETE_FILE)
        return Fetched(target, int(totals["files"]), int(totals["bytes"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError):
        raise KineflowError(
            "this mark of completion was not written by Kineflow",
            where=target / COMPLETE_FILE,
            remedy=f"remove {target} and run the step again",
        ) from None


def _fetch_aside(params: FetchDataSettings, target: Path, aside: Path) -> None:
    with _repository(params, aside) as (repository, environment):
        try:
            _pull(params, repository, aside / "cache", environment)
            made = _finished(repository, single=not params.version.endswith(_FOLDER))
            if target.exists():  # without its mark: half of a folder that somebody removed, or put there
                raise KineflowError(
                    f"this folder is not complete: it has no {COMPLETE_FILE}",
                    where=target,
                    remedy="remove it and run the step again",
                )
            made.rename(target)
        except (KineflowError, OSError):
            if _complete(target) is None:
                raise
            # Another fetch, which took this one for dead, has won and removed the cache.


@contextmanager
def _repository(params: FetchDataSettings, aside: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A throw-away DVC repository that tracks the wanted version and nothing else, and the environment for DVC."""
    aside.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=aside, prefix="repository-", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryDirectory(prefix="kineflow-dvc-") as state,  # databases, which network file systems break
    ):
        repository = Path(folder)
        (repository / ".dvc").mkdir()
        remote = params.remote if "://" in params.remote else str(Path(params.remote).resolve())
        settings = [
            "[core]\n    no_scm = True\n    remote = store\n    analytics = false\n    check_update = false",
            f'[cache]\n    dir = "{aside / "cache"}"\n    type = "reflink,hardlink,copy"',
            # Files whose content does not fit their hash are refused.
            f'[\'remote "store"\']\n    url = "{remote}"\n    verify = true',
        ]
        if params.endpoint_url:
            settings.append(f'    endpointurl = "{params.endpoint_url}"')
        (repository / ".dvc" / "config").write_text("\n".join(settings) + "\n", encoding="utf-8")
        output = f"- md5: {params.version}\n  hash: md5\n  path: {_OUT}\n"
        (repository / f"{_OUT}.dvc").write_text(f"outs:\n{output}", encoding="utf-8")
        environment = {name: f"{state}/{name}" for name in ("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR")}
        yield repository, environment | _addressing_style(repository)


def _addressing_style(folder: Path) -> dict[str, str]:
    """DVC knows the style from ``~/.aws/config`` only; where there is none, write one for the variable's sake."""
    style = os.environ.get(ADDRESSING_STYLE)
    profile = os.environ.get("AWS_PROFILE", "default")
    if not style or Path(os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser().is_file():
        return {}
    path = folder / "aws-config"
    section = "default" if profile == "default" else f"profile {profile}"
    path.write_text(f"[{section}]\ns3 =\n    addressing_style = {style}\n", encoding="utf-8")
    return {"AWS_CONFIG_FILE": str(path)}


def _pull(params: FetchDataSettings, repository: Path, cache: Path, environment: dict[str, str]) -> None:
    """Bring the wanted version into the cache, then into the folder ``data`` of the repository."""
    jobs = ["--jobs", str(params.jobs)] if params.jobs else []
    if "://" not in params.remote and not Path(params.remote).is_dir():
        raise KineflowError("no such folder", where=params.remote, remedy="give the folder or URL of a DVC remote")
    try:
        run_dvc_command(["fetch", *jobs, f"{_OUT}.dvc"], repository, environment)
    except KineflowError as error:
        raise KineflowError(
            error.problem,
            where=params.remote,
            remedy=f"make sure that version {params.version} is pushed (dvc push) and that this machine may read it "
            "(AWS_… variables, ~/.aws); what was fetched is kept, the same step again goes on",
            exit_code=OUT_OF_SIGHT if error.exit_code == MISTAKE else error.exit_code,
        ) from None
    digest = params.version.removesuffix(_FOLDER)
    kept = cache / "files" / "md5" / digest[:2] / params.version[2:]
    if not kept.is_file():
        raise KineflowError(
            f"the remote does not have version {params.version} of the data",
            where=params.remote,
            remedy="check the hash in data.dvc, and push the data: dvc push data.dvc",
        )
    if params.version.endswith(_FOLDER):
        _check_listing(kept, digest, params.remote)
    try:
        run_dvc_command(["checkout", f"{_OUT}.dvc"], repository, environment)
    except KineflowError as error:
        raise KineflowError(
            error.problem, where=params.remote, remedy="push the data again: dvc push data.dvc"
        ) from None


def _check_listing(path: Path, digest: str, remote: str) -> None:
    """Make sure that a folder's listing is the wanted one, and that no file of it leads out of the folder."""
    content = path.read_bytes()
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != digest:
        path.unlink()
        raise KineflowError("the list of the data's files is damaged", where=remote, remedy="push the data again")
    try:
        entries: list[dict[str, Any]] = parse_json(content)
        names = [(entry["relpath"], PurePosixPath(entry["relpath"])) for entry in entries]
    except (ValueError, TypeError, KeyError):
        raise KineflowError("no list of the data's files", where=remote, remedy="push the data again") from None
    for listed, name in names:
        if name.is_absolute() or ".." in name.parts or not name.parts:
            raise KineflowError(f"path {listed!r} leads outside the data's folder", where=remote)
        if name.parts[0] == COMPLETE_FILE:
            raise KineflowError(f"the data has a file named {COMPLETE_FILE}", where=remote, remedy="rename it")


def _finished(repository: Path, *, single: bool) -> Path:
    """The folder that DVC filled, with its mark of completion."""
    made = repository / _OUT
    if single:
        folder = repository / "folder"
        folder.mkdir()
        made.rename(folder / _OUT)
        made = folder
    sizes = [path.stat().st_size for path in made.rglob("*") if path.is_file()]
    mark = {"files": len(sizes), "bytes": sum(sizes)}
    (made / COMPLETE_FILE).write_text(json.dumps(mark) + "\n", encoding="utf-8")
    return made
