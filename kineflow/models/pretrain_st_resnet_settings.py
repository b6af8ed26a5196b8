"""Initial weights of ST-ResNet."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kineflow.storage.config import Params


class PretrainSTResNetSettings(Params):
    """How two streams become an ST-ResNet, or that an ST-ResNet*; sizes are those of the networks it is made of."""

    injection: Literal["add", "multiply"] = "add"
    """How motion enters the residual of appearance; ``multiply`` is the sequel's."""

    direction: Literal["motion_to_appearance", "appearance_to_motion", "both", "none"] = "motion_to_appearance"
    """Which stream is injected into the other; all but the first are for the ablation."""

    temporal_init: Literal["average", "centre", "difference", "random"] = "average"
    """How the taps over time start from the kernels of the streams; of no effect on an ST-ResNet that continues."""

    temporal_pool: bool = False
    """Take the maximum over 5 steps, stride 2, at the end: ST-ResNet*."""

    freeze_norm: bool = False
    """Let normalisation keep its running statistics in training, for batches of a few clips."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Probability that a pooled feature is dropped, in both streams; the paper drops none once they are joined."""
