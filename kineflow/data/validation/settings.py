"""Where acceptable data ends."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kineflow.storage.config import Params

ACCEPTED = "KINEFLOW_ACCEPTED"
"""The variable that names a folder for what is kept of the last accepted set, for all runs of one source."""


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
    """Splits in which every class must occur; ``val`` and ``test`` only where the lists have a clip in them at all."""

    allow_parts_in_several_splits: bool = False
    """Accept parts of one video in several splits where they share no frame and have groups of their own."""

    looked_at: int = Field(200, ge=0, le=100_000)
    """Clips that are decoded for the page's distributions of brightness and motion where ``look_at_contents`` does not
    decode them all; 0: none, and no thumbnails either."""

    allow_duplicates_within_split: bool = False
    """Accept the same content twice within one split without a warning."""

    look_at_contents: bool = True
    """Decode every usable clip, once in a project, for the checks of what frames show: near copies, clips without
    motion, outliers, drift."""

    copy_correlation: float = Field(0.85, ge=0.5, le=1)
    """Two clips are near copies where the correlations of their scenes and of their movements are this at least."""

    allow_near_copies: bool = False
    """Near copies across splits or under two labels are a warning, and do not stop the run."""

    min_change: float = Field(1.5, ge=0, le=255)
    """How much some part of a clip's picture must change within a tenth of a second, in grey levels of 255 (the mean of
    a cell of 16x16, three times in a clip at least); what stays below is frozen or black. A class of such clips stops
    the run, a single one is a warning. 0: any clip will do."""

    max_outlier_factor: float = Field(4.0, ge=1)
    """Rates, shorter sides and durations of over so many times the median of all, or under its inverse, are a
    warning."""

    max_drift: float = Field(0.5, ge=0, le=1)
    """Cliff's delta of brightness, motion, sharpness and frame rate, test against train and all against the last set
    that was accepted; more is a warning where chance does not explain it. 1: any will do."""
