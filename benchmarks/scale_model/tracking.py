"""MLflow: rows and bytes depend on runs, shards and rounds of validation, and not on the clips."""

from __future__ import annotations

from scale_model.figures import Figures


def database_rows(pipeline_runs: int, shards: int, figures: Figures) -> float:
    """Rows of all tables after so many runs of D3D, each with so many shards of flow."""
    one = figures.tracking
    rows = one.runs + one.params + one.metrics + one.latest_metrics + one.tags + one.inputs
    return pipeline_runs * (rows + (shards - 1) * one.shard_rows)


def database_bytes(pipeline_runs: int, shards: int, figures: Figures) -> float:
    """Bytes of the SQLite file."""
    one = figures.tracking
    grown = one.database_bytes + (shards - 1) * one.shard_database_bytes
    return one.empty_database_bytes + pipeline_runs * grown
