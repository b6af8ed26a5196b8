"""Where sets are stored for other runs."""

from __future__ import annotations

from pydantic import Field

from kineflow.storage.config import Params, RootFolder


class StoreSetSettings(Params):
    """Where a set is stored."""

    place: RootFolder = Field(min_length=1)
    """Folder, such as one of a shared volume, or ``s3://bucket/prefix``, with a folder for each set."""
