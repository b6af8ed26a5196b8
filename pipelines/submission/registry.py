"""Pipelines, their versions and experiments on a server: found by name, or made."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from kineflow.storage.errors import KineflowError
from pipelines.submission.server import Server, id_in

_COMMIT_DIGITS = 8
_DIGEST_DIGITS = 8
_PAGE = 100


def version_name(package: str, commit: str | None, *, dirty: bool) -> str:
    """The name of a package by its content: ``<commit>[-dirty]-<digest>``; ``unversioned`` where git knows nothing."""
    digest = hashlib.sha256(package.encode("utf-8")).hexdigest()[:_DIGEST_DIGITS]
    return "-".join(
        part for part in (commit[:_COMMIT_DIGITS] if commit else "unversioned", dirty and "dirty", digest) if part
    )


def pipeline_name(recipe: str) -> str:
    """What a recipe is called on a cluster, where names are DNS labels: ``d3d-variants`` for ``d3d_variants``."""
    return recipe.replace("_", "-")


def named(name: str) -> str:
    """A filter for the objects of this display name, as the API wants it."""
    predicate = {"operation": "EQUALS", "key": "display_name", "string_value": name}
    return json.dumps({"predicates": [predicate]})


def find_or_make_pipeline(server: Server, name: str, description: str) -> dict[str, Any]:
    """The pipeline of this name; made without a version where it is missing."""
    namespace = server.access.namespace

    def find() -> dict[str, Any] | None:
        scope = {"namespace": namespace} if namespace else {}
        return server.find(server.pipelines.pipeline_service_get_pipeline_by_name, name=name, **scope)

    pipeline = find()
    if pipeline is None:
        body = {"name": name, "display_name": name, "description": description}
        body |= {"namespace": namespace} if namespace else {}
        pipeline, _ = server.create(server.pipelines.pipeline_service_create_pipeline, find, pipeline=body)
    return pipeline


def find_or_make_version(
    server: Server, pipeline_id: str, name: str, package: str, description: str
) -> tuple[dict[str, Any], bool]:
    """The version of this name, and whether it was there already; its name says its content, so that it is the same."""

    def find() -> dict[str, Any] | None:
        answer = server.read(
            server.pipelines.pipeline_service_list_pipeline_versions,
            pipeline_id=pipeline_id, filter=named(name), page_size=_PAGE,
        )  # fmt: skip
        return next((version for version in answer.get("pipeline_versions", []) if _is_named(version, name)), None)

    existing = find()
    if existing is not None:
        return existing, True
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        file.write_text(package, encoding="utf-8")
        upload = {"name": name, "display_name": name, "pipelineid": pipeline_id, "description": description}
        made, _ = server.create(server.uploads.upload_pipeline_version, find, uploadfile=str(file), **upload)
    return made, False


def find_experiment(server: Server, name: str) -> dict[str, Any] | None:
    """The experiment of this name, or None."""
    scope = {"namespace": server.access.namespace} if server.access.namespace else {}
    answer = server.read(
        server.experiments.experiment_service_list_experiments, filter=named(name), page_size=_PAGE, **scope
    )
    return next((each for each in answer.get("experiments", []) if each.get("display_name") == name), None)


def find_or_make_experiment(server: Server, name: str) -> dict[str, Any]:
    """The experiment of this name; made where it is missing."""
    experiment = find_experiment(server, name)
    if experiment is None:
        body = {"display_name": name}
        body |= {"namespace": server.access.namespace} if server.access.namespace else {}
        experiment, _ = server.create(
            server.experiments.experiment_service_create_experiment,
            lambda: find_experiment(server, name),
            experiment=body,
        )
    return experiment


def existing_experiment(server: Server, name: str) -> str:
    """The id of an experiment.

    Raises:
        KineflowError: There is none of this name.
    """
    experiment = find_experiment(server, name)
    if experiment is None:
        raise KineflowError(
            f"no experiment {name!r}", where=server.access.host, remedy="leave out --experiment to see all"
        )
    return id_in(experiment, "experiment_id", server.access.host)


def _is_named(version: dict[str, Any], name: str) -> bool:
    return name in (version.get("name"), version.get("display_name"))
