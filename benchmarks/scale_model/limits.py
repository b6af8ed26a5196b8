"""What a set needs beside what there is: the largest ratio breaks first."""

from __future__ import annotations

from dataclasses import dataclass

from scale_model.assumptions import Assumptions
from scale_model.compute import d3d_hours, flow_hours, ingest_core_hours, samples_a_second, tsn_hours
from scale_model.figures import Figures
from scale_model.requests import hours_at, read_a_sample
from scale_model.stored import Stored
from scale_model.versions import dvc_hours
from scale_model.video_sets import VideoSet

from kineflow.sets.indexed import MAX_ROWS

_DAY = 24.0


@dataclass(frozen=True)
class Strain:
    """A need, and what there is of it.

    Attributes:
        what: In words.
        need, there_is: In one unit.
        unit: ``bytes``, ``hours`` or a plain count.
        of_limit: Where ``there_is`` comes from.
    """

    what: str
    need: float
    there_is: float
    unit: str
    of_limit: str

    @property
    def ratio(self) -> float:
        """Above 1 it does not work as it is."""
        return self.need / self.there_is


def strains(data: VideoSet, figures: Figures, sizes: Stored, shards: int, given: Assumptions) -> list[Strain]:
    """All of them, the worst first."""
    index, package = figures.index, figures.package
    flow = flow_hours(data, figures, given)
    training, tsn = d3d_hours(data, figures, given), tsn_hours(data, figures, given)
    dvc = dvc_hours(data.clips, sizes.raw, figures)
    training_memory = index.manifest_memory_bytes + index.flow_index_memory_bytes + index.draws_memory_bytes
    teacher_s = samples_a_second(figures.networks.s3d_flow_step, given)
    requests, out = read_a_sample(data, figures, sizes, "s3d_flow")
    listed = [
        Strain("manifest in a step's memory", data.clips * index.manifest_memory_bytes, given.step_memory_bytes,
               "bytes", "`steps.default.memory`"),
        Strain("manifest, flow index and order in a training process", data.clips * training_memory,
               given.train_memory_bytes, "bytes", "`steps.train.memory`"),
        Strain("clips of one set", data.clips, MAX_ROWS, "", "`kineflow.sets.indexed`"),
        Strain("clips and flow on the shared volume", sizes.clips + sizes.flow, given.volume_bytes, "bytes",
               "one volume"),
        Strain("ALSTM's frozen maps on the shared volume", sizes.features, given.volume_bytes, "bytes", "one volume"),
        Strain("flow, a GPU for each shard", flow.gpu / shards, given.patience_hours, "hours", "a week"),
        Strain("D3D on the GPUs at hand, fed", training.gpu / given.pods_at_once, given.patience_hours, "hours",
               "a week"),
        Strain("cores that decode for a fed GPU, D3D", training.decode_cpu / training.gpu, given.cores_a_gpu, "",
               "cores a GPU"),
        Strain("cores that decode for a fed GPU, TSN", tsn.decode_cpu / tsn.gpu, given.cores_a_gpu, "", "cores a GPU"),
        Strain("ingestion, in most shards", ingest_core_hours(data, figures) / given.ingest_cores / given.most_shards,
               given.patience_hours, "hours", "a week, 16 cores a shard"),
        Strain("`dvc add` of the videos", dvc.add, _DAY, "hours", "a day"),
        Strain("`dvc push` on one core", dvc.push, _DAY, "hours", "a day"),
        Strain("PUTs of the clip set to one prefix", hours_at(data.clips, given.s3_puts_a_s), _DAY, "hours", "a day"),
        Strain("GETs a second of fed GPUs (teacher), from one prefix", given.pods_at_once * teacher_s * requests,
               given.s3_gets_a_s, "", "S3, a prefix"),
        Strain("bytes a second into a node (teacher, 1 fed GPU)", teacher_s * out, given.network_bytes_a_s, "bytes",
               "25 Gbit/s"),
        Strain("failures of a shard of flow", given.failures_an_hour * flow.gpu / shards, float(given.retries), "",
               "`cluster.steps.*.retries`"),
        Strain("Argo nodes of the fan-out", float(shards * given.nodes_a_shard), float(given.workflow_nodes), "",
               "etcd, kubeflow/pipelines#4175"),
        Strain("compiled package in an annotation", package.bytes_with(shards), given.annotation_bytes, "bytes",
               "Kubernetes, kubeflow/pipelines#10968"),
    ]  # fmt: skip
    return sorted(listed, key=lambda strain: -strain.ratio)
