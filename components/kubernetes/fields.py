"""What Kubernetes takes, as values and sections of parameter files: names, amounts, volumes, resources."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from components.kubernetes.quantities import cores, size
from kineflow.storage.config import Params
from kineflow.storage.credentials import has_credentials, is_secret_name

_MOST_LABEL = 63
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_EXTENDED = re.compile(rf"{_LABEL}(\.{_LABEL})*/[A-Za-z0-9]([A-Za-z0-9_.-]{{0,61}}[A-Za-z0-9])?")
_OBJECT = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_MIG = re.compile(r"nvidia\.com/mig-.+")

ObjectName = Annotated[str, StringConstraints(pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=253)]
"""Name of a Kubernetes object: lower-case letters, digits, ``-`` and ``.``."""

VariableName = Annotated[str, StringConstraints(pattern=_VARIABLE, max_length=256)]
"""Name of an environment variable."""


def _as_text(amount: object) -> object:
    """A number that YAML has read, as Kubernetes takes it in a manifest too."""
    return str(amount) if isinstance(amount, int | float) and not isinstance(amount, bool) else amount


Cores = Annotated[str, BeforeValidator(_as_text), AfterValidator(cores)]
"""Processor cores as Kubernetes writes them: ``"500m"``, ``"32"``, ``"1.5"``."""

Size = Annotated[str, BeforeValidator(_as_text), AfterValidator(size)]
"""Bytes as Kubernetes writes them: ``"16Gi"``, ``"1.5Gi"``, ``"64G"``."""

OptionalCores = Annotated[str, BeforeValidator(_as_text), AfterValidator(lambda text: text and cores(text))]
"""As :data:`Cores`, or empty."""

OptionalSize = Annotated[str, BeforeValidator(_as_text), AfterValidator(lambda text: text and size(text))]
"""As :data:`Size`, or empty."""

SHARED_MEMORY, S3_CACHE = "shared-memory", "s3-cache"
"""Volumes of a step's pod, beside the one that is named as its claim."""


def _names_a_volume(claim: str) -> str:
    if "." in claim or len(claim) > _MOST_LABEL:
        raise ValueError(
            f"a name without '.' and of at most {_MOST_LABEL} characters is expected, for Kubeflow names the pods' "
            "volume as the claim"
        )
    if claim in (SHARED_MEMORY, S3_CACHE):
        raise ValueError("a name that no other volume of the pods has is expected")
    return claim


ClaimName = Annotated[ObjectName, AfterValidator(_names_a_volume)]
"""Name of a PersistentVolumeClaim that pods of Kubeflow Pipelines can mount."""


def _is_extended(name: str) -> str:
    if not _EXTENDED.fullmatch(name):
        raise ValueError("the name of a resource is expected, as 'nvidia.com/gpu' or 'nvidia.com/mig-1g.10gb'")
    return name


ResourceName = Annotated[str, AfterValidator(_is_extended)]
"""Name of a resource that a device plugin offers: ``nvidia.com/gpu``, ``nvidia.com/mig-1g.10gb``."""


def _is_queue(name: str) -> str:
    if name and (len(name) > _MOST_LABEL or not _OBJECT.fullmatch(name)):
        raise ValueError("the name of a LocalQueue is expected: lower-case letters, digits, '-' and '.', at most 63")
    return name


QueueName = Annotated[str, AfterValidator(_is_queue)]
"""Name of a LocalQueue of Kueue, which travels in a label; empty for none."""


def _holds_no_secret(values: dict[str, str]) -> dict[str, str]:
    for name, value in values.items():
        if is_secret_name(name) or has_credentials(value):
            raise ValueError(f"a credential, {name}, is kept in a Kubernetes secret, and that is named under secrets")
    return values


PlainVariables = Annotated[dict[VariableName, str], AfterValidator(_holds_no_secret)]
"""Environment variables that anyone may read: no credentials."""


def _is_absolute(path: str) -> str:
    if not path.startswith("/") or ".." in PurePosixPath(path).parts or PurePosixPath(path) == PurePosixPath("/"):
        raise ValueError("must be an absolute path below /, without '..'")
    return path


class VolumeSettings(Params):
    """The shared volume: every node mounts it, at the path where the launcher has it too.

    Attributes:
        claim: Of the PersistentVolumeClaim; its access mode must be ReadWriteMany.
        path: Where it is mounted, in the launcher and on every node.
    """

    claim: ClaimName
    path: Annotated[str, AfterValidator(_is_absolute)]


class NodeResources(Params):
    """Cores, memory and accelerators of one pod.

    Attributes:
        cpu: Cores, such as ``"8"`` or ``"500m"``; empty leaves it to the runtime.
        memory: Bytes, such as ``"64Gi"``; empty leaves it to the runtime.
        gpus: Accelerators; 0 for work on CPUs. A training section's ``devices`` must be the same otherwise.
        gpu_type: Resource name of the accelerators; of a share of a GPU as ``nvidia.com/mig-1g.10gb``, of which a
            process can use one.
    """

    cpu: OptionalCores = ""
    memory: OptionalSize = ""
    gpus: int = Field(default=0, ge=0, le=64)
    gpu_type: ResourceName = "nvidia.com/gpu"

    @model_validator(mode="after")
    def _has_one_share_of_a_gpu(self) -> Self:
        if self.gpus > 1 and _MIG.fullmatch(self.gpu_type):
            raise ValueError(
                f"gpus: {self.gpus} of {self.gpu_type}: a process can use one share of a GPU only; take 1 of a larger "
                "share, or whole GPUs"
            )
        return self


class Toleration(Params):
    """A taint that the pods put up with, in the words of Kubernetes.

    Attributes:
        key: Of the taint; empty, with ``Exists``, for every taint.
        operator: ``Exists``, or ``Equal`` to compare the value too.
        value: Of the taint; for ``Equal`` only.
        effect: Which effect is tolerated; empty for every effect.
        seconds: How long ``NoExecute`` is tolerated; always, when absent.
    """

    key: str = ""
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    seconds: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _means_something(self) -> Toleration:
        if self.operator == "Exists" and self.value:
            raise ValueError(f"'Exists' compares no value, and {self.value!r} is given")
        if self.operator == "Equal" and not self.key:
            raise ValueError("'Equal' needs the key of a taint")
        return self

    def manifest(self) -> dict[str, str | int]:
        """The toleration as a pod states it."""
        stated: dict[str, str | int] = {"operator": self.operator}
        stated |= {name: text for name in ("key", "value", "effect") if (text := getattr(self, name))}
        return stated if self.seconds is None else {**stated, "tolerationSeconds": self.seconds}


class PodSettings(Params):
    """What a pod may have beside, and where it may run.

    Attributes:
        shared_memory: Size of ``/dev/shm``, through which data-loading processes hand over clips; empty for the node's
            64 MiB.
        node_selector: Labels of the nodes that will do.
        tolerations: Taints of nodes that will do all the same.
        queue: LocalQueue of Kueue, which lets the pod, or the training job of several nodes, start; empty for none.
    """

    shared_memory: OptionalSize = ""
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    queue: QueueName = ""
