"""How motion probes are trained and measured: every choice, its range, and nothing of where the data lie."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from kineflow.models.stage_names import DecoderName, StageName
from kineflow.storage.config import Params
from kineflow.training.settings import OptimiserSettings


class ProbeSettings(Params):
    """One comparison of networks by the optical flow that can be decoded from their features (D3D §3.1).

    Attributes:
        stages: Whose features are decoded; a network that ends earlier is refused.
        decoders: See :mod:`kineflow.models.flow_decoder`.
        learn_from: Splits that the decoders learn from; flow needs no labels.
        split: Clips that errors are measured on, one window each, in the middle.
        student: Name of the model that the report is about; absent: the first one.
        baseline: Name of the model that all are compared with; absent: none.
        flip: Mirror half of the training clips (u is inverted).
        loss: ``end_point``, mean length of the error, or ``l1``, mean of |error in u| + |error in v|.
        steps: Of each decoder's optimiser.
        batch_size: Clips a step.
        optimiser: Of each decoder.
        workers: Decoding processes; 0 decodes in the probing process.
        cache_mb: Decoded clips kept in memory, MiB a process.
    """

    stages: tuple[StageName, ...] = Field(("Conv2c", "Mixed3c", "Mixed4c", "Mixed4f", "Mixed5c"), min_length=1)
    decoders: tuple[DecoderName, ...] = Field(("simple", "spatial", "pwc"), min_length=1)
    learn_from: tuple[Literal["train", "val", "unlabelled"], ...] = Field(("train",), min_length=1)
    split: Literal["train", "val", "test"] = "test"
    student: str | None = None
    baseline: str | None = None
    flip: bool = True
    loss: Literal["end_point", "l1"] = "end_point"
    steps: int = Field(5000, ge=1)
    batch_size: int = Field(16, ge=1, le=4096)
    optimiser: OptimiserSettings = OptimiserSettings(learning_rate=1e-3, weight_decay=0.0)
    workers: int = Field(0, ge=0, le=64)
    cache_mb: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        for key in ("stages", "decoders", "learn_from"):
            names = getattr(self, key)
            if len(set(names)) < len(names):
                raise ValueError(f"{key} must each be named once")
        if self.split in self.learn_from:
            raise ValueError(f"split must be none of those that are learnt from, not {self.split!r}")
        return self
