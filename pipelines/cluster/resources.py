"""What each step of a recipe needs of a cluster: machines, volumes, secrets, time, retries.

All of it stands in the section ``cluster`` of a parameter file (:class:`ClusterParams`) and is put onto the tasks of a
traced pipeline by :func:`give_resources`. Recipes and components know nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from components.kubernetes.fields import (
    NodeResources,
    ObjectName,
    PlainVariables,
    PodSettings,
    Quantity,
    VolumeSettings,
)
from components.kubernetes.labels import KFP_RUN_LABEL, NAMESPACE, TASK_LABEL
from components.launch.trainjob_settings import TRAINJOB, TrainJobSettings
from kineflow.storage.client import S3_SCHEME
from kineflow.storage.config import Params
from kineflow.storage.errors import KineflowError
from kineflow.tracking.run_variables import RECIPE, RUN_ID

S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
MLFLOW_KEYS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
WITH_SIDE_EFFECTS = ("fetch_data", "evaluate", "register", "close_run")
"""Steps that are done again in every run: a result from the cache would leave the store, or the volume, untouched."""

_BY_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_DEFAULT = "default"
_QUEUED_SEC = 86_400  # a training job may wait as long for its nodes before its own time runs
_LABEL_LENGTH = 63
_S3_CACHE, _SPARE_MB = "/s3-cache", 256


def _is_by_digest(image: str) -> str:
    if image and not _BY_DIGEST.fullmatch(image):
        raise ValueError("must name an image by its digest, as registry/name@sha256:…: a tag can change under a cache")
    return image


class StepResources(NodeResources, PodSettings):
    """What one pod of a step gets."""

    cpu: Quantity = "1"
    """Cores."""

    memory: Quantity = "4Gi"
    """Most memory; a step that wants more is killed."""

    timeout_sec: int = Field(default=86_400, ge=1)
    """After which the step is stopped and has failed."""

    retries: int = Field(default=2, ge=0, le=20)
    """How often a failed step is tried again."""

    retry_after_sec: int = Field(default=30, ge=1, le=3600)
    """Wait before the first retry; each later one is twice as long."""

    retry_after_most_sec: int = Field(default=600, ge=1, le=86_400)
    """Longest wait before a retry."""


class Secrets(Params):
    """Names of the Kubernetes secrets whose keys become environment variables of the same names; empty for none."""

    s3: ObjectName | Annotated[str, Field(pattern="^$")] = ""
    """With ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``; empty where pods have a role."""

    mlflow: ObjectName | Annotated[str, Field(pattern="^$")] = ""
    """With ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``."""

    image_pull: tuple[ObjectName, ...] = ()
    """With which the image is fetched."""

    def by_name(self) -> dict[str, tuple[str, ...]]:
        """Keys by the secret that holds them."""
        return {name: keys for name, keys in ((self.s3, S3_KEYS), (self.mlflow, MLFLOW_KEYS)) if name}


class ClusterParams(Params):
    """How a recipe runs on a Kubeflow cluster: the section ``cluster`` of a parameter file."""

    image: Annotated[str, AfterValidator(_is_by_digest)] = ""
    """That all steps run in, by digest; empty: given when the run is submitted."""

    volume: VolumeSettings
    """Shared by all steps, for fetched data and for stored clips and flow."""

    media: str = ""
    """Folder on the volume, or ``s3://bucket/prefix``, for stored clips and flow; empty: ``media`` on the volume, where
    features lie in any case."""

    s3_cache_mb: int = Field(default=20_000, ge=64)
    """Disk of a pod for what it has read of clips on S3, millions of bytes; used where ``media`` is there."""

    secrets: Secrets = Secrets()
    """Where credentials come from."""

    environment: PlainVariables = Field(default_factory=dict)
    """Plain variables of every step, such as ``MLFLOW_TRACKING_URI`` and ``AWS_ENDPOINT_URL_S3``; no credentials."""

    user: int = Field(default=10001, ge=1)
    """Numeric user and group that steps run as."""

    service_account: ObjectName | Annotated[str, Field(pattern="^$")] = ""
    """Of the pods of multi-node training; empty for the namespace's default."""

    flow_shards: int = Field(default=1, ge=1, le=16)
    """Into how many tasks the extraction of flow is dealt."""

    flow_shards_at_once: int = Field(default=4, ge=1, le=16)
    """How many of them run at the same time."""

    deadline_sec: int = Field(default=7 * 86_400, ge=1)
    """After which a whole run is stopped."""

    keep_finished_sec: int = Field(default=7 * 86_400, ge=0)
    """How long the pods and logs of a finished run are kept."""

    steps: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """:class:`StepResources` by step (``train``) or task (``teacher``), and of all others (``default``)."""

    @model_validator(mode="after")
    def _resources_are_valid(self) -> ClusterParams:
        for name, given in self.steps.items():
            unknown = sorted(set(given) - set(StepResources.model_fields))
            if unknown:
                raise ValueError(f"steps.{name}: unknown key {unknown[0]!r}; known: {', '.join(known_resources())}")
            StepResources.model_validate(given)
        return self

    def resources(self, step: str, task: str) -> StepResources:
        """What a task gets: the keys given for itself, else for its step, else by ``default``."""
        together: dict[str, Any] = {}
        for name in (_DEFAULT, step, task):
            together |= self.steps.get(name, {})
        return StepResources.model_validate(together)

    def check_names(self, known: Collection[str]) -> None:
        """See that resources are given to steps and tasks that there are.

        Raises:
            KineflowError: Some name is not known.
        """
        unknown = sorted(set(self.steps) - {*known, _DEFAULT})
        if unknown:
            raise KineflowError(
                f"cluster.steps.{unknown[0]}: no step or task is called so; there are {', '.join(sorted(known))}",
                remedy="correct the name",
            )


def known_resources() -> list[str]:
    """Keys of :class:`StepResources`, sorted."""
    return sorted(StepResources.model_fields)


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
    everywhere = {**environment, **cluster.environment}
    launcher = StepResources(timeout_sec=needs.timeout_sec + _QUEUED_SEC, retries=needs.retries, memory="2Gi")
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
        kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", medium="Memory", size_limit=pod.shared_memory)
    kubernetes.mount_pvc(task, pvc_name=cluster.volume.claim, mount_path=cluster.volume.path)
    if cluster.media.startswith(S3_SCHEME):
        spare = f"{cluster.s3_cache_mb + _SPARE_MB}M"
        kubernetes.empty_dir_mount(task, "s3-cache", _S3_CACHE, size_limit=spare)
        everywhere |= {"KINEFLOW_CACHE_DIR": _S3_CACHE, "KINEFLOW_CACHE_MB": str(cluster.s3_cache_mb)}
    for secret, keys in cluster.secrets.by_name().items():
        kubernetes.use_secret_as_env(task, secret, {key: key for key in keys})
    if cluster.secrets.image_pull:
        kubernetes.set_image_pull_secrets(task, list(cluster.secrets.image_pull))
    run_label = f"metadata.labels['{KFP_RUN_LABEL}']"
    kubernetes.use_field_path_as_env(task, RUN_ID, run_label)
    kubernetes.use_field_path_as_env(task, "KFP_RUN_ID", run_label)
    kubernetes.use_field_path_as_env(task, NAMESPACE, "metadata.namespace")
    kubernetes.add_pod_label(task, TASK_LABEL, name[:_LABEL_LENGTH])
    kubernetes.set_security_context(task, run_as_user=cluster.user, run_as_group=cluster.user, run_as_non_root=True)
    kubernetes.set_timeout(task, pod.timeout_sec)
    task.set_retry(
        num_retries=pod.retries,
        backoff_duration=f"{pod.retry_after_sec}s",
        backoff_factor=2.0,
        backoff_max_duration=f"{pod.retry_after_most_sec}s",
    )
    task.set_caching_options(cached and step not in WITH_SIDE_EFFECTS)
    variables = everywhere | ({TRAINJOB: _training_job(cluster, needs, everywhere).to_json()} if nodes > 1 else {})
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
        environment=dict(environment),
        secrets=cluster.secrets.by_name(),
        image_pull_secrets=cluster.secrets.image_pull,
        service_account=cluster.service_account,
        user=cluster.user,
        timeout_sec=node.timeout_sec,
    )
