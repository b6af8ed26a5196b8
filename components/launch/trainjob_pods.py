"""What the pods of a training job say: where they are stuck, what the first node prints, how they ended.

All of it is for the reader of the launcher's log. None of it decides anything, so that a launcher which may not read
pods, or a log that cannot be had, is no failure.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from typing import Any

from components.kubernetes.failures import translated_api_errors
from components.kubernetes.labels import JOB_INDEX, JOB_SET
from components.kubernetes.pods import Pod, Pods
from components.launch.trainjob_spec import NODE
from kineflow.storage.credentials import redact
from kineflow.storage.errors import KineflowError

_MOST_LOG = 1 << 18  # bytes of one look at a log
_LAST_LINES = 15
_LOG = logging.getLogger("kineflow")


class PodWatcher:
    """Follows the pods of one job.

    Args:
        pods: Of the namespace.
        job: Name of the job.
    """

    def __init__(self, pods: Pods, job: str) -> None:
        self._pods, self._job = pods, job
        self._states: dict[str, str] = {}
        self._read_until = ""  # stamp of the last line of the first node's log
        self._read_at: float | None = None
        self._is_allowed = True

    def look(self) -> None:
        """Log what changed since the last look: states of pods, and new lines of the first node."""
        for pod in self._listed():
            state = pod_state(pod)
            if self._states.get(pod.name) != state:
                self._states[pod.name] = state
                _LOG.info("node %s: %s", _index(pod), state)
            if _index(pod) == "0" and pod.phase in ("Running", "Succeeded", "Failed"):
                self._follow(pod.name)

    def last_words(self) -> str:
        """The last lines of the pods that failed, or of all where none has; empty where nothing can be read."""
        pods = self._listed()
        failed = [pod for pod in pods if pod.phase == "Failed"]
        parts = []
        for pod in failed[:3] or pods[:3]:
            lines = self._lines(pod.name, tail_lines=_LAST_LINES)
            parts.append("\n".join([f"node {_index(pod)}: {pod_state(pod)}", *(f"  {line}" for line in lines)]))
        return redact("\n".join(parts))

    def _listed(self) -> list[Pod]:
        """Sorted by node, the latest first where a pod was replaced; none where they cannot be listed."""
        if not self._is_allowed:
            return []
        try:
            with translated_api_errors("list the pods of the TrainJob; their states and logs are not shown"):
                pods = self._pods.labelled(f"{JOB_SET}={self._job}")
        except KineflowError as refusal:
            self._is_allowed = False
            _LOG.warning("%s", refusal.problem)
            return []
        except Exception as error:  # whatever happens to words for a reader, the training goes on
            _LOG.debug("pods not listed: %s", error)
            return []
        latest_first = pods[::-1]
        return sorted(latest_first, key=lambda pod: int(_index(pod)) if _index(pod).isdigit() else 0)

    def _follow(self, pod: str) -> None:
        now = time.monotonic()
        since = None if self._read_at is None else math.ceil(now - self._read_at) + 5
        for line in self._lines(pod, since_seconds=since, timestamps=True):
            stamp, _, text = line.partition(" ")
            if stamp > self._read_until:
                self._read_until = stamp
                _LOG.info("node 0 | %s", redact(text))
        self._read_at = now

    def _lines(self, pod: str, **options: Any) -> list[str]:
        try:
            text = self._pods.log(pod, container=NODE, most_bytes=_MOST_LOG, **options)
        except Exception as error:  # as above
            _LOG.debug("log of %s not read: %s", pod, error)
            return []
        return [line for line in text.splitlines() if line.strip()]


def pod_state(pod: Pod) -> str:
    """A pod's state in a line: its phase, and why it is not further."""
    status, phase = pod.status, pod.phase or "Pending"
    for container in status.get("containerStatuses") or []:
        for why in (container.get("state") or {}).values():
            if "exitCode" in why and why["exitCode"] != 0:
                return f"{phase}, exit code {why['exitCode']} ({why.get('reason', 'Error')})"
            if why.get("reason") not in (None, "Completed", "ContainerCreating", "PodInitializing"):
                return _with_message(f"{phase}, {why['reason']}", why)
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _with_message(f"{phase}, {condition.get('reason', 'not scheduled')}", condition)
    return _with_message(f"{phase}, {status['reason']}", status) if status.get("reason") else phase


def _with_message(text: str, why: Mapping[str, Any]) -> str:
    message = str(why.get("message") or "")[:300]
    return f"{text}: {message}" if message else text


def _index(pod: Pod) -> str:
    return pod.marks.get(JOB_INDEX, "?")
