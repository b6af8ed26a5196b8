"""Registering: a version per distinct model, that can be loaded and served."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kineflow.models.bundle import WEIGHTS_FILE, weights_digest
from kineflow.models.card import CARD_FILE, load_card
from kineflow.registry.aliases import (
    CANDIDATE,
    CLIP_SET_TAG,
    CLIPS_TAG,
    DATA_TAG,
    LATENCY_TAG,
    METRICS_TAG,
    OUTCOMES_TAG,
    POLICY_TAG,
    PROTOCOL_DIGEST_TAG,
    PROTOCOL_TAG,
    SIZE_TAG,
    VALIDATION_TAG,
    check_name,
    store_errors,
)
from kineflow.registry.measured import Measured, tested_as
from kineflow.registry.outcomes import OUTCOMES_FILE, Outcomes
from kineflow.registry.policy import Gate
from kineflow.registry.stated_policy import policy_text
from kineflow.serving.served_files import SERVED_TAG, served_files, served_tag
from kineflow.serving.stored_files import ARTIFACTS, CARD_TAG, TESTED_TAG, WEIGHTS_TAG
from kineflow.serving.tested import TESTED_FILE, AsTested
from kineflow.storage.credentials import mask_uri, redact
from kineflow.storage.files import sha256_of
from kineflow.storage.project import current_project
from kineflow.tracking.lineage import lineage_tags
from kineflow.tracking.parent import link_model
from kineflow.tracking.runs import MAX_DIGEST_CHARS, find_or_create_experiment
from kineflow.tracking.store import connect, store_lock, tracking_uri
from kineflow.tracking.validation_tags import outcome_of

MAX_VERSION_TAG_CHARS = 100_000

_FILE_OF = {OUTCOMES_TAG: OUTCOMES_FILE, TESTED_TAG: f"{ARTIFACTS}/{TESTED_FILE}"}


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


def register_student(
    bundle: Path,
    *,
    name: str,
    evaluation: Measured,
    outcomes: Outcomes | None = None,
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
        outcomes: What it answered to each clip; without them it cannot be tested against another version.
        gate: Kept with the registered model, for all of its versions: what a promotion asks for outside of a project.
        run_id: MLflow run that the model belongs to; one of its own is made when None.
        tags: Facts beside the lineage of the bundle, the code and the run.
        example: Bytes of a short video, stored as the input example; one is made when None.
        root: The project's folder; the working folder when None.

    Raises:
        KineflowError: The bundle is damaged or cannot be served, the name is malformed, or the store cannot be used.
    """
    check_name(name)
    root = current_project() if root is None else root
    uri = tracking_uri(root)
    client = connect(uri)
    digest, policy, tested = weights_digest(bundle), policy_text(gate or Gate()), tested_as(evaluation)
    with store_errors(uri):
        facts = {
            **{f"lineage.{key}": value for key, value in load_card(bundle).lineage.items()},
            **{key: value for key, value in lineage_tags(root).items() if not key.startswith(("mlflow.", "env."))},
            **_run_tags(client, run_id),
            **(tags or {}),
            **{f"metric.{key}": f"{value:.6g}" for key, value in evaluation.headline.items()},
            WEIGHTS_TAG: digest,
            DATA_TAG: evaluation.clips_digest,
            CLIPS_TAG: str(evaluation.clips),
            METRICS_TAG: json.dumps(dict(evaluation.metrics), sort_keys=True),
            PROTOCOL_TAG: evaluation.protocol,
            **_known_of_data(client, evaluation),
            CARD_TAG: sha256_of(bundle / CARD_FILE),
            SIZE_TAG: str((bundle / WEIGHTS_FILE).stat().st_size),
            "validation_status": "pending",
        }
    with store_errors(uri), store_lock(uri):
        existing = _find_version(client, name, digest, evaluation)
        if existing is None:
            with _run(client, uri, run_id, name) as belongs_to, _described(facts, outcomes, tested) as files:
                version = _create_version(
                    client, bundle, files, belongs_to, name=name, facts=facts, measured=evaluation, example=example
                )
        else:
            version = str(existing.version)
            with _described(facts, outcomes, tested) as files:
                _complete(client, existing, facts, files)
        client.set_registered_model_tag(name, POLICY_TAG, policy)
        client.set_registered_model_alias(name, CANDIDATE, version)
    return Registration(
        name, version, existing is None, digest, evaluation.clips_digest, evaluation.headline, mask_uri(uri)
    )


def _create_version(
    client: Any,
    bundle: Path,
    files: Path,
    run_id: str,
    *,
    name: str,
    facts: Mapping[str, str],
    measured: Measured,
    example: bytes | None,
) -> str:
    """Store the model's files, then the version with all its tags at once, so that no version is half described."""
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    from kineflow.serving.package_wheel import add_package_wheel
    from kineflow.serving.served_model import latency_ms, save_video_model
    from kineflow.serving.trial import example_video

    logged = client.create_logged_model(
        client.get_run(run_id).info.experiment_id, name=name, source_run_id=run_id, model_type="video"
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "model"
            identity = Model(model_id=logged.model_id, model_uuid=logged.model_id, run_id=run_id)
            video = example or example_video(load_card(bundle))
            save_video_model(local, bundle, mlflow_model=identity, example=video, tested=tested_as(measured))
            facts = {**facts, LATENCY_TAG: f"{latency_ms(local, video):.4g}"}
            add_package_wheel(local)
            facts[SERVED_TAG] = served_tag(served_files(local, f"{ARTIFACTS}/{bundle.name}"))
            client.log_model_artifacts(logged.model_id, str(local))
            client.log_model_artifacts(logged.model_id, str(files))
    except BaseException:
        client.finalize_logged_model(logged.model_id, "FAILED")
        raise
    client.finalize_logged_model(logged.model_id, "READY")
    _log_figures(client, run_id, logged.model_id, measured)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {key: redact(str(value))[:MAX_VERSION_TAG_CHARS] for key, value in facts.items()}
    created = client.create_model_version(
        name,
        source=logged.artifact_location,
        run_id=run_id,
        tags=tags | {"run_id": run_id, "model_id": logged.model_id},
        model_id=logged.model_id,
    )
    version = str(created.version)
    link_model(client, run_id, logged.model_id)
    # By this tag MLflow's page of the model finds its way to the registered version.
    link = json.dumps([{"name": name, "version": version}])
    client.set_logged_model_tags(logged.model_id, {"mlflow.modelVersions": link, WEIGHTS_TAG: facts[WEIGHTS_TAG]})
    return version


@contextmanager
def _described(facts: dict[str, str], outcomes: Outcomes | None, tested: AsTested | None) -> Iterator[Path]:
    """A folder of what is kept beside the model's own files, whose digests are added to the facts."""
    with tempfile.TemporaryDirectory() as folder:
        if tested is not None:
            path = Path(folder) / _FILE_OF[TESTED_TAG]
            path.parent.mkdir()
            tested.save(path)
            facts[TESTED_TAG] = sha256_of(path)
        if outcomes is not None:
            path = Path(folder) / _FILE_OF[OUTCOMES_TAG]
            outcomes.save(path)
            facts[OUTCOMES_TAG] = sha256_of(path)
        yield Path(folder)


def _complete(client: Any, version: Any, facts: Mapping[str, str], files: Path) -> None:
    """Give a version that an earlier release registered what it lacks; what it has stays."""
    lacking = [tag for tag in (OUTCOMES_TAG, TESTED_TAG) if tag in facts and tag not in version.tags]
    for tag in lacking if "model_id" in version.tags else []:
        path = files / _FILE_OF[tag]
        place = None if path.parent == files else path.parent.name
        client.log_model_artifact(version.tags["model_id"], str(path), place)
        client.set_model_version_tag(version.name, version.version, tag, facts[tag])
    for tag in (PROTOCOL_TAG, PROTOCOL_DIGEST_TAG, CLIP_SET_TAG, CARD_TAG, SIZE_TAG):
        if tag in facts and tag not in version.tags:
            client.set_model_version_tag(version.name, version.version, tag, facts[tag])
    if VALIDATION_TAG in facts and facts[VALIDATION_TAG] != version.tags.get(VALIDATION_TAG):  # checked again
        client.set_model_version_tag(version.name, version.version, VALIDATION_TAG, facts[VALIDATION_TAG])


def _log_figures(client: Any, run_id: str, model_id: str, measured: Measured) -> None:
    """Attach the figures to the model, with the data they were measured on."""
    from mlflow.entities import Metric

    time_ms = int(datetime.now(UTC).timestamp() * 1000)
    data = {"dataset_name": "test", "dataset_digest": measured.clips_digest[:MAX_DIGEST_CHARS]}
    figures = measured.headline.items()
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


def _find_version(client: Any, name: str, digest: str, measured: Measured) -> Any | None:
    """The oldest version with these weights, evaluated on this data by this protocol."""
    query = f"name = '{name}' AND tags.`{WEIGHTS_TAG}` = '{digest}'"
    versions = [
        each
        for each in client.search_model_versions(query)
        if each.tags.get(DATA_TAG) == measured.clips_digest and _protocol_of(each, measured).is_scored_as(measured)
    ]
    return min(versions, key=lambda each: int(each.version), default=None)


def _protocol_of(version: Any, measured: Measured) -> Measured:
    words = version.tags.get(PROTOCOL_TAG, measured.protocol)  # earlier releases kept none
    return replace(measured, protocol=words, protocol_digest=version.tags.get(PROTOCOL_DIGEST_TAG, ""))


def _known_of_data(client: Any, measured: Measured) -> dict[str, str]:
    known = {
        PROTOCOL_DIGEST_TAG: measured.protocol_digest,
        CLIP_SET_TAG: measured.clip_set,
        VALIDATION_TAG: measured.validation or outcome_of(client, measured.clip_set),
    }
    return {tag: value for tag, value in known.items() if value}


def _run_tags(client: Any, run_id: str | None) -> dict[str, str]:
    if run_id is None:
        return {}
    kept = ("pipeline.run_id", "kfp.run_id", "dvc.stage", "dvc.experiment")
    tags = client.get_run(run_id).data.tags
    return {key: tags[key] for key in kept if key in tags}
