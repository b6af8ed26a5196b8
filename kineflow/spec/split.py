"""What a clip is for."""

from __future__ import annotations

from enum import StrEnum


class Split(StrEnum):
    """What a clip is for."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"
    UNLABELLED = "unlabelled"
