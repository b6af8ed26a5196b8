"""Where a recipe's data lie on a cluster: parameters that name local places are made to name places there."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, get_args

from components.frontend.inputs import is_input
from kineflow.data.ingest_settings import IngestSettings
from kineflow.storage.config import Params, RootFolder
from kineflow.storage.errors import KineflowError
from pipelines.cluster.data_version import DataVersion
from pipelines.dag.cluster_settings import ClusterParams
from pipelines.dag.graph import Graph
from pipelines.dag.params import schema_of

DATA_FOLDER = "data"  # what data.dvc tracks
_FETCHED, _MEDIA, _ACCEPTED = "data", "media", "accepted"
_MEDIA_ROOT = "media_root"  # of a section: where its step keeps stored clips, flow or features


def fetched_folder(cluster: ClusterParams) -> str:
    """Folder on the volume that holds fetched data, each version in a folder of its own."""
    return f"{cluster.volume.path}/{_FETCHED}"


def place_data(
    graph: Graph,
    params: Mapping[str, Any],
    cluster: ClusterParams,
    data: DataVersion | None,
) -> dict[str, Any]:
    """The parameters, with every local place in them changed for one on the cluster.

    What lies in the folder that DVC tracks is found in the folder of its version on the volume. Stored clips, flow and
    features, where no place is named for them, go to one place for all runs: they are named by what they are
    (:mod:`kineflow.sets.media`), so that runs which make the same share them and others do not meet.

    Args:
        graph: The recipe's.
        params: Checked.
        cluster: Whose volume it is.
        data: Version of the tracked folder; None where the recipe does not read it.

    Raises:
        KineflowError: A parameter names a file or folder that the cluster does not have.
    """
    schema = schema_of(graph)
    astray: list[str] = []

    def placed(where: str, path: str) -> str:
        cluster_path = _on_cluster(path, cluster, data)
        if cluster_path is None:
            astray.append(f"  {where}: {path!r}")
        return cluster_path or path

    moved = {key: _with_inputs(schema[key], value, key, placed) for key, value in params.items()}
    if astray:
        raise KineflowError(
            "\n".join(["these are no places on the cluster", *astray]),
            where=graph.recipe,
            remedy=f"name s3://…, a place below {cluster.volume.path}, or one below {DATA_FOLDER}/, tracked by DVC",
        )
    return {
        key: value | {_MEDIA_ROOT: _media_of(schema[key], cluster)}
        if _keeps_media(schema[key]) and not value.get(_MEDIA_ROOT)
        else value
        for key, value in moved.items()
    }


def accepted_folder(graph: Graph, params: Mapping[str, Any], cluster: ClusterParams) -> str:
    """Folder on the volume that holds what is kept of the last accepted clip set of a recipe and a source.

    Args:
        graph: The recipe's.
        params: As the user wrote them.
        cluster: Whose volume it is.
    """
    sections = [params[key] for key, kind in schema_of(graph).items() if kind is IngestSettings and key in params]
    named = [[section.get(key, "") for key in ("source", "annotations", "layout")] for section in sections]
    digest = hashlib.sha256(json.dumps([graph.recipe, named]).encode()).hexdigest()[:16]
    return f"{cluster.volume.path}/{_ACCEPTED}/{digest}"


def growing_source(graph: Graph, params: Mapping[str, Any], data: DataVersion | None) -> str:
    """The parameter that says what is ingested, where no version of it is known; empty for none.

    Args:
        graph: The recipe's.
        params: As the user wrote them.
        data: Version of the tracked folder; a source within it does not change.
    """
    sections = (key for key, kind in schema_of(graph).items() if kind is IngestSettings and key in params)
    return next((key for key in sections if not (data and _is_tracked(params[key]))), "")


def _is_tracked(section: Mapping[str, Any]) -> bool:
    places = filter(None, (section["source"], section.get("annotations", "")))
    return all(PurePosixPath(place).is_relative_to(DATA_FOLDER) for place in places)


def _on_cluster(path: str, cluster: ClusterParams, data: DataVersion | None) -> str | None:
    if not path or "://" in path or PurePosixPath(path).is_relative_to(cluster.volume.path):
        return path
    if data and PurePosixPath(path).is_relative_to(DATA_FOLDER):
        below = PurePosixPath(path).relative_to(DATA_FOLDER)
        return str(PurePosixPath(fetched_folder(cluster)) / data.md5.removesuffix(".dir") / below)
    return None


def _with_inputs(kind: type, values: Any, where: str, placed: Callable[[str, str], str]) -> Any:
    """A section with its inputs placed, those of sections in a list within it too."""
    if not (inspect.isclass(kind) and issubclass(kind, Params)):
        return values
    changed = dict(values)
    for name, field in kind.model_fields.items():
        value, here = values.get(name), f"{where}.{name}"
        if is_input(field, value) or (value and name == _MEDIA_ROOT):
            changed[name] = placed(here, str(value))
        elif isinstance(value, list):
            (entry, *_) = (*get_args(field.annotation), object)
            changed[name] = [_with_inputs(entry, item, f"{here}.{number}", placed) for number, item in enumerate(value)]
    return changed


def _keeps_media(kind: type) -> bool:
    return inspect.isclass(kind) and issubclass(kind, Params) and _MEDIA_ROOT in kind.model_fields


def _media_of(kind: type[Params], cluster: ClusterParams) -> str:
    on_volume = f"{cluster.volume.path}/{_MEDIA}"
    may_be_remote = get_args(RootFolder)[1] in kind.model_fields[_MEDIA_ROOT].metadata
    return cluster.media if cluster.media and (may_be_remote or "://" not in cluster.media) else on_volume
