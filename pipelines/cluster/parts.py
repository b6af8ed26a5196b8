"""A large source in parts, each made by a run of its own: the package of such a run, and where its sets lie.

::

    fetch_data ─ [ ingest, its shard ─┬─ store_set
                                      └─ extract_flow ─ store_set ] ─ close_run (whatever happens)

All parts are runs of one package; its parameter ``part`` says which one. Their sets lie side by side, and a run that
learns from all names their places: ``ingestion.layout: clip_sets``, and ``flow.existing``.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.frontend.contract import step_names
from kineflow.data.ingest_settings import CLIP_SETS
from kineflow.spec.shard import Shard
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import is_remote
from pipelines.cluster.data_version import DataVersion
from pipelines.cluster.package import compile_around
from pipelines.dag import fan_out
from pipelines.dag.cluster_settings import ClusterParams
from pipelines.dag.data_stages import data_stages, flow_sections, ingesting
from pipelines.dag.graph import Graph

PART = "part"
"""The package's parameter that says which part a run makes, as ``0/8``."""

_DIGITS = 8
_SETS, _CLIPS = "sets", "clips"


@dataclass(frozen=True)
class PartsPlan:
    """What is to be made of a source, in how many parts.

    Attributes:
        recipe: Whose clips and flow.
        count: How many parts.
        digest: Of all that decides the result; who asks for the same again goes on with the same plan.
        place: Folder on the cluster's volume, or ``s3://`` prefix, of the sets.
        flow: Sections of the flow sets that are made.
    """

    recipe: str
    count: int
    digest: str
    place: str
    flow: tuple[str, ...]

    @classmethod
    def of(
        cls,
        graph: Graph,
        params: Mapping[str, Any],
        cluster: ClusterParams,
        count: int,
        *,
        data: DataVersion | None,
    ) -> PartsPlan:
        """The plan for a recipe with its parameters; the arguments are those of :func:`compile_part`.

        Raises:
            KineflowError: The recipe does not ingest, or joins clip sets that are there.
        """
        stages = data_stages(graph)
        section = ingesting(stages).sections["params"]
        if params[section]["layout"] == CLIP_SETS:
            raise KineflowError(
                "clip sets of other runs are joined, not made in parts",
                where=f"{section}.layout: {CLIP_SETS}",
                remedy=f"leave --parts out to learn from them, or give {section} the videos and their layout",
            )
        own = {name: params[name] for name in stages.parameters}
        decisive = [graph.recipe, count, own, cluster.image, data.md5 if data else ""]
        digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:_DIGITS]
        beside = cluster.media if is_remote(cluster.media) else cluster.volume.path
        return cls(graph.recipe, count, digest, f"{beside}/{_SETS}/{digest}", flow_sections(stages))

    @property
    def parts(self) -> tuple[Shard, ...]:
        """All parts."""
        return tuple(Shard(index, self.count) for index in range(self.count))

    def run_name(self, part: Shard) -> str:
        """What the run of a part is called, by which it is found again."""
        return f"{self.recipe} {PART} {part} {self.digest}"

    @property
    def to_train(self) -> dict[str, dict[str, str]]:
        """What a parameter file has to say for a run that learns from all parts."""
        flow = {section: {"existing": f"{self.place}/{section}"} for section in self.flow}
        return {"ingestion": {"layout": "clip_sets", "source": f"{self.place}/{_CLIPS}"}} | flow


def compile_part(
    graph: Graph,
    params: Mapping[str, Any],
    cluster: ClusterParams,
    plan: PartsPlan,
    *,
    data: DataVersion | None,
    caching: bool = True,
) -> str:
    """The package of a run that makes one part, as YAML of two documents.

    Args:
        graph: Of the recipe.
        params: One value a parameter of the recipe, already checked.
        cluster: The section ``cluster``, with an image. Flow of a part is extracted in its ``flow_shards``; a part is
            ingested by one task.
        plan: What is made, and where it is put.
        data: Version of the data that DVC tracks; None where the source is elsewhere.
        caching: Whether steps may take results of earlier runs.

    Raises:
        KineflowError: See :func:`pipelines.cluster.package.compile_for_cluster`.
    """
    cluster.check_names({*step_names(), *(task.name for task in graph.tasks)})
    stages = data_stages(graph)
    own = {name: params[name] for name in stages.parameters}
    described = f"Clips and flow of {graph.recipe}, one part of {plan.count}; their sets lie in {plan.place}."
    return compile_around(
        _stages(stages, params, plan), stages, own, cluster, described=described, data=data, caching=caching
    )


def _stages(graph: Graph, params: Mapping[str, Any], plan: PartsPlan) -> Any:
    """A function that makes the tasks of a part, as a recipe does, for KFP to trace."""
    from components.frontend.kfp_components import ingest, store_set

    names = [*graph.parameters, PART]

    def store(made: Any, kind: str, part: Any) -> None:
        task = store_set(made=made, params={"place": f"{plan.place}/{kind}"}, part=part)
        task.set_display_name(f"store-{kind.replace('_', '-')}")

    def made_of(*values: Any) -> None:
        given = dict(zip(names, values, strict=True))
        sections = {argument: given[key] for argument, key in ingesting(graph).sections.items()}
        clips = ingest(**sections, shard=given[PART]).outputs["clips"]
        store(clips, _CLIPS, given[PART])
        for section in plan.flow:
            extracted = fan_out.extract_flow(clips=clips, params=given[section])
            store(extracted.outputs["flow"], section, given[PART])

    kinds = [dict if isinstance(params[name], Mapping) else type(params[name]) for name in graph.parameters]
    plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
    vars(made_of)["__signature__"] = inspect.Signature(
        [inspect.Parameter(name, plain, annotation=kind) for name, kind in zip(names, [*kinds, str], strict=True)]
    )
    return made_of
