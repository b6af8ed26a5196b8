"""What a training job asks of the cluster, in the words of Kubeflow's SDK."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.kubernetes.labels import DIGEST, MANAGED_BY, QUEUE, RUN_LABEL, TASK_LABEL
from components.launch.trainjob_settings import TrainJobSettings

NODE = "node"
"""The training container of Kubeflow's runtimes, and the replicated job that it is in."""

_BEYOND_SEC = 600
_COMMAND = ("python", "-m", "components.frontend.trainjob_node")
_NO_SIDECAR = {"sidecar.istio.io/inject": "false"}  # it would outlive the training, and the job never end
_NO_PRIVILEGES = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_DATA, _MEMORY = "kineflow-data", "kineflow-shared-memory"


@dataclass(frozen=True)
class JobRequest:
    """One TrainJob to be.

    Attributes:
        name: Of the job; the same for every attempt at a task.
        run: Of the recipe.
        task: Of the run.
        settings: Of the cluster.
        nodes: Pods.
        devices: Processes a pod.
        command: Of the step, as ``torchrun`` takes it: ``-m components.train --clips …``.
        environment: Plain variables of every node.
    """

    name: str
    run: str
    task: str
    settings: TrainJobSettings
    nodes: int
    devices: int
    command: tuple[str, ...]
    environment: Mapping[str, str]

    @property
    def arguments(self) -> list[str]:
        """Arguments of the nodes' launcher, and the step's after them.

        The runtime sets the number of processes by itself, to the number of cores where there are no GPUs; arguments
        go before it.
        """
        return [
            f"--nnodes={self.nodes}",
            f"--nproc-per-node={self.devices}",
            f"--max-restarts={self.settings.max_restarts}",
            f"--rdzv-id={self.name}",
            *self.command,
        ]

    @property
    def digest(self) -> str:
        """Of all that the job is asked to do: a job with another one is another job."""
        asked = [self.settings.to_json(), self.arguments, sorted(self.environment.items())]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]

    def trainer(self) -> Any:
        """The SDK's trainer: image, nodes, what each gets, and plain variables."""
        from kubeflow.trainer import CustomTrainerContainer

        node = self.settings.per_node
        amounts = {"cpu": node.cpu, "memory": node.memory, node.gpu_type: str(node.gpus) if node.gpus else ""}
        return CustomTrainerContainer(
            image=self.settings.image,
            num_nodes=self.nodes,
            resources_per_node={name: amount for name, amount in amounts.items() if amount} or None,
            env=dict(self.environment),
        )

    @property
    def cluster_deadline_sec(self) -> int:
        """After which the cluster ends the job, should its launcher not have done so.

        The cluster counts from the job's creation, or from when a queue let it go on, and with it the time in which
        pods wait for machines; the launcher counts apart how long they wait and how long they run.
        """
        return self.settings.timeout_sec + self.settings.queue_sec + _BEYOND_SEC

    def options(self) -> list[Any]:
        """The SDK's options: name, labels, command, deadline, and what the pods have beside the runtime's own."""
        from kubeflow.trainer import options as sdk

        labels = {
            MANAGED_BY: "kineflow",
            RUN_LABEL: label(self.run),
            TASK_LABEL: label(self.task),
        }
        return [
            sdk.Name(self.name),
            sdk.Labels(labels | ({QUEUE: self.settings.queue} if self.settings.queue else {})),
            sdk.Annotations({DIGEST: self.digest}),
            sdk.TrainerCommand(list(_COMMAND)),
            sdk.TrainerArgs(self.arguments),
            sdk.ActiveDeadlineSeconds(self.cluster_deadline_sec),
            _on_every_pod(sdk.PodTemplatePatch({"labels": labels, "annotations": _NO_SIDECAR}, self._pod())),
        ]

    def _pod(self) -> Any:
        from kubeflow.trainer import options as sdk

        settings = self.settings
        volumes: list[dict[str, Any]] = [
            {"name": _DATA, "persistentVolumeClaim": {"claimName": settings.volume.claim}},
        ]
        mounts = [{"name": _DATA, "mountPath": settings.volume.path}]
        if settings.shared_memory:
            in_memory = {"medium": "Memory", "sizeLimit": settings.shared_memory}
            volumes.append({"name": _MEMORY, "emptyDir": in_memory})
            mounts.append({"name": _MEMORY, "mountPath": "/dev/shm"})
        user = settings.user
        confined: dict[str, Any] = {"seccompProfile": {"type": "RuntimeDefault"}}
        if user is not None:
            confined |= {
                "runAsUser": user,
                "runAsGroup": user,
                "runAsNonRoot": True,
                "fsGroup": user,
                "fsGroupChangePolicy": "OnRootMismatch",  # else every file of the volume is looked at, by every pod
            }
        return sdk.PodSpecPatch(
            service_account_name=settings.service_account or None,
            volumes=volumes,
            containers=[sdk.ContainerPatch(NODE, volume_mounts=mounts, security_context=_NO_PRIVILEGES)],
            image_pull_secrets=[{"name": name} for name in settings.image_pull_secrets] or None,
            security_context=confined,
            node_selector=settings.node_selector or None,
            tolerations=[toleration.manifest() for toleration in settings.tolerations] or None,
        )


def job_name(run: str, step: str, task: str) -> str:
    """A name for the job of a task: the same for every attempt, another in every other run.

    It starts with a letter and leaves room for what Kubernetes puts after it in the names of pods (63 in all).
    """
    readable = re.sub(r"[^a-z0-9]+", "-", task.lower()).strip("-")[:24].strip("-")
    digest = hashlib.sha256(json.dumps([run, step, task]).encode()).hexdigest()[:10]
    return f"kf-{readable}-{digest}" if readable else f"kf-{digest}"


def label(text: str) -> str:
    """``text`` as the value of a Kubernetes label: at most 63 letters, digits, ``-``, ``_`` and ``.``."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:63].strip("-_.")


def _on_every_pod(pod: Any) -> Any:
    from kubeflow.trainer import options as sdk

    job = sdk.JobTemplatePatch(spec=sdk.JobSpecPatch(pod))
    job_set = sdk.JobSetTemplatePatch(spec=sdk.JobSetSpecPatch([sdk.ReplicatedJobPatch(NODE, job)]))
    return sdk.RuntimePatch(sdk.TrainingRuntimeSpecPatch(job_set))
