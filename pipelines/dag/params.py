"""A recipe's parameter file, checked against its DAG before any work starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.frontend.contract import Signature, load_step
from components.frontend.run import check_seed
from kineflow.storage.config import Params, parse_params, read_yaml
from kineflow.storage.credentials import WHERE_THEY_BELONG, has_credentials, mask_uri
from kineflow.storage.errors import KineflowError
from kineflow.storage.project import current_project
from pipelines.dag.graph import Graph, graph_of, optional_graphs
from pipelines.dag.recipes import tasks_left_out

if TYPE_CHECKING:
    from pipelines.dag.cluster_settings import ClusterParams

CLUSTER = "cluster"  # the section that says how a cluster runs a recipe


def demo_params(recipe: str) -> Path:
    """The project's parameter file for a recipe: ``params/<recipe>.yaml``, or ``params.yaml`` where that is missing.

    Raises:
        KineflowError: There is neither.
    """
    project = current_project()
    for path in (project / "params" / f"{recipe}.yaml", project / "params.yaml"):
        if path.is_file():
            return path
    raise KineflowError(
        "no params.yaml here", where=project, remedy="name a file with --params, or make a project with: kineflow init"
    )


def graph_for(recipe: str, path: Path) -> Graph:
    """The DAG of a recipe, with its optional steps where a parameter file has a section of theirs.

    Raises:
        KineflowError: No such recipe, or the file cannot be read.
    """
    return graph_of(recipe, given_keys(path))


def load_params(graph: Graph, path: Path) -> dict[str, Any]:
    """The checked contents of a parameter file, with every default filled in.

    A section may be left out where none of its keys is required, and a plain value where its steps have a default.

    Raises:
        KineflowError: A key is unknown or missing, or a value has the wrong type or lies outside its range. All faults
            are named in one message.
    """
    given = given_keys(path)
    schema = schema_of(graph)
    faults = [
        f"  {key}: unknown section; known: {', '.join(sorted(schema))}" for key in sorted(set(given) - set(schema))
    ]
    checked: dict[str, Any] = {}
    for key, kind in schema.items():
        try:
            checked[key] = _check(kind, given[key] if key in given else _left_out(graph, key, kind), key)
        except KineflowError as error:
            faults += error.problem.splitlines()[1:] or [f"  {key}: {error.problem}"]
    faults += _unknown_models(graph, checked)
    try:
        load_cluster(path)
    except KineflowError as error:
        faults += error.problem.splitlines()[1:]
    if faults:
        raise KineflowError(
            "\n".join(["invalid parameters", *faults]), where=path, remedy="correct them; nothing has run"
        )
    return checked


def given_keys(path: Path) -> dict[str, Any]:
    """What a parameter file holds for its recipe, as it is written: without the section ``cluster``.

    Raises:
        KineflowError: The file cannot be read, or is no mapping.
    """
    return {key: value for key, value in read_yaml(path).items() if key != CLUSTER}


def _left_out(graph: Graph, key: str, kind: type) -> Any:
    """What holds for a key that is not in the file.

    Raises:
        KineflowError: The file must have it.
    """
    if issubclass(kind, Params):
        if required := [name for name, field in kind.model_fields.items() if field.is_required()]:
            raise KineflowError(f"missing; it has to give {', '.join(required)}")
        return {}
    defaults = {
        Signature.of(load_step(task.module)).defaults.get(argument)
        for task in graph.tasks
        for argument, section in task.sections.items()
        if section == key
    }
    if len(defaults) > 1 or None in defaults:
        raise KineflowError("missing")
    return defaults.pop()


def load_cluster(path: Path) -> ClusterParams | None:
    """The checked section ``cluster``, which is no part of any recipe.

    Args:
        path: Parameter file; where it has no such section, that of the project's ``params.yaml`` holds.

    Returns:
        None where neither has one.

    Raises:
        KineflowError: A key is unknown or missing, or a value has the wrong type or lies outside its range.
    """
    from pipelines.dag.cluster_settings import ClusterParams

    own, common = read_yaml(path), current_project() / "params.yaml"
    values = own.get(CLUSTER) or (read_yaml(common).get(CLUSTER) if common.is_file() else None)
    return None if values is None else parse_params(ClusterParams, values, where=CLUSTER)


def schema_of(graph: Graph) -> dict[str, type]:
    """What each key of the parameter file is: a section's class, or a plain type such as int.

    Raises:
        KineflowError: Two tasks read one key as two different things.
    """
    schema: dict[str, type] = {}
    for task in graph.tasks:
        signature = Signature.of(load_step(task.module))
        for argument, key in task.sections.items():
            kind = signature.sections.get(argument) or signature.values[argument]
            if schema.setdefault(key, kind) is not kind:
                raise KineflowError(
                    f"{key} is read as {schema[key].__name__} and as {kind.__name__}", where=graph.recipe
                )
    return {key: schema[key] for key in graph.parameters if key in schema}


def _check(kind: type, value: Any, key: str) -> Any:
    if issubclass(kind, Params):
        if not isinstance(value, Mapping):
            raise KineflowError(f"a mapping is expected, not {mask_uri(repr(value))}")
        # KFP has no null; every field that may be null is so by default.
        return parse_params(kind, value, where=key).model_dump(mode="json", exclude_none=True)
    if type(value) is not kind:
        raise KineflowError(f"{kind.__name__} is expected, not {mask_uri(repr(value))}")
    if isinstance(value, str) and has_credentials(value):
        raise KineflowError(f"holds a credential; {WHERE_THEY_BELONG}")
    if key == "seed" and isinstance(value, int):
        check_seed(value)
    return value


def _unknown_models(graph: Graph, checked: Mapping[str, Any]) -> list[str]:
    """Models that an evaluation names and no task trains: found now, not after hours of training."""
    trained = {task.constants["name"] for task in graph.tasks if "name" in task.constants}
    faults = []
    for section in (task.sections["params"] for task in graph.tasks if task.step == "evaluate"):
        values = checked.get(section, {})
        imported = {source["name"] for source in values.get("imported", [])}
        named = {f"{section}.{key}": [values[key]] for key in ("student", "baseline") if key in values}
        for key in ("choose_among", "clips_per_video_of"):
            named[f"{section}.{key}"] = list(values.get(key, ()))
        named |= {
            f"{section}.fusion.{number}.models": [name for name in fusion["models"] if name not in imported]
            for number, fusion in enumerate(values.get("fusion", []))
        }
        faults += [
            f"  {key}: no model is called {name!r}; there are {', '.join(sorted(trained))}"
            f"{_optional(name, graph, checked)}"
            for key, names in named.items()
            for name in names
            if name not in trained
        ]
    return faults


def _optional(model: str, graph: Graph, checked: Mapping[str, Any]) -> str:
    """Why a model is not trained that the recipe might have."""
    if reason := tasks_left_out(graph.recipe, checked).get(model):
        return f" ({model} is left out: {reason})"
    for group, with_group in optional_graphs(graph.recipe).items():
        if any(task.constants.get("name") == model for task in with_group.tasks):
            return f" (it comes with the sections {', '.join(sorted(group))})"
    return ""
