"""What a training job of many nodes needs of its cluster: written when a pipeline is compiled, read by its launcher.

The settings travel as JSON in the environment variable ``KINEFLOW_TRAINJOB`` of the launching task. They hold names of
secrets and of their keys, never a secret value.
"""

from __future__ import annotations

import json
import os
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from kineflow.storage.config import Params, parse_params
from kineflow.storage.errors import KineflowError
from kineflow.tracking.secrets import is_secret_name, mask_uri

TRAINJOB = "KINEFLOW_TRAINJOB"

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"

ObjectName = Annotated[str, StringConstraints(pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=253)]
"""Name of a Kubernetes object: lower-case letters, digits, ``-`` and ``.``."""

VariableName = Annotated[str, StringConstraints(pattern=_VARIABLE, max_length=256)]
"""Name of an environment variable."""

Quantity = Annotated[str, StringConstraints(pattern=_QUANTITY)]
"""An amount as Kubernetes writes it: ``"500m"``, ``"32"``, ``"16Gi"``."""


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
    """What one node is given.

    Attributes:
        cpu: Cores, such as ``"8"`` or ``"500m"``; empty leaves it to the runtime.
        memory: Bytes, such as ``"64Gi"``; empty leaves it to the runtime.
        gpus: Accelerators; 0 for a job on CPUs. Must equal the devices of the job otherwise.
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


class TrainJobSettings(Params):
    """How a training step with several nodes runs as a Kubeflow TrainJob.

    Attributes:
        image: Container image of every node; the same as the launcher's.
        namespace: Where the job is created; empty for the launcher's own.
        runtime: Name of the (Cluster)TrainingRuntime.
        volume: Shared volume that inputs and outputs pass through.
        per_node: Resources of one node.
        shared_memory: Size of ``/dev/shm``, which data-loading workers hand batches over in; empty for 64 MiB.
        node_selector: Labels of the nodes that will do.
        tolerations: Taints that the pods put up with.
        environment: Plain variables of every node; never secrets.
        secrets: Kubernetes secrets by name, and which of their keys become variables of the same names.
        image_pull_secrets: Kubernetes secrets to fetch the image with.
        service_account: Of the nodes' pods; empty for the namespace's default.
        user: Numeric user and group of the nodes' processes, who must be able to write to the volume; the image's own
            when absent.
        timeout_sec: After which the job is stopped and has failed; time in which it is suspended does not count.
        max_restarts: How often torch's elastic launcher starts the processes again after one of them died.
        poll_sec: Between two looks at the job.
    """

    image: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    namespace: ObjectName | Literal[""] = ""
    runtime: ObjectName = "torch-distributed"
    volume: VolumeSettings
    per_node: NodeResources = NodeResources()
    shared_memory: Quantity | Literal[""] = ""
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    environment: dict[VariableName, str] = Field(default_factory=dict)
    secrets: dict[ObjectName, tuple[VariableName, ...]] = Field(default_factory=dict)
    image_pull_secrets: tuple[ObjectName, ...] = ()
    service_account: ObjectName | Literal[""] = ""
    user: int | None = Field(default=None, ge=1)
    timeout_sec: int = Field(default=86_400, ge=1)
    max_restarts: int = Field(default=3, ge=0, le=100)
    poll_sec: float = Field(default=5.0, gt=0, le=300)

    @field_validator("environment")
    @classmethod
    def _holds_no_secret(cls, values: dict[str, str]) -> dict[str, str]:
        for name, value in values.items():
            if is_secret_name(name) or mask_uri(value) != value:
                raise ValueError(f"a credential, {name}, is kept in a Kubernetes secret, named under secrets")
        return values

    @model_validator(mode="after")
    def _sets_each_variable_once(self) -> TrainJobSettings:
        named = [*self.environment, *(key for keys in self.secrets.values() for key in keys)]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise ValueError(f"set twice by environment and secrets: {', '.join(twice)}")
        return self

    def to_json(self) -> str:
        """The settings as the text of ``KINEFLOW_TRAINJOB``; the same settings always give the same text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)


def trainjob_settings() -> TrainJobSettings:
    """Read the settings from the environment.

    Raises:
        KineflowError: ``KINEFLOW_TRAINJOB`` is unset, is no JSON mapping, or holds unknown keys or unfit values.
    """
    text = os.environ.get(TRAINJOB, "")
    try:
        values = json.loads(text)
    except json.JSONDecodeError:
        raise KineflowError(
            "unset, or no JSON: a training job of several nodes needs the settings of its cluster",
            where=TRAINJOB,
            remedy="submit the recipe with a cluster section in its parameters, or train on one node",
        ) from None
    return parse_params(TrainJobSettings, values, where=TRAINJOB)
