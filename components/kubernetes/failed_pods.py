"""The pods of a run that failed, and the last lines of their logs, as Kubernetes has them."""

from __future__ import annotations

import logging
import os
import re

from components.kubernetes.access import NoAccessError, pod_account
from components.kubernetes.labels import KFP_RUN_LABEL, NAMESPACE, TASK_LABEL
from components.kubernetes.pods import STEP_CONTAINER, Pod, Pods

_ATTEMPT = re.compile(r"\(\d+\)$")
_MOST_BYTES = 64 * 1024
_LOG = logging.getLogger("kineflow")


def failed_pods(run_id: str, *, lines: int) -> dict[str, str]:
    """The last log lines of each task whose latest pod failed; empty away from a cluster, or where nothing failed.

    What cannot be read is said and left out: closing a run does not fail for want of a log.

    Args:
        run_id: Of the run, as Kubeflow Pipelines names it.
        lines: How many of each log.
    """
    namespace = os.environ.get(NAMESPACE, "")
    if not namespace:
        return {}
    try:
        return read_failed(Pods(pod_account(), namespace), run_id, lines=lines)
    except NoAccessError:
        _LOG.warning("no access to Kubernetes from here; logs of failed steps are not kept")
        return {}


def read_failed(pods: Pods, run_id: str, *, lines: int) -> dict[str, str]:
    """As :func:`failed_pods`, of these pods."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        run_pods = pods.labelled(f"{KFP_RUN_LABEL}={run_id},{TASK_LABEL}")
    except (ApiException, HTTPError) as error:
        _LOG.warning("the run's pods cannot be listed (%s); logs of failed steps are not kept", _reason(error))
        return {}
    latest = {_instance(pod): pod for pod in run_pods}
    logs_by_task: dict[str, str] = {}
    for pod in (pod for pod in latest.values() if pod.phase == "Failed"):
        try:
            log = pods.log(pod.name, container=STEP_CONTAINER, most_bytes=_MOST_BYTES, tail_lines=lines)
        except (ApiException, HTTPError) as error:
            log = f"(its log cannot be read: {_reason(error)})"
        logs_by_task[pod.task] = "\n".join(filter(None, [logs_by_task.get(pod.task), _ended(pod), log.strip()]))
    return logs_by_task


def _instance(pod: Pod) -> str:
    """What all attempts at one task, or at one shard of it, have in common."""
    return _ATTEMPT.sub("", pod.argo_node) or pod.task


def _ended(pod: Pod) -> str:
    """How the pod's container ended, as ``OOMKilled, exit code 137``; empty where Kubernetes does not say."""
    states = [
        (container.get("state") or {}).get("terminated")
        for container in pod.status.get("containerStatuses") or []
        if container.get("name") == STEP_CONTAINER
    ]
    (ended,) = states or [None]
    if ended is None:
        return str(pod.status.get("message") or pod.status.get("reason") or "")
    return f"{ended.get('reason')}, exit code {ended.get('exitCode')}"


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or type(error).__name__)
