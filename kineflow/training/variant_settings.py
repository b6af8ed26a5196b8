"""Settings of D3D's variants that plain training and distillation do not have."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from kineflow.models.stage_names import DecoderName, StageName
from kineflow.storage.config import Params
from kineflow.training.settings import OptimiserSettings


class AuxiliarySettings(Params):
    """Flow decoding as a second task: L = CE + weight · EPE.

    Attributes:
        stage: Whose features are decoded, of the student.
        decoder: See :mod:`kineflow.models.flow_decoder`.
        weight: Of the end-point error, px. The paper's is not known.
        unlabelled_batch_size: Unlabelled clips a step, in the end-point error alone; 0 for none.
    """

    stage: StageName = "Mixed3c"
    decoder: DecoderName = "pwc"
    weight: float = Field(1.0, ge=0)
    unlabelled_batch_size: int = Field(0, ge=0, le=4096)


class LearntFlowSettings(Params):
    """Where the estimator of a learnt-flow stream comes from: a checkpoint of PWC-Net, or a flow set to learn from.

    Attributes:
        checkpoint: Path or https URL of PWC-Net's weights; empty: from scratch.
        sha256: Of the checkpoint's file, hex; required with a checkpoint.
        width: Multiplies the channels of the estimator's layers; 1 is the paper's, and what checkpoints have.
        frozen: The estimator stays as it is when the stream is trained.
        steps: Of the optimiser, on flow alone, before the stream is put behind it; 0 for none.
        batch_size: Pairs of frames a step.
        optimiser: Of those steps.
        workers: Decoding processes; 0 decodes in the training process.
        cache_mb: Decoded clips kept in memory, MiB a process.
    """

    checkpoint: str = Field("", json_schema_extra={"is_input": True})
    sha256: str = Field("", pattern="^([0-9a-fA-F]{64})?$")
    width: float = Field(1.0, gt=0, le=1)
    frozen: bool = False
    steps: int = Field(0, ge=0)
    batch_size: int = Field(16, ge=1, le=4096)
    optimiser: OptimiserSettings = OptimiserSettings(learning_rate=3e-4, weight_decay=0.0)
    workers: int = Field(0, ge=0, le=64)
    cache_mb: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if bool(self.checkpoint) != bool(self.sha256):
            raise ValueError("checkpoint and sha256 go together: give both, or neither to start from scratch")
        if not self.checkpoint and not self.steps:
            raise ValueError("steps must be above 0 where there is no checkpoint: flow has to come from somewhere")
        return self
