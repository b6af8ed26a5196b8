"""What training and steps may say of themselves while they run, without knowing who listens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Tracker(Protocol):
    """Receives figures while work goes on; an MLflow run behind it, or nobody."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Record figures of one training step or epoch."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record facts that are not figures."""

    def note_params(self, params: Mapping[str, Any]) -> None:
        """Record what was decided on the way; nested mappings become dotted names, and no name comes twice."""


class NullTracker:
    """Nobody listens."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Do nothing."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Do nothing."""

    def note_params(self, params: Mapping[str, Any]) -> None:
        """Do nothing."""


NULL_TRACKER = NullTracker()
