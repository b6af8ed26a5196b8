"""What a step wrote, from the pods of a run: Kubeflow Pipelines' own API has no logs.

The published API description of KFP names no log at all, so they are read from Kubernetes, with the right that the
user's kubeconfig gives.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from kineflow.storage.errors import KineflowError

DEFAULT_NAMESPACE = "kubeflow"

_RUN_LABEL = "pipeline/runid"
_TASK_LABEL = "kineflow.io/task"
_NODE_ANNOTATION = "workflows.argoproj.io/node-name"
_CONTAINER = "main"
_PART = re.compile(r"\([^)]*\)$")
_TIMEOUT_SEC = 60
_LIMIT_BYTES = 16 << 20
_NO_KUBERNETES = (
    "give --kubeconfig or set KUBECONFIG; without it, the step's log is on its page, and after the pod is gone in the "
    "artifact store if the cluster keeps logs"
)


@dataclass(frozen=True)
class PodLog:
    """The log of one pod.

    Attributes:
        pod: Its name.
        step: KFP's key or the recipe's name of the step, whichever the pod tells.
        phase: Kubernetes' word for its state.
        text: The last lines.
    """

    pod: str
    step: str
    phase: str
    text: str


class Pods:
    """The pods of runs, in one namespace.

    Args:
        namespace: Where they are; empty for the one of the kubeconfig's context, or else ``kubeflow``.
        kubeconfig: Its path; empty for ``KUBECONFIG``, ``~/.kube/config`` or the account of the pod we run in.

    Raises:
        KineflowError: No Kubernetes is configured.
    """

    def __init__(self, namespace: str = "", kubeconfig: str = "") -> None:
        from kubernetes import client

        configuration, own = _configuration(kubeconfig)
        self.namespace = namespace or own or DEFAULT_NAMESPACE
        self._pods = client.CoreV1Api(client.ApiClient(configuration))

    def of_run(self, run_id: str) -> list[Any]:
        """Pods that ran, or run, a step of ours; without those that KFP needs for itself.

        Raises:
            KineflowError: Kubernetes cannot be reached, or refuses.
        """
        with _naming_failures(self.namespace):
            found = self._pods.list_namespaced_pod(
                self.namespace, label_selector=f"{_RUN_LABEL}={run_id}", _request_timeout=_TIMEOUT_SEC
            ).items
        return sorted(filter(step_of, found), key=lambda pod: str(pod.metadata.creation_timestamp))

    def log(self, pod: Any, lines: int) -> PodLog:
        """The last lines of a pod.

        Raises:
            KineflowError: Kubernetes cannot be reached, or refuses.
        """
        name = pod.metadata.name
        with _naming_failures(self.namespace):
            answer = self._pods.read_namespaced_pod_log(
                name, self.namespace, container=_CONTAINER, tail_lines=lines, limit_bytes=_LIMIT_BYTES,
                _request_timeout=_TIMEOUT_SEC, _preload_content=False,
            )  # fmt: skip
            text = answer.read(_LIMIT_BYTES).decode("utf-8", errors="replace")
        return PodLog(name, step_of(pod), pod.status.phase or "", text)


def step_of(pod: Any) -> str:
    """The step that a pod runs: by the label that our packages give it, or by the place in Argo's graph.

    Empty for a pod that is none of a step, such as a driver.
    """
    labels: Mapping[str, str] = pod.metadata.labels or {}
    if labels.get(_TASK_LABEL):
        return labels[_TASK_LABEL]
    node = (pod.metadata.annotations or {}).get(_NODE_ANNOTATION, "")
    parts = [_PART.sub("", part) for part in node.split(".")]
    return parts[-2] if len(parts) > 2 and parts[-1].endswith("executor") else ""


def _configuration(kubeconfig: str) -> tuple[Any, str]:
    """The client's configuration, and the namespace that its context names."""
    from kubernetes import client, config

    configuration = client.Configuration()
    chosen = kubeconfig or os.environ.get("KUBECONFIG") or None  # the client read the variable when it was imported
    try:
        config.load_kube_config(chosen, client_configuration=configuration, persist_config=False)
        _, context = config.list_kube_config_contexts(chosen)
        own = str(context["context"].get("namespace", ""))
    except config.ConfigException as error:
        if kubeconfig:
            raise KineflowError(f"not usable: {error}", where=kubeconfig, remedy="correct --kubeconfig") from None
        own = _use_own_account(configuration)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):  # how the client reads nonsense
        raise KineflowError("is no kubeconfig", where=chosen, remedy="correct --kubeconfig, or KUBECONFIG") from None
    configuration.retries = 3
    return configuration, own


def _use_own_account(configuration: Any) -> str:
    """Take the account of the pod we run in; its namespace is not the runs'."""
    from kubernetes import config

    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        raise KineflowError(
            "no Kubernetes is configured, from which logs could be read", remedy=_NO_KUBERNETES
        ) from None
    return ""


@contextmanager
def _naming_failures(namespace: str) -> Iterator[None]:
    import urllib3
    from kubernetes.client import ApiException

    try:
        yield
    except ApiException as error:
        rights = "ask for the right to get pods and pods/log, or name another --namespace"
        raise KineflowError(
            f"Kubernetes refuses ({error.status}): {error.reason}", where=f"namespace {namespace}",
            remedy=rights if error.status in (401, 403) else None,
        ) from None  # fmt: skip
    except urllib3.exceptions.HTTPError as error:
        raise KineflowError(f"Kubernetes cannot be reached: {type(error).__name__}", remedy=_NO_KUBERNETES) from None


def matching(pods: list[Any], step: str, names: Mapping[str, str]) -> Iterator[Any]:
    """The pods of a step, by KFP's key or the recipe's name."""
    wanted = {step, names.get(step, step), *(key for key, name in names.items() if name == step)}
    return (pod for pod in pods if step_of(pod) in wanted)
