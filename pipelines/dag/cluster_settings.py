"""The section ``cluster`` of a parameter file: how a recipe runs on a Kubeflow cluster."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from components.kubernetes.fields import (
    Cores,
    NodeResources,
    ObjectName,
    PlainVariables,
    PodSettings,
    Size,
    VolumeSettings,
)
from kineflow.storage.config import Params, parse_params
from kineflow.storage.errors import KineflowError

S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
MLFLOW_KEYS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")

_BY_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_DEFAULT = "default"
_REMOVED = {
    "retry_after_most_sec": "for Kubeflow ends all tries after that time; leave it out, retry_after_sec and retries "
    "say how long is waited"
}


def _is_by_digest(image: str) -> str:
    if image and not _BY_DIGEST.fullmatch(image):
        raise ValueError("must name an image by its digest, as registry/name@sha256:…: a tag can change under a cache")
    return image


def _is_not_none(seconds: int) -> int:
    if seconds < 1:
        raise ValueError("must be 1 or more: 1 removes pods and logs at once, and Kubeflow takes 0 for 'not said'")
    return seconds


class StepResources(NodeResources, PodSettings):
    """What one pod of a step gets."""

    cpu: Cores = "1"
    """Cores."""

    memory: Size = "4Gi"
    """Most memory; a step that wants more is killed."""

    timeout_sec: int = Field(default=86_400, ge=1)
    """After which a try of the step is stopped, and has failed; time that its pods wait for machines is not counted."""

    queue_sec: int = Field(default=86_400, ge=1)
    """How long a training job of several nodes may wait for its machines."""

    retries: int = Field(default=2, ge=0, le=20)
    """How often a failed step is tried again, but after a mistake, which would only be met again."""

    retry_after_sec: int = Field(default=30, ge=1, le=3600)
    """Wait before the first retry; each later one is twice as long."""


class Secrets(Params):
    """Names of the Kubernetes secrets whose keys become environment variables of the same names; empty for none."""

    s3: ObjectName | Annotated[str, Field(pattern="^$")] = ""
    """With ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``; empty where pods have a role."""

    mlflow: ObjectName | Annotated[str, Field(pattern="^$")] = ""
    """With ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``."""

    webhook: ObjectName | Annotated[str, Field(pattern="^$")] = ""
    """With ``KINEFLOW_WEBHOOK_SECRET``, the address to which the end of a run is told as ``{"text": "…"}``, as chats
    take it; the step ``close_run`` alone has it."""

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

    mlflow_experiment: str = Field(default="", max_length=250)
    """Where Kubeflow's own MLflow plugin is on: the experiment in which it makes the run that steps join, such as the
    recipe's name; empty: nothing is said of the plugin, so that servers without one take the run."""

    user: int = Field(default=10001, ge=1)
    """Numeric user and group that steps run as."""

    service_account: ObjectName | Annotated[str, Field(pattern="^$")] = ""
    """Of the pods of multi-node training; empty for the namespace's default."""

    ingest_shards: int = Field(default=1, ge=1, le=16)
    """Into how many tasks ingestion is dealt."""

    ingest_shards_at_once: int = Field(default=4, ge=1, le=16)
    """How many of them run at the same time."""

    flow_shards: int = Field(default=1, ge=1, le=16)
    """Into how many tasks the extraction of flow is dealt."""

    flow_shards_at_once: int = Field(default=4, ge=1, le=16)
    """How many of them run at the same time."""

    deadline_sec: int = Field(default=7 * 86_400, ge=1)
    """After which a whole run is stopped."""

    keep_finished_sec: Annotated[int, AfterValidator(_is_not_none)] = 7 * 86_400
    """How long the pods and logs of a finished run are kept, where the server does not delete them sooner; at least 1,
    for Kubeflow takes 0 for "not said"."""

    steps: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """:class:`StepResources` by step (``train``) or task (``teacher``), and of all others (``default``)."""

    @model_validator(mode="after")
    def _resources_are_valid(self) -> ClusterParams:
        for name, given in self.steps.items():
            if removed := sorted(_REMOVED.keys() & given):
                raise ValueError(f"steps.{name}: {removed[0]} is a key no more, {_REMOVED[removed[0]]}")
        faults: list[str] = []
        for name in sorted(self.steps, key=lambda each: (each != _DEFAULT, each)):
            try:
                self.resources(name)
            except KineflowError as error:
                faults += [fault.strip() for fault in error.problem.splitlines()[1:]]
            if faults and name == _DEFAULT:
                break  # each of the others has them too
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @model_validator(mode="after")
    def _sets_each_variable_once(self) -> ClusterParams:
        of_secrets = {key for keys in self.secrets.by_name().values() for key in keys}
        if twice := sorted(of_secrets & set(self.environment)):
            raise ValueError(f"set by environment, and by secrets: {', '.join(twice)}")
        return self

    def resources(self, step: str, task: str = "") -> StepResources:
        """What a task gets: the keys given for itself, else for its step, else by ``default``.

        Raises:
            KineflowError: A value is not valid, or does not go with the others.
        """
        together: dict[str, Any] = {}
        for name in (_DEFAULT, step, task):
            together |= self.steps.get(name, {})
        return parse_params(StepResources, together, where=f"steps.{task or step}")

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
