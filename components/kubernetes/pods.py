"""The one reader of pods and their logs.

Errors are those of the client, for what they mean differs: a launcher goes on training, the last step of a run leaves
the log out, and a user is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.kubernetes.labels import ARGO_NODE, TASK_LABEL
from kineflow.storage.safe_json import parse_json

STEP_CONTAINER = "main"
"""The container of a step that Kubeflow Pipelines runs."""

_MOST_HOST = 63  # characters that Kubernetes takes of the pod's name
_MOST_LISTED = 16 << 20  # bytes; a pod is some ten kilobytes


@dataclass(frozen=True)
class Pod:
    """One pod, as the server holds it.

    Attributes:
        raw: Its JSON.
    """

    raw: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.raw["metadata"]["name"])

    @property
    def host(self) -> str:
        """What programs in it know as their host name."""
        return self.name[:_MOST_HOST].rstrip("-.")

    @property
    def marks(self) -> Mapping[str, str]:
        """Its labels and annotations."""
        metadata = self.raw["metadata"]
        return {**(metadata.get("annotations") or {}), **(metadata.get("labels") or {})}

    @property
    def created(self) -> str:
        """When it was created, in ISO 8601, so that text sorts as time does."""
        return str(self.raw["metadata"].get("creationTimestamp") or "")

    @property
    def status(self) -> Mapping[str, Any]:
        """What Kubernetes says of its state."""
        return self.raw.get("status") or {}

    @property
    def phase(self) -> str:
        """``Pending``, ``Running``, ``Succeeded``, ``Failed``; empty where Kubernetes does not say."""
        return str(self.status.get("phase") or "")

    @property
    def owners(self) -> list[dict[str, Any]]:
        """What it belongs to, and is deleted with: of a step's pod, the workflow that is its run."""
        return list(self.raw["metadata"].get("ownerReferences") or [])

    @property
    def task(self) -> str:
        """What the recipe calls the task that it runs; empty for a pod of something else."""
        return self.marks.get(TASK_LABEL, "")

    @property
    def argo_node(self) -> str:
        """Its place in Argo's graph; empty outside one."""
        return self.marks.get(ARGO_NODE, "")


class Pods:
    """The pods of one namespace.

    Args:
        configuration: Of the client (:mod:`components.kubernetes.access`).
        namespace: Where they are.
        timeout_sec: To connect; between two bytes of the answer.
    """

    def __init__(self, configuration: Any, namespace: str, *, timeout_sec: tuple[int, int] = (10, 60)) -> None:
        from kubernetes import client

        self._core = client.CoreV1Api(client.ApiClient(configuration))
        self.namespace = namespace
        self._timeout_sec = timeout_sec

    def labelled(self, selector: str) -> list[Pod]:
        """Pods by their labels, the oldest first; none where there are too many to take in."""
        answer = self._core.list_namespaced_pod(
            self.namespace, label_selector=selector, _preload_content=False, _request_timeout=self._timeout_sec
        )
        body = answer.read(_MOST_LISTED + 1)
        answer.release_conn()
        listed = parse_json(body) if len(body) <= _MOST_LISTED else {}
        return sorted((Pod(item) for item in listed.get("items") or []), key=lambda pod: pod.created)

    def log(self, pod: str, *, container: str, most_bytes: int, **options: Any) -> str:
        """A container's log.

        Args:
            pod: Name of the pod.
            container: In it.
            most_bytes: More is cut off.
            **options: Of the API: ``tail_lines``, ``since_seconds``, ``timestamps``. None: not given.
        """
        answer = self._core.read_namespaced_pod_log(
            pod,
            self.namespace,
            container=container,
            limit_bytes=most_bytes,
            _preload_content=False,
            _request_timeout=self._timeout_sec,
            **{name: value for name, value in options.items() if value is not None},
        )
        text = bytes(answer.read(2 * most_bytes)).decode(errors="replace")
        answer.release_conn()
        return text
