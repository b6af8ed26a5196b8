"""The KFP package of a recipe: what a cluster, and KFP's local runner, execute."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from components.frontend.image import IMAGE
from kineflow.storage.files import atomic_file
from kineflow.storage.project import current_project
from pipelines.dag.graph import graph_of, step_of
from pipelines.dag.recipes import load_pipeline
from pipelines.dag.step_digest import step_digests

STEP_DIGEST = "KINEFLOW_STEP_DIGEST"


def compile_package(recipe: str, params: Mapping[str, Any]) -> str:
    """The package as YAML, with ``params`` as the defaults of the pipeline's parameters.

    Each task carries the digest of the code that can reach its result: KFP's caches look at the image's name and the
    arguments, and would otherwise serve results of older code.

    Args:
        recipe: Name of the recipe.
        params: One value a parameter of the pipeline, already checked.

    Raises:
        KineflowError: No such recipe.
    """
    from google.protobuf.json_format import MessageToDict

    spec: dict[str, Any] = MessageToDict(load_pipeline(recipe, params).pipeline_spec)
    set_defaults(spec, params)
    stamp(spec, IMAGE, step_digests(graph_of(recipe, params), params, current_project()))
    return yaml.safe_dump(spec, sort_keys=True)


def set_defaults(spec: dict[str, Any], params: Mapping[str, Any]) -> None:
    """Make ``params`` the defaults of the pipeline's parameters, in place."""
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    for name, value in params.items():
        inputs[name] |= {"defaultValue": value, "isOptional": True}


def stamp(spec: dict[str, Any], image: str, digests: Mapping[str, str]) -> None:
    """Give every task its image and the digest of its step's code, in place.

    The digest stands in the environment, where a task can read it, and in the program text, where KFP's caches look.

    Args:
        spec: Of a pipeline.
        image: That all tasks run in.
        digests: By step; what is no step of the recipe has none.
    """
    for label, executor in spec["deploymentSpec"]["executors"].items():
        container = executor["container"]
        container["image"] = image
        if digest := digests.get(step_of(label)):
            container["env"] = [*container.get("env", ()), {"name": STEP_DIGEST, "value": digest}]
            container["command"][-1] = f"\n# code: {digest}{container['command'][-1]}"


def write_package(recipe: str, params: Mapping[str, Any], output: Path) -> Path:
    """Write :func:`compile_package` to ``output``."""
    with atomic_file(output) as partial:
        partial.write_text(compile_package(recipe, params), encoding="utf-8")
    return output
