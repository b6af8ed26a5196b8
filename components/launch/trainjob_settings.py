"""What a training job of many nodes needs of its cluster: written when a pipeline is compiled, read by its launcher.

The settings travel as JSON in the environment variable ``KINEFLOW_TRAINJOB`` of the launching task. They hold names of
secrets and of their keys, never a secret value.
"""

from __future__ import annotations

import json
import os
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from components.kubernetes.fields import (
    NodeResources,
    ObjectName,
    PlainVariables,
    PodSettings,
    VariableName,
    VolumeSettings,
)
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from kineflow.storage.safe_json import parse_json

TRAINJOB = "KINEFLOW_TRAINJOB"


class TrainJobSettings(PodSettings):
    """How a training step with several nodes runs as a Kubeflow TrainJob.

    Attributes:
        image: Container image of every node; the same as the launcher's.
        namespace: Where the job is created; empty for the launcher's own.
        runtime: Name of the (Cluster)TrainingRuntime.
        volume: Shared volume that inputs and outputs pass through.
        per_node: Resources of one node.
        environment: Plain variables of every node; never secrets.
        secrets: Kubernetes secrets by name, and which of their keys become variables of the same names.
        image_pull_secrets: Kubernetes secrets to fetch the image with.
        service_account: Of the nodes' pods; empty for the namespace's default.
        user: Numeric user and group of the nodes' processes, who must be able to write to the volume; the image's own
            when absent.
        timeout_sec: After which the job is stopped and has failed; time in which nodes wait for machines, or a queue
            holds the job back, does not count.
        queue_sec: How long they may wait.
        max_restarts: How often torch's elastic launcher starts the processes again after one of them died.
        poll_sec: Between two looks at the job.
    """

    image: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    namespace: ObjectName | Literal[""] = ""
    runtime: ObjectName = "torch-distributed"
    volume: VolumeSettings
    per_node: NodeResources = NodeResources()
    environment: PlainVariables = Field(default_factory=dict)
    secrets: dict[ObjectName, tuple[VariableName, ...]] = Field(default_factory=dict)
    image_pull_secrets: tuple[ObjectName, ...] = ()
    service_account: ObjectName | Literal[""] = ""
    user: int | None = Field(default=None, ge=1)
    timeout_sec: int = Field(default=86_400, ge=1)
    queue_sec: int = Field(default=86_400, ge=1)
    max_restarts: int = Field(default=3, ge=0, le=100)
    poll_sec: float = Field(default=5.0, gt=0, le=300)

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
        values = parse_json(text)
    except ValueError:
        raise KineflowError(
            "unset, or no JSON: a training job of several nodes needs the settings of its cluster",
            where=TRAINJOB,
            remedy="submit the recipe with a cluster section in its parameters, or train on one node",
        ) from None
    return parse_params(TrainJobSettings, values, where=TRAINJOB)
