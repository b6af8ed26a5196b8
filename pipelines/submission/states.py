"""The states of runs and steps in Kubeflow Pipelines, and what they mean for whoever waits."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class State(StrEnum):
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
        return self in (State.SUCCEEDED, State.SKIPPED, State.FAILED, State.CANCELED)

    @property
    def word(self) -> str:
        """For people."""
        return _WORDS.get(self, self.name.lower())


EXIT_CODES = {State.SUCCEEDED: 0, State.SKIPPED: 0, State.FAILED: 1, State.CANCELED: 3}
"""Exit code of a command that follows a run to its end; 2 is a mistake, 4 a server out of sight, 130 Ctrl-C."""

_WORDS = {State.CANCELING: "being cancelled", State.CANCELED: "cancelled", State.UNKNOWN: "not started"}


def state_of(item: Mapping[str, Any]) -> State:
    """The state of a run or task as the API gives it."""
    try:
        return State(item.get("state") or State.UNKNOWN)
    except ValueError:
        return State.UNKNOWN
