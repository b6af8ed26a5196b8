"""Where acceptable data ends."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kineflow.storage.config import Params


class ValidationSettings(Params):
    """Where acceptable ends."""

    min_frames: int = Field(2, ge=1)
    """Fewest frames of a usable clip; shorter ones stop the run. Flow needs two."""

    min_clips_per_class: int = Field(5, ge=0)
    """Fewest training clips of a class; fewer is a warning."""

    max_class_ratio: float = Field(5.0, ge=1)
    """Largest ratio of the biggest to the smallest training class; more is a warning."""

    max_rejected_share: float = Field(0.05, ge=0, le=1)
    """Share of clips that may have been rejected on ingest; more stops the run, any at all is a warning."""

    min_short_side: int = Field(0, ge=0)
    """Fewest pixels of a clip's shorter side; smaller ones stop the run. 0: no floor."""

    require_every_class_in: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")
    """Splits in which every class must occur; ``val`` only where the set has a clip in it at all."""

    allow_parts_in_several_splits: bool = False
    """Accept parts of one video in several splits where they share no frame and have groups of their own."""

    looked_at: int = Field(200, ge=0, le=100_000)
    """Clips that are decoded for the page's distributions of brightness and motion, and for its thumbnails; 0: none."""

    allow_duplicates_within_split: bool = False
    """Accept the same content twice within one split without a warning."""
