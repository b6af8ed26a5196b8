"""Where runs and models are recorded: a SQLite file beside the work by default, a tracking server when one is named.

MLflow's default file is used, so that ``mlflow ui`` started in the same folder shows the same runs. Several processes
that open a fresh SQLite file at once each try to create its tables, and the file stays broken for good; so the file is
made here, once, under a lock, and renamed into place whole.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shlex
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kineflow.storage.credentials import mask_uri, redact
from kineflow.storage.disk import full_disk
from kineflow.storage.errors import MISTAKE, OUT_OF_SIGHT, KineflowError
from kineflow.storage.files import atomic_file
from kineflow.storage.locks import is_held
from kineflow.storage.project import current_project
from kineflow.tracking.locations import earlier_folders, experiment_folder, follow_move, marks_folder

DATABASE_FILE = "mlflow.db"

_LOG = logging.getLogger(__name__)
_SQLITE = "sqlite:///"
_WITHOUT_ADDRESS = ("databricks", "uc:")  # of URIs that MLflow takes
_SQLITE_FULL = "database or disk is full"
_REVISION = re.compile(
    r"^revision\b[^=\n]*= *[\"'](?P<own>\w+)[\"']\n+down_revision\b[^=\n]*= *(?:[\"'](?P<before>\w+)[\"']|None)",
    re.MULTILINE,
)
_LOCK_TIMEOUT_SEC = 300.0
_SERVER_ERROR, _TOO_MANY_REQUESTS = 500, 429  # MLflow makes 500 of 408 and 425, which it has no words for
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the URL may hold a password
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # MLflow's own 7 wait for minutes when a server is gone
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


def tracking_uri(root: Path | None = None) -> str:
    """``MLFLOW_TRACKING_URI`` if it is set, else the SQLite file in ``root`` (the project when None).

    The path of a SQLite file is relative to ``root``, whatever the working folder, and is made absolute. The result may
    hold credentials: print it through :func:`kineflow.storage.credentials.mask_uri` only.
    """
    folder = current_project() if root is None else root
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        return f"{_SQLITE}{(folder / DATABASE_FILE).resolve()}"
    return absolute_uri(uri, folder)


def absolute_uri(uri: str, folder: Path) -> str:
    """A URI that means the same from every folder.

    Raises:
        KineflowError: It names a folder: MLflow takes none any more.
    """
    database = database_file(uri)
    if database is not None:
        return f"{_SQLITE}{(folder / database).resolve()}"
    if uri.startswith("file:") or not ("://" in uri or uri.startswith(_WITHOUT_ADDRESS)):
        raise KineflowError(
            f"{uri!r} names a folder, and MLflow keeps runs in a database or on a server",
            where="MLFLOW_TRACKING_URI or MLFLOW_REGISTRY_URI",
            remedy=f"name a file: {_SQLITE}{uri.removeprefix('file:').removeprefix('//').rstrip('/')}.db; or unset it",
        )
    return uri


def database_file(uri: str) -> Path | None:
    """The file of a SQLite URI; None for a server, another database, or SQLite in memory."""
    path = uri.removeprefix(_SQLITE).partition("?")[0]
    return Path(path) if uri.startswith(_SQLITE) and path and path != ":memory:" else None


def quiet_mlflow() -> None:
    """Turn off MLflow's telemetry, pickle loading and chatter for this process and its children.

    Takes effect when it is called before the first ``import mlflow``; what the user has set stays.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)


def prepare_store(uri: str | None = None, *, may_be_read_only: bool = False) -> str:
    """Make sure that the store can be opened by many processes at once; call it before any of them does.

    A fresh SQLite file gets its tables exactly once; one that was moved or copied finds its files again. Else this
    costs milliseconds and does not import MLflow; servers and other databases are left alone.

    Args:
        uri: Where to; :func:`tracking_uri` when None.
        may_be_read_only: Only warn of one that was moved and cannot be written.

    Returns:
        The tracking URI.

    Raises:
        KineflowError: The file exists and is no MLflow database, or was moved and cannot be written.
    """
    uri = tracking_uri() if uri is None else uri
    quiet_mlflow()
    database = database_file(uri)
    if database is None:
        return uri
    if not _has_tables(database):
        with store_lock(uri):
            if not _has_tables(database):
                _create_tables(database)
    else:
        _follow(uri, database, may_be_read_only=may_be_read_only)
    return uri


def _follow(uri: str, database: Path, *, may_be_read_only: bool) -> None:
    before = "it may have moved"
    try:
        earlier = earlier_folders(database)
        if not earlier:
            return
        before = f"it lay in {earlier[0]} before"
        if any(is_held(mark) for mark in marks_folder(database).glob("*-*")):
            _LOG.warning(
                "%s: %s, and a run in it is under way; places of files are corrected when it has ended",
                database,
                before,
            )
            return
        with store_lock(uri):
            corrected = follow_move(database)
    except (OSError, sqlite3.Error) as error:
        if may_be_read_only and _is_read_only(error):
            _LOG.warning("%s: %s, and cannot be written: files of runs and models may not be found", database, before)
            return
        raise KineflowError(
            f"{before}, and cannot be told where its files are now: {error}",
            where=database,
            remedy="see that you may write to the file and its folder; nothing was changed",
        ) from None
    if corrected:
        _LOG.warning(
            "%s was in %s before: %d places in it now name the files beside it", database, earlier[0], corrected
        )


def _is_read_only(error: OSError | sqlite3.Error) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY  # its kinds are in the higher bits


def check_store(uri: str | None = None) -> None:
    """See that a SQLite file, where it is there, is one that the installed MLflow can use; servers are not asked.

    Raises:
        KineflowError: It is not.
    """
    database = database_file(tracking_uri() if uri is None else uri)
    if database is not None:
        _has_tables(database)


def connect(uri: str | None = None, *, must_exist: bool = False) -> Any:
    """An ``mlflow.MlflowClient`` on a prepared store, for runs and for the registry.

    Args:
        uri: Where to; :func:`tracking_uri` when None.
        must_exist: For looking: do not make a SQLite file that is not there, and take one that cannot be written.

    Raises:
        KineflowError: The store cannot be opened, or is not there and must be.
    """
    uri = tracking_uri() if uri is None else uri
    database = database_file(uri)
    if must_exist and database is not None and not database.exists():
        raise KineflowError(
            "nothing has been recorded yet", where=database, remedy="run a recipe first: kineflow run d3d"
        )
    uri = prepare_store(uri, may_be_read_only=must_exist)
    registry = os.environ.get("MLFLOW_REGISTRY_URI", "")
    if registry:
        registry = prepare_store(absolute_uri(registry, current_project()), may_be_read_only=must_exist)
    from mlflow import MlflowClient

    # It prints a traceback of what it raises too, which reaches the user as a message of ours.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    try:
        return MlflowClient(tracking_uri=uri, registry_uri=registry or uri)
    except Exception as error:  # whatever a database driver raises
        raise unreachable(uri, error) from None


@contextmanager
def named_failures(uri: str) -> Iterator[None]:
    """Say of any failure of the store in the block which store it is.

    Raises:
        KineflowError: Whatever a server or a database driver raises, in words.
    """
    try:
        yield
    except KineflowError:
        raise
    except Exception as error:
        raise unreachable(uri, error) from None


def experiment_ids(client: Any) -> list[str]:
    """Of all experiments."""
    return [experiment.experiment_id for experiment in client.search_experiments()]


def unreachable(uri: str, error: Exception) -> KineflowError:
    """The error to raise when the store does not answer."""
    if _SQLITE_FULL in str(error):
        return full_disk(database_file(uri))
    reason = redact(str(error)).strip().splitlines() or [type(error).__name__]
    is_file = database_file(uri) is not None
    return KineflowError(
        f"the tracking store cannot be used: {reason[0][:500]}",
        where=mask_uri(uri),
        remedy="see that nothing else writes to the file and that you may; or move it away, and a new one is made"
        if is_file
        else "start the server and check MLFLOW_TRACKING_URI, or unset it to track in the project's mlflow.db",
        exit_code=OUT_OF_SIGHT if not is_file and _may_pass(error) else MISTAKE,
    )


def _may_pass(error: Exception) -> bool:
    """Whether a server did not answer, or said that it cannot now; one that said no would say it again."""
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        return True
    status: int = error.get_http_status_code()  # type: ignore[no-untyped-call]
    return status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS


def artifact_location(uri: str, experiment: str) -> str | None:
    """Where an experiment's files go: beside a SQLite file; None (the server decides) otherwise."""
    database = database_file(uri)
    return None if database is None else str(experiment_folder(database, experiment))


@contextmanager
def store_lock(uri: str) -> Iterator[None]:
    """Keep other processes of this machine from the same find-or-create on the same store."""
    from filelock import FileLock, Timeout

    path = _lock_file(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=_LOCK_TIMEOUT_SEC):
            yield
    except Timeout:
        raise KineflowError(
            f"another process has held this lock for {_LOCK_TIMEOUT_SEC:.0f} s",
            where=path,
            remedy="end that process; the lock goes with it",
        ) from None


def _lock_file(uri: str) -> Path:
    database = database_file(uri)
    if database is not None:
        return database.with_name(f"{database.name}.lock")
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"kineflow-{owner}" / f"{hashlib.sha256(uri.encode()).hexdigest()[:16]}.lock"


def _has_tables(database: Path) -> bool:
    """Whether this is an MLflow database; False where there is no file yet, or an empty one.

    Raises:
        KineflowError: It is something else, or of another version of MLflow.
    """
    if not database.is_file() or database.stat().st_size == 0:
        return False
    revision = None
    try:
        with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=60)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "alembic_version" in tables:
                revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise KineflowError(f"not an MLflow database: {error}", where=database, remedy=_MOVE_AWAY) from None
    if tables and not revision:
        raise KineflowError("not a whole MLflow database", where=database, remedy=_MOVE_AWAY)
    if revision:
        _check_revision(str(revision[0]), database)
    return revision is not None


def _check_revision(revision: str, database: Path) -> None:
    known, latest = _revisions()
    if revision == latest or not known:
        return
    installed = metadata.version("mlflow")
    if revision in known:
        raise KineflowError(
            f"made by an older MLflow than {installed}, which is installed",
            where=database,
            remedy=f"copy the file, then run: mlflow db upgrade {shlex.quote(f'{_SQLITE}{database.resolve()}')}",
        )
    raise KineflowError(
        f"made by a newer MLflow than {installed}, which is installed",
        where=database,
        remedy="install the MLflow that made it; or move the file away, and a new one is made",
    )


@cache
def _revisions() -> tuple[frozenset[str], str]:
    """The versions of a database that the installed MLflow knows, and its own, read from its files: they cost nothing.

    Nothing is known where those files lie elsewhere.
    """
    spec = find_spec("mlflow")
    folders = spec.submodule_search_locations if spec else None
    versions = [
        path for folder in folders or () for path in Path(folder, "store", "db_migrations", "versions").glob("*.py")
    ]
    pairs = [_REVISION.search(path.read_text(encoding="utf-8")) for path in versions]
    known = {pair["own"]: pair["before"] for pair in pairs if pair}
    heads = known.keys() - set(known.values())
    return (frozenset(known), heads.pop()) if len(heads) == 1 else (frozenset(), "")


_MOVE_AWAY = "move the file away and run again: a new one is made"


def _create_tables(database: Path) -> None:
    from mlflow.store.db import utils as untyped

    utils: Any = untyped

    with atomic_file(database) as partial:
        engine = utils.create_sqlalchemy_engine_with_retry(f"{_SQLITE}{partial.resolve()}")
        try:
            utils._initialize_tables(engine)
        finally:
            engine.dispose()
