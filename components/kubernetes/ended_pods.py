"""How the pods of a run ended, and the last lines of those that failed, as Kubernetes has them."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from components.kubernetes.access import NoAccessError, pod_account
from components.kubernetes.labels import KFP_RUN_LABEL, NAMESPACE, TASK_LABEL
from components.kubernetes.pods import STEP_CONTAINER, Pod, Pods

_ATTEMPT = re.compile(r"\(\d+\)$")
_ERROR = "error: "  # how a step says a mistake (components.frontend.exits)
_OF_KUBEFLOW = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \S+\.go:\d+\]|time=\S+ level=")
_MOST_AFTER = 200  # lines that Kubeflow's launcher may write after a step's own
_MOST_BYTES = 1 << 20
_LOG = logging.getLogger("kineflow")


@dataclass(frozen=True)
class EndedPods:
    """How the pods of a run ended.

    Attributes:
        last_words: Last log lines of each task whose latest pod failed.
        ended_well: Of each pod that has ended, by its host name: whether it did so well.
        failed_at: When the pods of ``last_words`` ended, in seconds since 1970: the last of each task, infinite where
            Kubernetes does not say.
    """

    last_words: dict[str, str] = field(default_factory=dict)
    ended_well: dict[str, bool] = field(default_factory=dict)
    failed_at: dict[str, float] = field(default_factory=dict)


def ended_pods(run_id: str, *, lines: int) -> EndedPods:
    """How the pods of a run ended; of none away from a cluster.

    What cannot be read is said and left out: closing a run does not fail for want of a log.

    Args:
        run_id: Of the run, as Kubeflow Pipelines names it.
        lines: How many of each log are kept.
    """
    namespace = os.environ.get(NAMESPACE, "")
    if not namespace:
        return EndedPods()
    try:
        return read_ended(Pods(pod_account(), namespace), run_id, lines=lines)
    except NoAccessError:
        _LOG.warning("no access to Kubernetes from here; logs of failed steps are not kept")
        return EndedPods()


def read_ended(pods: Pods, run_id: str, *, lines: int) -> EndedPods:
    """As :func:`ended_pods`, of these pods."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        run_pods = pods.labelled(f"{KFP_RUN_LABEL}={run_id},{TASK_LABEL}")
    except (ApiException, HTTPError) as error:
        _LOG.warning("the run's pods cannot be listed (%s); logs of failed steps are not kept", _reason(error))
        return EndedPods()
    latest = {_instance(pod): pod for pod in run_pods}
    logs_by_task: dict[str, str] = {}
    failed_at: dict[str, float] = {}
    for pod in (pod for pod in latest.values() if pod.phase == "Failed"):
        try:
            log = pods.log(
                pod.name, container=STEP_CONTAINER, most_bytes=_MOST_BYTES, tail_lines=lines + _MOST_AFTER
            )  # fmt: skip
        except (ApiException, HTTPError) as error:
            log = f"(its log cannot be read: {_reason(error)})"
        words = [logs_by_task.get(pod.task), _ended(pod), _last_words(log, lines)]
        logs_by_task[pod.task] = "\n".join(filter(None, words))
        failed_at[pod.task] = max(failed_at.get(pod.task, 0.0), _ended_at(pod))
    ended = {pod.host: pod.phase == "Succeeded" for pod in run_pods if pod.phase in ("Succeeded", "Failed")}
    return EndedPods(logs_by_task, ended, failed_at)


def _last_words(log: str, lines: int) -> str:
    """A step's own last lines, without those of Kubeflow's launcher; from the last mistake that it said among them."""
    own = [line for line in log.strip().splitlines() if not _OF_KUBEFLOW.match(line)][-lines:]
    mistakes = [number for number, line in enumerate(own) if line.startswith(_ERROR)]
    return "\n".join(own[mistakes[-1] if mistakes else 0 :]).strip()


def _instance(pod: Pod) -> str:
    """What all attempts at one task, or at one shard of it, have in common."""
    return _ATTEMPT.sub("", pod.argo_node) or pod.task


def _terminated(pod: Pod) -> Mapping[str, Any] | None:
    """What Kubernetes says of the end of the pod's container, if it does."""
    states = [
        (container.get("state") or {}).get("terminated")
        for container in pod.status.get("containerStatuses") or []
        if container.get("name") == STEP_CONTAINER
    ]
    (ended,) = states or [None]
    return ended


def _ended(pod: Pod) -> str:
    """How the pod's container ended, as ``OOMKilled, exit code 137``; empty where Kubernetes does not say."""
    ended = _terminated(pod)
    if ended is None:
        return str(pod.status.get("message") or pod.status.get("reason") or "")
    return f"{ended.get('reason')}, exit code {ended.get('exitCode')}"


def _ended_at(pod: Pod) -> float:
    try:
        return datetime.fromisoformat((_terminated(pod) or {})["finishedAt"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return math.inf


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or type(error).__name__)
