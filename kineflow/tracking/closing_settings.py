"""What is kept of a run that failed."""

from __future__ import annotations

from pydantic import Field

from kineflow.storage.config import Params


class CloseRunSettings(Params):
    """How much of a failed step's log is kept."""

    log_lines: int = Field(30, ge=1, le=1000)
    """Last lines of each failed step."""
