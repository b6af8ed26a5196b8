"""What is not measured here: a cluster, a GPU, S3 itself. The tables say (e) where one of these values enters.

No price is among them: multiply hours, bytes and requests by yours.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Assumptions:
    """What the table takes for given.

    Attributes:
        gpu_flow_pairs_a_s: TV-L1 ``capped`` at 340x256 by the solver ``triton``; the sum is in docs/flow.md.
        gpu_peak_flops: Of an H200 in bf16, dense, as its maker states it.
        gpu_utilisation: Share of the peak that 3-D convolutions with narrow channels reach.
        cores_a_gpu: That decode for it.
        ingest_cores: Of the step's machine, which is one.
        pod_start_s: KFP's driver pod, then the step's own: scheduling, an image that is on the node, the launcher.
        failures_an_hour: Of one pod: a node lost or taken back (about one in twenty hours).
        pods_at_once: GPUs at hand.
        most_shards: What ``cluster.flow_shards`` and ``cluster.ingest_shards`` take at most; one of flow has one GPU.
        retries: ``cluster.steps.*.retries`` where nothing is said; a shard that fails more often fails the run.
        step_memory_bytes, train_memory_bytes: ``cluster.steps`` of params/d3d_ucf101.yaml: ``default`` and ``train``.
        volume_bytes: Of a shared volume.
        network_bytes_a_s: Into a node: 25 Gbit/s.
        patience_hours: That a step may take.
        s3_gets_a_s, s3_puts_a_s: A partitioned prefix of a bucket takes at least these (Amazon's user guide).
        list_page: Keys a LIST gives at most.
        annotation_bytes: Of all annotations of an object, where KFP 2 keeps the compiled steps.
        workflow_nodes: Node states that an Argo workflow was seen to hold before etcd refused (pipelines#4175).
        nodes_a_shard: Argo nodes of a KFP 2 task: driver, group, its retries' node and three tries.
        k400_epochs_tsn: Of TSN's published Kinetics recipe (mmaction2, ``…1x1x3-100e_kinetics400-rgb``).
        s3d_steps, s3d_batch: Of S3D-G's Kinetics schedule (Xie et al. 2018): 56 GPUs of 6 clips.
        validation_rounds: Of a training.
    """

    gpu_flow_pairs_a_s: float = 2_500
    gpu_peak_flops: float = 989e12
    gpu_utilisation: float = 0.2
    cores_a_gpu: int = 16
    ingest_cores: int = 16
    pod_start_s: float = 45
    failures_an_hour: float = 0.05
    pods_at_once: int = 8
    most_shards: int = 16
    retries: int = 2
    step_memory_bytes: float = 16 * 2**30
    train_memory_bytes: float = 64 * 2**30
    volume_bytes: float = 100e12
    network_bytes_a_s: float = 25e9 / 8
    patience_hours: float = 168
    s3_gets_a_s: float = 5_500
    s3_puts_a_s: float = 3_500
    list_page: int = 1_000
    annotation_bytes: float = 262_144
    workflow_nodes: int = 2_000
    nodes_a_shard: int = 6
    k400_epochs_tsn: int = 100
    s3d_steps: int = 155_000
    s3d_batch: int = 336
    validation_rounds: int = 40
