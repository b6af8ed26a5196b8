"""Tags by which the step that validates clip sets says what it has found; one that has failed makes no model."""

from __future__ import annotations

from typing import Any

from kineflow.tracking.store import experiment_ids

VALIDATED_SET = "validation.clip_set"
"""Digest of all usable clips of the set, and their labels."""
VALIDATION_OUTCOME = "validation.outcome"
GREEN, ACCEPTED = "green", "accepted"
"""All checks passed; or some that only warn did not."""


def outcome_of(client: Any, clip_set: str) -> str:
    """The latest outcome for a clip set, by its digest; empty where the store knows of none."""
    if not clip_set:
        return ""
    query = f"tags.`{VALIDATED_SET}` = '{clip_set}' AND attributes.status = 'FINISHED'"
    latest = client.search_runs(experiment_ids(client), query, order_by=["attributes.start_time DESC"], max_results=1)
    return str(latest[0].data.tags.get(VALIDATION_OUTCOME, "")) if latest else ""
