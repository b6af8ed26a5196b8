"""Registered models: a version per distinct student, and the aliases that say which one is in use.

``candidate``
    The version registered last.
``champion``
    The version in use, moved by :func:`promote` when a gate holds.
``previous``
    The champion before it, to which :func:`rollback` returns.
"""

from __future__ import annotations

import dataclasses
import getpass
import json
import logging
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kineflow.errors import KineflowError
from kineflow.models.bundle import load_card, weights_digest
from kineflow.tracking.lineage import lineage_tags
from kineflow.tracking.policy import Decision, Evaluation, Gate, decide
from kineflow.tracking.runs import MAX_DIGEST_CHARS, find_or_create_experiment
from kineflow.tracking.secrets import mask_uri, redact
from kineflow.tracking.store import connect, store_lock, tracking_uri, unreachable

CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
MAX_TAG_CHARS = 100_000

_WEIGHTS_TAG = "weights.sha256"
_DATA_TAG = "data.version"
_CLIPS_TAG = "data.clips"
_METRICS_TAG = "evaluation.metrics"
_GATE_TAG = "gate"
_FROM_TAG = "promoted_from"
_NONE = "none"
_NOT_THERE = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Registration:
    """A registered version.

    Attributes:
        name: Of the registered model.
        version: Counted from 1 by the registry, as text.
        created: False when the same weights with the same evaluation data were registered already.
        weights_sha256: See :func:`kineflow.models.bundle.weights_digest`.
        data_version: Of the clips it was evaluated on.
        metrics: Its headline figures.
        store: Where it is registered, without credentials.
    """

    name: str
    version: str
    created: bool
    weights_sha256: str
    data_version: str
    metrics: Mapping[str, float]
    store: str

    @property
    def model_uri(self) -> str:
        """By which MLflow finds the version."""
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True)
class Promotion:
    """What :func:`promote` decided and did.

    Attributes:
        name: Of the registered model.
        version: The candidate.
        champion: The champion's version before; None when there was none.
        decision: With its reasons.
        applied: Whether the alias was moved.
    """

    name: str
    version: str
    champion: str | None
    decision: Decision
    applied: bool

    @property
    def allowed(self) -> bool:
        """Whether the gate holds."""
        return self.decision.allowed

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, or why not."""
        return self.decision.reasons


@dataclass(frozen=True)
class Rollback:
    """What :func:`rollback` did: the champion's version now, and before."""

    name: str
    version: str
    replaced: str


def register_student(
    bundle: Path,
    *,
    name: str,
    evaluation: Evaluation,
    gate: Gate | None = None,
    run_id: str | None = None,
    tags: Mapping[str, str] | None = None,
    example: bytes | None = None,
    root: Path | None = None,
) -> Registration:
    """Register a student as a version that can be loaded and served, with the alias ``candidate``.

    Registering again what is there already (same weights, evaluated on the same data) gives the same version.

    Args:
        bundle: See :mod:`kineflow.models.bundle`.
        name: Of the registered model; made when it is not there.
        evaluation: What the model has shown.
        gate: Kept with the version: what :func:`promote` asks for when it is told nothing else.
        run_id: MLflow run that the model belongs to; one of its own is made when None.
        tags: Facts beside the lineage of the bundle, the code and the run.
        example: Bytes of a short video, stored as the input example; one is made when None.
        root: The project's folder; the working folder when None.

    Raises:
        KineflowError: The bundle is damaged or cannot be served, the name is malformed, or the store cannot be used.
    """
    _check_name(name)
    root = Path.cwd() if root is None else root
    uri = tracking_uri(root)
    client = connect(uri)
    digest = weights_digest(bundle)
    facts = {
        **{f"lineage.{key}": value for key, value in load_card(bundle).lineage.items()},
        **{key: value for key, value in lineage_tags(root).items() if not key.startswith(("mlflow.", "env."))},
        **_run_tags(client, run_id),
        **(tags or {}),
        **{f"metric.{key}": f"{value:.6g}" for key, value in evaluation.headline.items()},
        _WEIGHTS_TAG: digest,
        _DATA_TAG: evaluation.data_version,
        _CLIPS_TAG: str(evaluation.clips),
        _METRICS_TAG: json.dumps(dict(evaluation.metrics), sort_keys=True),
        _GATE_TAG: json.dumps(dataclasses.asdict(gate or Gate()), sort_keys=True),
        "validation_status": "pending",
    }
    with _store_errors(uri), store_lock(uri):
        existing = _find_version(client, name, digest, evaluation.data_version)
        if existing is None:
            with _run(client, uri, run_id, name) as belongs_to:
                version = _create_version(
                    client, bundle, belongs_to, name=name, facts=facts, shown=evaluation, example=example
                )
        else:
            version = existing
        client.set_registered_model_alias(name, CANDIDATE, version)
    return Registration(
        name, version, existing is None, digest, evaluation.data_version, evaluation.headline, mask_uri(uri)
    )


def promote(
    name: str,
    version: str | None = None,
    *,
    gate: Gate | None = None,
    dry_run: bool = True,
    other_data_allowed: bool = False,
    by: str | None = None,
    root: Path | None = None,
) -> Promotion:
    """Make a version the champion if the gate holds.

    Args:
        name: Of the registered model.
        version: The candidate; the one with the alias ``candidate`` when None.
        gate: What is asked for; the gate it was registered with when None.
        dry_run: Decide only.
        other_data_allowed: Compare with the champion even if it was evaluated on other data.
        by: Who promotes, for the record; the user's name when None.
        root: The project's folder; the working folder when None.

    Raises:
        KineflowError: There is no such model or version, or the store cannot be used.
    """
    _check_name(name)
    uri = tracking_uri(root)
    client = connect(uri, must_exist=True)
    with _store_errors(uri), store_lock(uri):
        candidate, champion = _version(client, name, version, uri), _aliased(client, name, CHAMPION)
        number, before = str(candidate.version), None if champion is None else str(champion.version)
        if number == before:
            decision = Decision(False, (f"version {number} is the champion already",))
            return Promotion(name, number, before, decision, applied=False)
        held = None if champion is None else _evaluation_of(champion)
        shown, gate = _evaluation_of(candidate), gate or _gate_of(candidate)
        decision = decide(shown, held, gate, other_data_allowed=other_data_allowed)
        if decision.allowed and not dry_run:
            _crown(client, name, number, before, by=by or _user())
    return Promotion(name, number, before, decision, applied=decision.allowed and not dry_run)


def rollback(name: str, *, by: str | None = None, root: Path | None = None) -> Rollback:
    """Return to the champion before the present one; again, to the one before that.

    Args:
        name: Of the registered model.
        by: Who does it, for the record; the user's name when None.
        root: The project's folder; the working folder when None.

    Raises:
        KineflowError: There is no champion, or none before it, or the store cannot be used.
    """
    _check_name(name)
    uri = tracking_uri(root)
    client = connect(uri, must_exist=True)
    with _store_errors(uri), store_lock(uri):
        champion, previous = _aliased(client, name, CHAMPION), _aliased(client, name, PREVIOUS)
        if champion is None or previous is None:
            missing = "no champion" if champion is None else "no champion before the present one"
            raise KineflowError(
                f"model {name!r} has {missing}", where=mask_uri(uri), remedy="promote a version: kineflow promote"
            )
        client.set_model_version_tag(name, champion.version, "rolled_back_at", _now())
        client.set_model_version_tag(name, champion.version, "rolled_back_by", by or _user())
        client.set_registered_model_alias(name, CHAMPION, previous.version)
        older = previous.tags.get(_FROM_TAG, _NONE)
        if older in (_NONE, str(champion.version)):
            client.delete_registered_model_alias(name, PREVIOUS)
        else:
            client.set_registered_model_alias(name, PREVIOUS, older)
    return Rollback(name, str(previous.version), str(champion.version))


def _create_version(
    client: Any,
    bundle: Path,
    run_id: str,
    *,
    name: str,
    facts: Mapping[str, str],
    shown: Evaluation,
    example: bytes | None,
) -> str:
    """Store the model's files, then the version with all its tags at once, so that no version is half described."""
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    from kineflow.tracking.serving import save_video_model

    logged = client.create_logged_model(
        client.get_run(run_id).info.experiment_id, name=name, source_run_id=run_id, model_type="video"
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "model"
            identity = Model(model_id=logged.model_id, model_uuid=logged.model_id, run_id=run_id)
            save_video_model(local, bundle, mlflow_model=identity, example=example)
            client.log_model_artifacts(logged.model_id, str(local))
    except BaseException:
        client.finalize_logged_model(logged.model_id, "FAILED")
        raise
    client.finalize_logged_model(logged.model_id, "READY")
    _log_figures(client, run_id, logged.model_id, shown)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {key: redact(str(value))[:MAX_TAG_CHARS] for key, value in facts.items()}
    created = client.create_model_version(
        name,
        source=logged.artifact_location,
        run_id=run_id,
        tags=tags | {"run_id": run_id, "model_id": logged.model_id},
        model_id=logged.model_id,
    )
    version = str(created.version)
    # By this tag MLflow's page of the model finds its way to the registered version.
    link = json.dumps([{"name": name, "version": version}])
    client.set_logged_model_tags(logged.model_id, {"mlflow.modelVersions": link, _WEIGHTS_TAG: facts[_WEIGHTS_TAG]})
    return version


def _log_figures(client: Any, run_id: str, model_id: str, shown: Evaluation) -> None:
    """Attach the figures to the model, with the data they were measured on."""
    from mlflow.entities import Metric

    time_ms = int(datetime.now(UTC).timestamp() * 1000)
    data = {"dataset_name": "test", "dataset_digest": shown.data_version[:MAX_DIGEST_CHARS]}
    figures = shown.headline.items()
    client.log_batch(run_id, [Metric(name, value, time_ms, 0, model_id=model_id, **data) for name, value in figures])


@contextmanager
def _run(client: Any, uri: str, run_id: str | None, name: str) -> Iterator[str]:
    """The given run, or one that lasts for this block."""
    if run_id is not None:
        yield run_id
        return
    experiment = find_or_create_experiment(client, uri, name)
    own = client.create_run(experiment, run_name="register").info.run_id
    status = "FAILED"
    try:
        yield own
        status = "FINISHED"
    finally:
        client.set_terminated(own, status)


def _find_version(client: Any, name: str, digest: str, data_version: str) -> str | None:
    """The oldest version with these weights and this evaluation data."""
    query = f"name = '{name}' AND tags.`{_WEIGHTS_TAG}` = '{digest}'"
    versions = [found for found in client.search_model_versions(query) if found.tags.get(_DATA_TAG) == data_version]
    return min((str(found.version) for found in versions), key=int, default=None)


def _version(client: Any, name: str, version: str | None, uri: str) -> Any:
    from mlflow.exceptions import MlflowException

    found = None
    if version is None:
        found = _aliased(client, name, CANDIDATE)
    else:
        try:
            found = client.get_model_version(name, str(version))
        except MlflowException as error:
            if error.error_code not in _NOT_THERE:
                raise
    if found is None:
        which = f"version {version!r}" if version else f"alias {CANDIDATE!r}"
        raise KineflowError(
            f"no registered model {name!r} with {which}", where=mask_uri(uri), remedy="run the register step first"
        )
    return found


def _aliased(client: Any, name: str, alias: str) -> Any | None:
    """The version that bears an alias, or None: a missing alias and a missing model have different error codes."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in _NOT_THERE:
            return None
        raise


def _crown(client: Any, name: str, version: str, before: str | None, *, by: str) -> None:
    """Tags first: a version that bears the alias always says since when, through whom, and what it replaced."""
    facts = {
        "promoted_at": _now(),
        "promoted_by": redact(by),
        _FROM_TAG: before or _NONE,
        "validation_status": "passed",
    }
    for key, value in facts.items():
        client.set_model_version_tag(name, version, key, value)
    if before is not None:
        client.set_registered_model_alias(name, PREVIOUS, before)
    client.set_registered_model_alias(name, CHAMPION, version)


def _evaluation_of(version: Any) -> Evaluation:
    try:
        metrics = {str(key): float(value) for key, value in json.loads(version.tags[_METRICS_TAG]).items()}
        return Evaluation(metrics, version.tags[_DATA_TAG], int(version.tags.get(_CLIPS_TAG, 0)))
    except (KeyError, ValueError, AttributeError, TypeError):
        raise KineflowError(
            f"version {version.version} of {version.name!r} does not say what it has shown",
            remedy="register the model with the register step, which stores its evaluation",
        ) from None


def _gate_of(version: Any) -> Gate:
    try:
        return Gate(**json.loads(version.tags[_GATE_TAG]))
    except (KeyError, ValueError, TypeError):
        return Gate()


def _run_tags(client: Any, run_id: str | None) -> dict[str, str]:
    if run_id is None:
        return {}
    kept = ("pipeline.run_id", "kfp.run_id", "dvc.stage", "dvc.experiment")
    tags = client.get_run(run_id).data.tags
    return {key: tags[key] for key in kept if key in tags}


def _check_name(name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise KineflowError(
            f"a registered model cannot be called {name!r}",
            remedy="use letters, digits, '.', '_' and '-', at most 100, a letter or digit first",
        )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _store_errors(uri: str) -> Iterator[None]:
    """Turn a store's failure into an error a user can mend."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise unreachable(uri, error) from None
