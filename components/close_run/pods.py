"""The pods of a run that failed, and the last lines of their logs, as Kubernetes has them."""

from __future__ import annotations

import logging
import os
import re
from typing import Any

RUN_LABEL = "pipeline/runid"  # Kubeflow Pipelines gives it to every pod of a run
TASK_LABEL = "kineflow.io/task"
NAMESPACE = "KINEFLOW_NAMESPACE"
_CONTAINER = "main"
_NODE = "workflows.argoproj.io/node-name"  # as "d3d-x.root.exit-handler-1.train.executor(1)"
_ATTEMPT = re.compile(r"\(\d+\)$")
_MOST_PODS = 500
_MOST_BYTES = 64 * 1024
_LOG = logging.getLogger("kineflow")


def failed_pods(run_id: str, *, lines: int) -> dict[str, str]:
    """The last log lines of each task whose latest pod failed; empty away from a cluster, or where nothing failed.

    What cannot be read is said and left out: closing a run does not fail for want of a log.

    Args:
        run_id: Of the run, as Kubeflow Pipelines names it.
        lines: How many of each log.
    """
    from kubernetes import client, config
    from kubernetes.config.config_exception import ConfigException

    namespace = os.environ.get(NAMESPACE, "")
    if not namespace:
        return {}
    try:
        config.load_incluster_config()
    except ConfigException:
        _LOG.warning("no access to Kubernetes from here; logs of failed steps are not kept")
        return {}
    return read_failed(client.CoreV1Api(), namespace, run_id, lines=lines)


def read_failed(core: Any, namespace: str, run_id: str, *, lines: int) -> dict[str, str]:
    """As :func:`failed_pods`, with a client for Kubernetes' core API (``CoreV1Api``)."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    selector = f"{RUN_LABEL}={run_id},{TASK_LABEL}"
    try:
        pods = core.list_namespaced_pod(namespace, label_selector=selector, limit=_MOST_PODS).items
    except (ApiException, HTTPError) as error:
        _LOG.warning("the run's pods cannot be listed (%s); logs of failed steps are not kept", _reason(error))
        return {}
    latest = {_instance(pod): pod for pod in sorted(pods, key=lambda pod: pod.metadata.creation_timestamp)}
    said: dict[str, str] = {}
    for pod in latest.values():
        if pod.status.phase != "Failed":
            continue
        try:
            log = core.read_namespaced_pod_log(
                pod.metadata.name, namespace, container=_CONTAINER, tail_lines=lines, limit_bytes=_MOST_BYTES
            )
        except (ApiException, HTTPError) as error:
            log = f"(its log cannot be read: {_reason(error)})"
        task = pod.metadata.labels[TASK_LABEL]
        said[task] = "\n".join(filter(None, [said.get(task), _ended(pod), log.strip()]))
    return said


def _instance(pod: Any) -> str:
    """What all attempts at one task, or at one shard of it, have in common."""
    node = (pod.metadata.annotations or {}).get(_NODE, "")
    return _ATTEMPT.sub("", node) or str(pod.metadata.labels[TASK_LABEL])


def _ended(pod: Any) -> str:
    """How the pod's container ended, as ``OOMKilled, exit code 137``; empty where Kubernetes does not say."""
    states = [status.state.terminated for status in pod.status.container_statuses or () if status.name == _CONTAINER]
    (ended,) = states or [None]
    if ended is None:
        return str(pod.status.message or pod.status.reason or "")
    return f"{ended.reason}, exit code {ended.exit_code}"


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or type(error).__name__)
