"""The states of runs and steps in Kubeflow Pipelines, and what they mean for whoever waits."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class RunState(StrEnum):
    """State of a run or a task; UNKNOWN for one that this version of the API does not name."""

    UNKNOWN = "RUNTIME_STATE_UNSPECIFIED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    CANCELING = "CANCELING"
    CANCELED = "CANCELED"
    PAUSED = "PAUSED"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return self in (RunState.SUCCEEDED, RunState.SKIPPED, RunState.FAILED, RunState.CANCELED)

    @property
    def word(self) -> str:
        """For people."""
        return _WORDS.get(self, self.name.lower())


EXIT_CODES = {RunState.SUCCEEDED: 0, RunState.SKIPPED: 0, RunState.FAILED: 1, RunState.CANCELED: 3}
"""Exit code of a command that follows a run to its end; 2 is a mistake, 4 a server out of sight, 130 Ctrl-C."""

_WORDS = {RunState.CANCELING: "being cancelled", RunState.CANCELED: "cancelled", RunState.UNKNOWN: "not started"}


def state_of(item: Mapping[str, Any]) -> RunState:
    """The state of a run or task as the API gives it, but for one that was cancelled.

    No part of Kubeflow Pipelines 2.17 ever sets ``CANCELED``: what is cancelled goes by ``CANCELING`` to ``FAILED``.
    """
    state = _known(item)
    if state is RunState.FAILED and _before_the_end(item) is RunState.CANCELING:
        return RunState.CANCELED
    return state


def _before_the_end(item: Mapping[str, Any]) -> RunState | None:
    """The last state of its history that is not the one it ended in; a run may be tried again, and go on."""
    past = (_known(status) for status in reversed(item.get("state_history") or []))
    return next((state for state in past if state is not RunState.FAILED), None)


def _known(item: Mapping[str, Any]) -> RunState:
    try:
        return RunState(item.get("state") or RunState.UNKNOWN)
    except ValueError:
        return RunState.UNKNOWN
