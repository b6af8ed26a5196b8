"""The bundle of a model by any name that people give it: of the registry, of a run, of a folder or on S3."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kineflow.models.bundle import WEIGHTS_FILE
from kineflow.models.card import CARD_FILE
from kineflow.models.remote_bundle import LARGEST_FILES, local_bundle
from kineflow.registry.aliases import CANDIDATE, CHAMPION, NOT_THERE, aliased, check_name, store_errors
from kineflow.serving.stored_files import MODEL_PREFIX, checked_bundle, fetch, files_of_run, find_version, stored
from kineflow.storage.credentials import redact
from kineflow.storage.errors import KineflowError
from kineflow.tracking.store import connect, tracking_uri

RUN_PREFIX = "runs:/"
IN_RECORDS = (MODEL_PREFIX, RUN_PREFIX)
"""Models whose names begin so are looked up among runs and registered models."""

_LATEST = "latest"
_MODEL = "model"  # the artifact of a run that holds a bundle
_LOG = logging.getLogger(__name__)


@contextmanager
def named_bundle(model: str, *, root: Path | None = None) -> Iterator[Path]:
    """Give the folder of a model's bundle; one that was fetched is removed after the block.

    Which version a name without one stands for is told as a log line.

    Args:
        model: ``models:/NAME`` (its champion; its candidate where there is none), ``models:/NAME@ALIAS``,
            ``models:/NAME/VERSION``, ``models:/NAME/latest``, ``runs:/RUN_ID`` (the version that the run, or a step of
            it, registered; else the bundle in its artifact ``model``), ``runs:/RUN_ID/ARTIFACT``, a bundle's folder, or
            ``s3://bucket/prefix``.
        root: The project's folder, where the SQLite store lies by default.

    Raises:
        KineflowError: There is no such model, or its files are not those that were registered.
    """
    if model.startswith(MODEL_PREFIX):
        with checked_bundle(find_version(exact_version(model, root=root), root=root)) as bundle:
            yield bundle
    elif model.startswith(RUN_PREFIX):
        with _bundle_of_run(model, root) as bundle:
            yield bundle
    else:
        with local_bundle(model) as bundle:
            yield bundle


def exact_version(model: str, *, root: Path | None = None) -> str:
    """``models:/NAME`` and ``models:/NAME/latest`` as the name of one version, told as a log line; others as they are.

    Raises:
        KineflowError: There is no such model, or the store cannot be used.
    """
    name, _, number = model.removeprefix(MODEL_PREFIX).rstrip("/").partition("/")
    if "@" in name or number not in ("", _LATEST):
        return model
    uri = tracking_uri(root)
    client = connect(uri, must_exist=True)
    check_name(name)
    with store_errors(uri):
        if number:
            version = max(_versions(client, f"name='{name}'"), key=_number, default=None)
            kind = "version registered last"
        else:
            version, kind = aliased(client, name, CHAMPION), CHAMPION
            if version is None:
                version, kind = aliased(client, name, CANDIDATE), f"{CANDIDATE}; it has no {CHAMPION}"
    if version is None:
        raise KineflowError(
            "no such registered model, or it has neither champion nor candidate",
            where=model,
            remedy=f"name a version, {MODEL_PREFIX}{name}/1, or see the registered models in MLflow",
        )
    _LOG.info("%s is version %s (%s)", model, version.version, kind)
    return f"{MODEL_PREFIX}{name}/{version.version}"


@contextmanager
def _bundle_of_run(model: str, root: Path | None) -> Iterator[Path]:
    from mlflow.exceptions import MlflowException

    run_id, _, artifact = model.removeprefix(RUN_PREFIX).rstrip("/").partition("/")
    uri = tracking_uri(root)
    client = connect(uri, must_exist=True)
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        missing = error.error_code in NOT_THERE
        raise KineflowError(
            "no such run" if missing else f"cannot be looked up: {redact(error.message)}",
            where=model,
            remedy="take the id of a run from MLflow or `kineflow compare`",
        ) from None
    if not artifact:
        with store_errors(uri):
            version = _registered_by(client, run)
        if version is not None:
            _LOG.info("%s is %s version %s", model, version.name, version.version)
            with checked_bundle(stored(client, version, uri)) as bundle:
                yield bundle
            return
    of_run = files_of_run(run_id, str(run.info.artifact_uri), uri)
    with tempfile.TemporaryDirectory(prefix="kineflow-model-") as folder:
        for name in (CARD_FILE, WEIGHTS_FILE):
            try:
                fetch(of_run, f"{artifact or _MODEL}/{name}", Path(folder), LARGEST_FILES[name])
            except KineflowError as error:
                raise KineflowError(
                    f"it has registered no model, and {error.problem}" if not artifact else error.problem,
                    where=model,
                    remedy="name a registered model, or the folder of a bundle, outputs/train_student/model etc.",
                ) from None
        yield Path(folder)


def _registered_by(client: Any, run: Any) -> Any | None:
    """The version that a run registered last, or else that one of its steps did; None where none did."""
    steps = client.search_runs(
        [run.info.experiment_id], filter_string=f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    )
    for run_id in (run.info.run_id, *(step.info.run_id for step in steps)):
        if versions := _versions(client, f"run_id='{run_id}'"):
            return max(versions, key=_number)
    return None


def _versions(client: Any, condition: str) -> list[Any]:
    return list(client.search_model_versions(condition))


def _number(version: Any) -> int:
    return int(version.version)
