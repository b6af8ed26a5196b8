"""What a step wrote, from the pods of a run: Kubeflow Pipelines' own API has no logs.

The published API description of KFP names no log at all, so they are read from Kubernetes, with the right that the
user's kubeconfig gives.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

from components.kubernetes.access import NoAccessError, pod_account, user_account
from components.kubernetes.labels import KFP_RUN_LABEL
from components.kubernetes.pods import STEP_CONTAINER, Pod, Pods
from kineflow.storage.errors import KineflowError

DEFAULT_NAMESPACE = "kubeflow"

_PART = re.compile(r"\([^)]*\)$")
_MOST_BYTES = 16 << 20
_NO_KUBERNETES = (
    "give --kubeconfig or set KUBECONFIG, or MLFLOW_TRACKING_URI for the logs that MLflow keeps; without them, the "
    "step's log is on its page"
)


class RunPods:
    """The pods of runs, in one namespace.

    Args:
        namespace: Where they are; empty for the one of the kubeconfig's context, or else ``kubeflow``.
        kubeconfig: Its path; empty for ``KUBECONFIG``, ``~/.kube/config`` or the account of the pod we run in.

    Raises:
        KineflowError: No Kubernetes is configured.
    """

    def __init__(self, namespace: str = "", kubeconfig: str = "") -> None:
        configuration, own = _configuration(kubeconfig)
        self.namespace = namespace or own or DEFAULT_NAMESPACE
        self._pods = Pods(configuration, self.namespace)

    def of_run(self, run_id: str) -> list[Pod]:
        """Pods that ran, or run, a step of ours; without those that KFP needs for itself.

        Raises:
            KineflowError: Kubernetes cannot be reached, or refuses.
        """
        with _translated_errors(self.namespace):
            return list(filter(step_of_pod, self._pods.labelled(f"{KFP_RUN_LABEL}={run_id}")))

    def log(self, pod: Pod, lines: int) -> str:
        """The last lines of a pod.

        Raises:
            KineflowError: Kubernetes cannot be reached, or refuses.
        """
        with _translated_errors(self.namespace):
            return self._pods.log(pod.name, container=STEP_CONTAINER, most_bytes=_MOST_BYTES, tail_lines=lines)


def step_of_pod(pod: Pod) -> str:
    """The step that a pod runs: by the label that our packages give it, or by the place in Argo's graph.

    Empty for a pod that is none of a step, such as a driver.
    """
    parts = [_PART.sub("", part) for part in pod.argo_node.split(".")]
    return pod.task or (parts[-2] if len(parts) > 2 and parts[-1].endswith("executor") else "")


def matching(pods: list[Pod], step: str, names: Mapping[str, str]) -> Iterator[Pod]:
    """The pods of a step, by KFP's key or the recipe's name."""
    return (pod for pod in pods if step_of_pod(pod) in words_for(step, names))


def words_for(step: str, names: Mapping[str, str]) -> set[str]:
    """What a step is called: by KFP, and by the recipe."""
    return {step, names.get(step, step), *(key for key, name in names.items() if name == step)}


def _configuration(kubeconfig: str) -> tuple[Any, str]:
    """The client's configuration, and the namespace that its context names."""
    try:
        configuration, own = user_account(kubeconfig)
    except NoAccessError as error:
        if kubeconfig:
            raise KineflowError(f"not usable: {error}", where=kubeconfig, remedy="correct --kubeconfig") from None
        configuration, own = _own_account(), ""  # its namespace is not the runs'
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):  # how the client reads nonsense
        raise KineflowError(
            "is no kubeconfig",
            where=kubeconfig or os.environ.get("KUBECONFIG"),
            remedy="correct --kubeconfig, or KUBECONFIG",
        ) from None
    configuration.retries = 3
    return configuration, own


def _own_account() -> Any:
    try:
        return pod_account()
    except NoAccessError:
        raise KineflowError(
            "no Kubernetes is configured, from which logs could be read", remedy=_NO_KUBERNETES
        ) from None


@contextmanager
def _translated_errors(namespace: str) -> Iterator[None]:
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
