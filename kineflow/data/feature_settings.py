"""What of a frozen backbone becomes a feature set."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kineflow.spec.split import Split
from kineflow.storage.config import LocalFolder, Params


class FeatureSettings(Params):
    """What is kept of a frozen backbone, and of which clips."""

    tap: Literal["map", "vector"] = "map"
    """``map``: its last feature map; ``vector``: what its classifier sees (of VGG-16, fc7)."""

    splits: tuple[Split, ...] = Field((Split.TRAIN, Split.VAL), min_length=1)
    """Of the clips that get features. Training reads those of ``train`` and ``val``, and a test the videos."""

    batch_frames: int = Field(64, ge=1, le=65536)
    """Frames a forward pass; too many do not fit into the memory of a GPU."""

    workers: int = Field(0, ge=0, le=64)
    """Threads that decode beside the backbone; 0: it waits."""

    media_root: LocalFolder = ""
    """Folder for the features, such as a shared volume; empty: the project's store ``media``, or outside of a project
    the feature set. GoogLeNet's are 100 kB a frame."""
