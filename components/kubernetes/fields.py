"""What Kubernetes takes, as values and sections of parameter files: names, amounts, volumes, resources."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from kineflow.storage.config import Params
from kineflow.storage.credentials import has_credentials, is_secret_name

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"

ObjectName = Annotated[str, StringConstraints(pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=253)]
"""Name of a Kubernetes object: lower-case letters, digits, ``-`` and ``.``."""

VariableName = Annotated[str, StringConstraints(pattern=_VARIABLE, max_length=256)]
"""Name of an environment variable."""

Quantity = Annotated[str, StringConstraints(pattern=_QUANTITY)]
"""An amount as Kubernetes writes it: ``"500m"``, ``"32"``, ``"16Gi"``."""


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

    claim: ObjectName
    path: Annotated[str, AfterValidator(_is_absolute)]


class NodeResources(Params):
    """Cores, memory and accelerators of one pod.

    Attributes:
        cpu: Cores, such as ``"8"`` or ``"500m"``; empty leaves it to the runtime.
        memory: Bytes, such as ``"64Gi"``; empty leaves it to the runtime.
        gpus: Accelerators; 0 for work on CPUs. A training section's ``devices`` must be the same otherwise.
        gpu_type: Resource name of the accelerators.
    """

    cpu: Quantity | Literal[""] = ""
    memory: Quantity | Literal[""] = ""
    gpus: int = Field(default=0, ge=0, le=64)
    gpu_type: Annotated[str, StringConstraints(min_length=1, max_length=253)] = "nvidia.com/gpu"


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
    """

    shared_memory: Quantity | Literal[""] = ""
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
