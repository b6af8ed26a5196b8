"""The KFP package of a recipe for a cluster: the recipe's own graph, with what a cluster needs around it.

::

    fetch_data ─ [the recipe; its clips and flow in shards, where that is asked for] ─ close_run (whatever happens)
    list_source ┘

The one for data that DVC tracks, which have a version; the other for a source elsewhere, which may have grown since the
last run: its listing becomes part of what the cache asks of ``ingest``.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from components.frontend.contract import step_names
from kineflow.data.validation.settings import ACCEPTED
from kineflow.storage.errors import KineflowError
from kineflow.storage.project import current_project
from kineflow.tracking.run_variables import PARAMS
from pipelines.cluster.data import accepted_folder, fetched_folder, growing_source, place_data
from pipelines.cluster.data_version import DataVersion
from pipelines.cluster.resources import give_resources, run_environment
from pipelines.dag.cluster_settings import ClusterParams
from pipelines.dag.fan_out import FanOut, fanned_out
from pipelines.dag.graph import Graph, graph_of
from pipelines.dag.package import set_defaults, stamp
from pipelines.dag.recipes import load_pipeline
from pipelines.dag.step_digest import step_digests

_MOST_BYTES = 2**18  # of all annotations of a Kubernetes object
_LOG = logging.getLogger(__name__)


def compile_for_cluster(
    recipe: str,
    params: Mapping[str, Any],
    cluster: ClusterParams,
    *,
    data: DataVersion | None,
    caching: bool = True,
) -> str:
    """The package as YAML of two documents: the pipeline, and what Kubernetes is asked for.

    Args:
        recipe: Name of the recipe.
        params: One value a parameter of the pipeline, already checked; they become its defaults.
        cluster: The section ``cluster``, with an image.
        data: Version of the data that DVC tracks, fetched first; None where the recipe's source is elsewhere.
        caching: Whether steps may take results of earlier runs; those with side effects never do.

    Raises:
        KineflowError: No such recipe; no image is named; resources are given to a step that there is not; or a
            parameter names a place that the cluster does not have.
    """
    graph = graph_of(recipe, params)
    cluster.check_names({*step_names(), *(task.name for task in graph.tasks)})
    traced = load_pipeline(recipe, params)
    described = traced.pipeline_spec.pipeline_info.description
    return compile_around(traced.pipeline_func, graph, params, cluster, described=described, data=data, caching=caching)


def compile_around(
    stages: Callable[..., None],
    graph: Graph,
    params: Mapping[str, Any],
    cluster: ClusterParams,
    *,
    described: str,
    data: DataVersion | None,
    caching: bool,
) -> str:
    """The package of any stages of a recipe, with what a cluster needs around them, as YAML of two documents.

    Args:
        stages: Makes the tasks, when KFP traces it; its signature has the pipeline's parameters.
        graph: Of the recipe's tasks among them.
        params: As for :func:`compile_for_cluster`.
        cluster: Likewise.
        described: What the pipeline does, for people.
        data: As for :func:`compile_for_cluster`.
        caching: Likewise.

    Raises:
        KineflowError: No image is named, or a parameter names a place that the cluster does not have.
    """
    from google.protobuf.json_format import MessageToDict

    if not cluster.image:
        raise KineflowError(
            "no image is named", where="cluster.image", remedy="build and push one, and name it by its digest"
        )
    placed = place_data(graph, params, cluster, data)
    traced = _trace(stages, graph, placed, cluster, data, described=described, recorded=params, caching=caching)
    spec: dict[str, Any] = MessageToDict(traced.pipeline_spec)
    set_defaults(spec, placed)
    stamp(spec, cluster.image, step_digests(graph, params, current_project()))
    text: str = yaml.safe_dump_all([spec, MessageToDict(traced.platform_spec)], sort_keys=True)
    if (size := len(text.encode())) > _MOST_BYTES:
        _LOG.warning(
            "the package has %d kB; Kubeflow Pipelines keeps it in annotations, which hold %d kB together "
            "(kubeflow/pipelines#10968): with fewer cluster.ingest_shards and cluster.flow_shards it is smaller",
            size // 1000,
            _MOST_BYTES // 1000,
        )
    return text


def _trace(
    stages: Callable[..., None],
    graph: Graph,
    params: Mapping[str, Any],
    cluster: ClusterParams,
    data: DataVersion | None,
    *,
    described: str,
    recorded: Mapping[str, Any],
    caching: bool,
) -> Any:
    """The stages as KFP traces them, with resources on every task, and parameters for the run's record."""
    _check_installed()
    from kfp import dsl
    from kfp.dsl.pipeline_context import Pipeline

    from components.frontend.kfp_components import close_run, fetch_data, list_source

    listed = growing_source(graph, recorded, data)
    names = list(inspect.signature(stages).parameters)

    environment = run_environment(graph.recipe, cluster.image, data.md5 if data else "")
    of_steps = {
        "close_run": {PARAMS: json.dumps(recorded, sort_keys=True)},
        "validate": {ACCEPTED: accepted_folder(graph, recorded, cluster)},
    }
    known = {task.name: task for task in graph.tasks}

    def whole(*sections: Any) -> None:
        with dsl.ExitHandler(close_run(params={}), name="recipe"):
            fetched = fetch_data(params=_fetching(cluster, data)) if data else None
            given = dict(zip(names, sections, strict=True))
            if listed:
                given[listed] = list_source(params=given[listed]).outputs["listed"]
            with fanned_out(_fan_outs(cluster)):
                stages(*given.values())
        for task in Pipeline.get_default_pipeline().tasks.values():
            name, step = _shown_as(task), str(task.component_spec.name).replace("-", "_")
            in_recipe = known.get(name)
            if fetched and step == ("list_source" if listed else "ingest"):
                task.after(fetched)
            give_resources(
                task,
                step=step,
                name=name,
                cluster=cluster,
                environment=environment | of_steps.get(step, {}),
                nodes=_nodes(params, in_recipe.sections.values() if in_recipe else ()),
                cached=caching,
            )

    # KFP reads the pipeline's parameters from the signature.
    whole.__signature__ = inspect.signature(stages)  # type: ignore[attr-defined]
    limits = dsl.PipelineConfig(
        active_deadline_seconds=cluster.deadline_sec,
        # All three: Kubeflow's controller has an hour for each, which holds where the package says nothing.
        ttl_seconds_after_finished=cluster.keep_finished_sec,
        ttl_seconds_after_success=cluster.keep_finished_sec,
        ttl_seconds_after_failure=cluster.keep_finished_sec,
    )
    return dsl.pipeline(name=graph.recipe, description=described, pipeline_config=limits)(whole)


def _fan_outs(cluster: ClusterParams) -> dict[str, FanOut]:
    return {
        "ingest": FanOut(cluster.ingest_shards, cluster.ingest_shards_at_once),
        "extract_flow": FanOut(cluster.flow_shards, cluster.flow_shards_at_once),
    }


def _shown_as(task: Any) -> str:
    """What the recipe calls a task: its display name, or KFP's own."""
    return str(task._task_spec.display_name or task.name)


def _check_installed() -> None:
    if importlib.util.find_spec("kfp.kubernetes") is None:
        raise KineflowError(
            "kfp-kubernetes is not installed", remedy="install it with: pip install 'kineflow[cluster]'"
        )


def _fetching(cluster: ClusterParams, data: DataVersion) -> dict[str, str]:
    return {"remote": data.remote, "version": data.md5, "into": fetched_folder(cluster)}


def _nodes(params: Mapping[str, Any], sections: Any) -> int:
    """On how many nodes a task trains: the most that any of its sections asks for."""
    asked = [params[key].get("nodes", 1) for key in sections if isinstance(params[key], Mapping)]
    return max(asked, default=1)
