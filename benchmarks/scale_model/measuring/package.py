"""The compiled D3D pipeline for a cluster: its tasks, who reads the manifest, and its bytes with flow in shards."""

from __future__ import annotations

import sys
from pathlib import Path

from scale_model.figures import Package

_PARAMS = Path(__file__).resolve().parents[3] / "params" / "d3d_ucf101.yaml"
_SHARDS = 16


def measure(_quick: bool) -> Package:
    """Bytes with the parameters of UCF101, and what shards and their gatherer add."""
    from pipelines.dag.graph import graph_of

    print("package", file=sys.stderr)
    graph = graph_of("d3d")
    one, two, many = (len(compiled(shards).encode()) for shards in (1, 2, _SHARDS))
    a_shard = (many - two) / (_SHARDS - 2)
    return Package(
        tasks=float(len(graph.tasks)),
        manifest_readers=float(sum("clips" in task.inputs for task in graph.tasks)),
        flow_readers=float(sum("flow" in task.inputs for task in graph.tasks)),
        bytes_with_one_shard=float(one),
        bytes_of_gathering=two - one - a_shard,
        bytes_a_shard=a_shard,
    )


def compiled(shards: int) -> str:
    """The package of D3D at the size of UCF101, its flow in so many shards."""
    from pipelines.cluster.package import compile_for_cluster
    from pipelines.dag.graph import graph_of
    from pipelines.dag.params import load_cluster, load_params

    cluster = load_cluster(_PARAMS)
    assert cluster is not None  # it is part of the file
    image = f"registry.example.com/team/kineflow-python@sha256:{'0' * 64}"
    sharded = cluster.model_copy(update={"image": image, "flow_shards": shards})
    return compile_for_cluster("d3d", load_params(graph_of("d3d"), _PARAMS), sharded, data=None)
