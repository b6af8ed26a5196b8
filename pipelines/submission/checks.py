"""Everything that is checked before anything is sent; all faults are told at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from components.frontend.inputs import local_inputs
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from kineflow.tracking.lineage import git_tags
from pipelines.dag.graph import Graph
from pipelines.dag.params import CLUSTER, graph_for, load_cluster, load_params, schema_of

if TYPE_CHECKING:
    from pipelines.cluster.data_version import DataVersion
    from pipelines.cluster.parts import PartsPlan
    from pipelines.dag.cluster_settings import ClusterParams
    from pipelines.submission.server import Server


@dataclass(frozen=True)
class Package:
    """A recipe that may be sent.

    Attributes:
        recipe: Its name.
        text: What Kubeflow Pipelines is given, as YAML.
        image: That its steps run in, by digest.
        data: Version of the data that it fetches; None where it reads none of DVC's.
        commit: Of the source; None outside a git repository.
        dirty: Whether the source differs from it.
        notices: What may be meant so, in words.
        mlflow_experiment: See :class:`pipelines.dag.cluster_settings.ClusterParams`.
    """

    recipe: str
    text: str
    image: str
    data: DataVersion | None
    commit: str | None
    dirty: bool
    notices: tuple[str, ...] = ()
    mlflow_experiment: str = ""


def check_all(
    recipe: str,
    params_file: Path,
    root: Path,
    server: Callable[[], Server],
    *,
    image: str = "",
    caching: bool = True,
    allow_dirty: bool = False,
    look: Callable[[], tuple[str, ...]] = tuple,
    parts: int = 0,
) -> tuple[Package, Server]:
    """Check the parameters, the cluster section, the data, the source and the server; compile the recipe.

    Args:
        recipe: Name of the recipe.
        params_file: Its parameter file.
        root: The project's folder: of ``data.dvc`` and the git repository.
        server: Makes the server's client; may find fault with what it was given.
        image: In place of the one that the parameter file names.
        caching: Whether steps may take results of earlier runs.
        allow_dirty: Accept source that is not committed.
        look: Looks at what the parameters name; gives notices.
        parts: In how many parts the recipe's clips and flow are to be made, by a package of its own; 0: the recipe.

    Raises:
        KineflowError: Something is wrong; all that was found is in the message, and nothing has been sent.
    """
    faults: list[KineflowError] = []

    def attempt(work: Callable[[], Any]) -> Any:
        try:
            return work()
        except KineflowError as fault:
            faults.append(fault)
            return None

    graph = attempt(lambda: graph_for(recipe, params_file))
    params = attempt(lambda: load_params(graph, params_file)) if graph else None
    cluster = attempt(lambda: _cluster_of(params_file, image))
    data, text, notices = None, "", ()
    if params and cluster:
        sound = len(faults)
        notices = attempt(look) or ()
        data = attempt(lambda: _data_of(graph, params, root))
        if len(faults) == sound:  # else its faults would be told twice
            text = attempt(lambda: _compiled(graph, params, cluster, data, caching, parts))
    commit, dirty = attempt(lambda: _source_of(root, allow_dirty)) or (None, False)
    reached = attempt(lambda: _healthy(server()))
    if faults or cluster is None:
        raise _all_in_one(faults)
    name = f"{recipe}_parts" if parts else recipe
    return Package(name, text, cluster.image, data, commit, dirty, notices, cluster.mlflow_experiment), reached


def compiled_for_cluster(recipe: str, params_file: Path, root: Path, *, image: str = "") -> str:
    """The package that would be sent, as YAML; neither the server nor the state of the source is looked at.

    The arguments are those of :func:`check_all`.

    Raises:
        KineflowError: The parameters or the data are not fit to be sent.
    """
    graph = graph_for(recipe, params_file)
    params, cluster = load_params(graph, params_file), _cluster_of(params_file, image)
    assert cluster is not None  # else loading the parameters has found fault with it
    return _compiled(graph, params, cluster, _data_of(graph, params, root), caching=True)


def plan_parts(
    recipe: str, params_file: Path, root: Path, count: int, *, image: str = ""
) -> tuple[PartsPlan, dict[str, Any]]:
    """What :func:`check_all` with ``parts`` makes a package for; an image need not be named yet.

    Returns:
        The plan, and the checked parameters of the recipe.

    Raises:
        KineflowError: The parameters are invalid, or say nothing of a cluster; or the data's version is not known.
    """
    from pipelines.cluster.parts import PartsPlan

    graph = graph_for(recipe, params_file)
    params, cluster = load_params(graph, params_file), _cluster_of(params_file, image, needs_image=False)
    assert cluster is not None  # else loading the parameters has found fault with it
    return PartsPlan.of(graph, params, cluster, count, data=_version_of(graph, params, root)), params


def _cluster_of(params_file: Path, image: str, *, needs_image: bool = True) -> ClusterParams | None:
    """The section ``cluster``; None where it is faulty, which :func:`load_params` tells with the other faults."""
    from pipelines.dag.cluster_settings import ClusterParams

    try:
        cluster = load_cluster(params_file)
    except KineflowError:
        return None
    if cluster is None:
        raise KineflowError(
            f"no section {CLUSTER!r}", where=params_file, remedy="add one; docs/cluster.md shows what belongs into it"
        )
    if image:
        cluster = parse_params(ClusterParams, cluster.model_dump() | {"image": image}, where="--image")
    if needs_image and not cluster.image:
        raise KineflowError(
            "no image is named", where=params_file,
            remedy="name one by its digest (registry/name@sha256:…), as cluster.image or with --image",
        )  # fmt: skip
    return cluster


def _data_of(graph: Graph, params: Mapping[str, Any], root: Path) -> DataVersion | None:
    """The version of DVC's data if the run reads it, once it is sure that the cluster can fetch it."""
    from pipelines.cluster.data_version import check_pushed

    version = _version_of(graph, params, root)
    if version:
        check_pushed(root)
    return version


def _version_of(graph: Graph, params: Mapping[str, Any], root: Path) -> DataVersion | None:
    from pipelines.cluster.data import DATA_FOLDER
    from pipelines.cluster.data_version import read_data_version

    paths = [path for key, kind in schema_of(graph).items() for path in local_inputs(kind, params[key])]
    if not any(PurePosixPath(path).is_relative_to(DATA_FOLDER) for path in paths):
        return None
    return read_data_version(root)


def _compiled(
    graph: Graph,
    params: Mapping[str, Any],
    cluster: ClusterParams,
    data: DataVersion | None,
    caching: bool,
    parts: int = 0,
) -> str:
    from pipelines.cluster.package import compile_for_cluster
    from pipelines.cluster.parts import PartsPlan, compile_part

    if parts:
        plan = PartsPlan.of(graph, params, cluster, parts, data=data)
        return compile_part(graph, params, cluster, plan, data=data, caching=caching)
    return compile_for_cluster(graph.recipe, params, cluster, data=data, caching=caching)


def _source_of(root: Path, allow_dirty: bool) -> tuple[str | None, bool]:
    tags = git_tags(root)
    commit, dirty = tags.get("git.commit"), tags.get("git.dirty") == "true"
    if allow_dirty:
        return commit, dirty
    if commit is None:
        raise KineflowError(
            "no git repository, so nobody could say which source this was", where=root,
            remedy="run this in the project's repository, or add --allow-dirty",
        )  # fmt: skip
    if dirty:
        raise KineflowError(
            "files differ from the last commit",
            where=root,
            remedy="commit them (git status lists them), or add --allow-dirty",
        )
    return commit, dirty


def _healthy(server: Server) -> Server:
    answer = server.read(server.health.healthz_service_get_healthz)
    if answer.get("multi_user") and not server.access.namespace:
        raise KineflowError(
            "this installation serves many users", where=server.access.host, remedy="say which --namespace is yours"
        )
    return server


def _all_in_one(faults: list[KineflowError]) -> KineflowError:
    messages = list(dict.fromkeys(map(str, faults)))  # an unreadable file is met more than once
    if len(messages) == 1:
        return faults[0]
    listed = "\n".join(f"- {each}" for each in messages)
    return KineflowError(
        f"{len(messages)} things are wrong:\n{listed}",
        remedy="mend them and submit again; nothing has been sent",
        exit_code=faults[0].exit_code,
    )
