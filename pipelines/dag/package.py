"""The KFP package of a recipe: what a cluster, and KFP's local runner, execute."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from components.image import IMAGE
from kineflow.storage.files import atomic_file
from pipelines.dag.graph import step_of
from pipelines.dag.recipes import load_pipeline
from pipelines.dag.sources import source_digest

SOURCE_DIGEST = "KINEFLOW_SOURCE_DIGEST"


def compile_package(recipe: str, params: Mapping[str, Any], *, digest: str | None = None) -> str:
    """The package as YAML, with ``params`` as the defaults of the pipeline's parameters.

    Each task carries the digest of the source files it can import: KFP's caches look at the image's name and the
    arguments, and would otherwise serve results of older code.

    Args:
        recipe: Name of the recipe.
        params: One value a parameter of the pipeline, already checked.
        digest: Put in place of the true digests, so that a golden package does not change with every line of code.

    Raises:
        KineflowError: No such recipe.
    """
    from google.protobuf.json_format import MessageToDict

    spec: dict[str, Any] = MessageToDict(load_pipeline(recipe).pipeline_spec)
    set_defaults(spec, params)
    stamp(spec, IMAGE, digest)
    return yaml.safe_dump(spec, sort_keys=True)


def set_defaults(spec: dict[str, Any], params: Mapping[str, Any]) -> None:
    """Make ``params`` the defaults of the pipeline's parameters, in place."""
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    for name, value in params.items():
        inputs[name] |= {"defaultValue": value, "isOptional": True}


def stamp(spec: dict[str, Any], image: str, digest: str | None = None) -> None:
    """Give every task its image and the digest of the source files that it can import, in place.

    The digest stands in the environment, where a task can read it, and in the program text, where KFP's caches look.

    Args:
        spec: Of a pipeline.
        image: That all tasks run in.
        digest: In place of the true ones.
    """
    for label, executor in spec["deploymentSpec"]["executors"].items():
        container = executor["container"]
        said = digest or source_digest(step_of(label))
        container["image"] = image
        container["env"] = [*container.get("env", ()), {"name": SOURCE_DIGEST, "value": said}]
        container["command"][-1] = f"\n# sources: {said}{container['command'][-1]}"


def write_package(recipe: str, params: Mapping[str, Any], output: Path) -> Path:
    """Write :func:`compile_package` to ``output``."""
    with atomic_file(output) as partial:
        partial.write_text(compile_package(recipe, params), encoding="utf-8")
    return output
