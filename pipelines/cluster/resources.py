"""What each step of a recipe needs of a cluster: machines, volumes, secrets, time, retries.

All of it stands in the section ``cluster`` of a parameter file (:class:`~pipelines.dag.cluster_settings.ClusterParams`)
and is put onto the tasks of a traced pipeline by :func:`give_resources`. Recipes and components know nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.frontend.attempts import NODE
from components.kubernetes.fields import S3_CACHE, SHARED_MEMORY, NodeResources
from components.kubernetes.labels import ARGO_NODE, KFP_RUN_LABEL, NAMESPACE, QUEUE, TASK_LABEL
from components.launch.kept_work import VOLUME
from components.launch.trainjob_settings import TRAINJOB, TrainJobSettings
from kineflow.storage.client import S3_SCHEME
from kineflow.tracking.message import WEBHOOK
from kineflow.tracking.run_variables import RECIPE, RUN_ID, TASK
from pipelines.dag.cluster_settings import ClusterParams, StepResources

WITH_SIDE_EFFECTS = ("fetch_data", "list_source", "store_set", "evaluate", "register", "close_run")
"""Steps that are done again in every run: a result from the cache would leave the store, or the volume, untouched, or
not see what has come to the source since."""

_AROUND_JOB_SEC = 3600  # to copy the inputs of a training job, and its outputs
_LABEL_LENGTH = 63
_S3_CACHE_FOLDER, _SPARE_MB = "/s3-cache", 256


def give_resources(
    task: Any, *, step: str, name: str, cluster: ClusterParams, environment: Mapping[str, str], nodes: int, cached: bool
) -> None:
    """Put what a task needs onto it.

    Args:
        task: A KFP task that is being traced.
        step: That it runs.
        name: What the recipe calls it.
        cluster: The section of the parameter file.
        environment: Variables of every step of this run, beside those of ``cluster``.
        nodes: That the step trains on; with more than one, the pod only looks after the job that does it, and the
            resources are those of each node.
        cached: Whether a result of an earlier run may be taken.
    """
    from kfp import kubernetes
    from kfp.dsl.structures import ResourceSpec

    needs = cluster.resources(step, name)
    everywhere = {**environment, **cluster.environment, TASK: name}
    launcher = StepResources(
        timeout_sec=needs.timeout_sec + needs.queue_sec + _AROUND_JOB_SEC,
        retries=needs.retries,
        retry_after_sec=needs.retry_after_sec,
        memory="2Gi",
    )
    pod = needs if nodes == 1 else launcher

    # Not by KFP's setters: each walks the whole stack, at a tenth of a second where many modules are loaded.
    container = task.container_spec
    container.resources = ResourceSpec(
        cpu_request=pod.cpu, cpu_limit=pod.cpu, memory_request=pod.memory, memory_limit=pod.memory
    )
    if pod.gpus:
        container.resources.accelerator_type, container.resources.accelerator_count = pod.gpu_type, str(pod.gpus)
    for label, value in pod.node_selector.items():
        kubernetes.add_node_selector(task, label, value)
    for taint in pod.tolerations:
        kubernetes.add_toleration(
            task, taint.key or None, taint.operator, taint.value or None, taint.effect or None, taint.seconds
        )
    if pod.shared_memory:
        kubernetes.empty_dir_mount(task, SHARED_MEMORY, "/dev/shm", medium="Memory", size_limit=pod.shared_memory)
    kubernetes.mount_pvc(task, pvc_name=cluster.volume.claim, mount_path=cluster.volume.path)
    if cluster.media.startswith(S3_SCHEME):
        spare = f"{cluster.s3_cache_mb + _SPARE_MB}M"
        kubernetes.empty_dir_mount(task, S3_CACHE, _S3_CACHE_FOLDER, size_limit=spare)
        everywhere |= {"KINEFLOW_CACHE_DIR": _S3_CACHE_FOLDER, "KINEFLOW_CACHE_MB": str(cluster.s3_cache_mb)}
    for secret, keys in cluster.secrets.by_name().items():
        kubernetes.use_secret_as_env(task, secret, {key: key for key in keys})
    if step == "close_run" and cluster.secrets.webhook:
        kubernetes.use_secret_as_env(task, cluster.secrets.webhook, {WEBHOOK: WEBHOOK})
    if cluster.secrets.image_pull:
        kubernetes.set_image_pull_secrets(task, list(cluster.secrets.image_pull))
    run_label = f"metadata.labels['{KFP_RUN_LABEL}']"
    kubernetes.use_field_path_as_env(task, RUN_ID, run_label)
    kubernetes.use_field_path_as_env(task, "KFP_RUN_ID", run_label)
    kubernetes.use_field_path_as_env(task, NAMESPACE, "metadata.namespace")
    kubernetes.use_field_path_as_env(task, NODE, f"metadata.annotations['{ARGO_NODE}']")
    kubernetes.add_pod_label(task, TASK_LABEL, name[:_LABEL_LENGTH])
    if pod.queue:
        kubernetes.add_pod_label(task, QUEUE, pod.queue)
    kubernetes.set_security_context(task, run_as_user=cluster.user, run_as_group=cluster.user, run_as_non_root=True)
    kubernetes.set_timeout(task, pod.timeout_sec)
    task.set_retry(
        num_retries=pod.retries,
        backoff_duration=f"{pod.retry_after_sec}s",
        backoff_factor=2.0,
        # Argo tries again until this long after the first attempt began, the time in its queue included.
        backoff_max_duration=f"{cluster.deadline_sec}s",
    )
    task.set_caching_options(cached and step not in WITH_SIDE_EFFECTS)
    variables = everywhere | {VOLUME: cluster.volume.path}
    variables |= {TRAINJOB: _training_job(cluster, needs, everywhere).to_json()} if nodes > 1 else {}
    container.env = (container.env or {}) | variables


def run_environment(recipe: str, image: str, data_version: str) -> dict[str, str]:
    """Variables that every step of a run has, whatever the cluster."""
    named = {RECIPE: recipe, "KINEFLOW_IMAGE": image, "KINEFLOW_DATA_VERSION": data_version}
    return {name: value for name, value in named.items() if value}


def _training_job(cluster: ClusterParams, node: StepResources, environment: Mapping[str, str]) -> TrainJobSettings:
    return TrainJobSettings(
        image=environment["KINEFLOW_IMAGE"],
        volume=cluster.volume,
        per_node=NodeResources(cpu=node.cpu, memory=node.memory, gpus=node.gpus, gpu_type=node.gpu_type),
        shared_memory=node.shared_memory,
        node_selector=node.node_selector,
        tolerations=node.tolerations,
        queue=node.queue,
        environment=dict(environment),
        secrets=cluster.secrets.by_name(),
        image_pull_secrets=cluster.secrets.image_pull,
        service_account=cluster.service_account,
        user=cluster.user,
        timeout_sec=node.timeout_sec,
        queue_sec=node.queue_sec,
    )
