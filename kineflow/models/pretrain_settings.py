"""Initial weights of S3D and S3D-G."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from kineflow.storage.config import Params

PixelValue = Annotated[float, Field(ge=0, le=255)]
Spread = Annotated[float, Field(gt=0, le=255)]


class PretrainSettings(Params):
    """The network of both streams, the weights it starts from, and how its input is normalised."""

    renamed: ClassVar[Mapping[str, str]] = {"norm_momentum": "bn_momentum"}

    architecture: Literal["s3d", "s3d_g"] = "s3d_g"
    """Network of the RGB and of the flow stream."""

    width: float = Field(1.0, gt=0, le=16)
    """Multiplies the channels of every layer; 1 is the paper's, and what published checkpoints have."""

    dropout: float = Field(0.2, ge=0, lt=1)
    """Probability that a pooled feature is dropped."""

    stem_temporal_stride: int = Field(2, ge=1, le=2)
    """Of the first convolution; 1 keeps twice the time steps, for clips of 8 to 16 frames."""

    stem_spatial_stride: int = Field(2, ge=1, le=2)
    """Of the first convolution; 1 keeps twice the map, for crops of 32 to 64 pixels."""

    bn_momentum: float = Field(0.01, gt=0, le=1)
    """Weight of one batch in the running statistics of batch normalisation; a network evaluates badly before about
    3 / bn_momentum steps. The paper's .001 suits runs of many thousand steps, .1 runs of a few hundred."""

    last_stage: Literal["Mixed3c", "Mixed4b", "Mixed4c", "Mixed4d", "Mixed4e", "Mixed4f", "Mixed5b", "Mixed5c"] = (
        "Mixed5c"
    )
    """Last block before pooling; an earlier one makes a shallower network, for small frames and short runs."""
    checkpoint: str = Field("", json_schema_extra={"is_input": True})
    """Path or https URL of published RGB weights for this network (S3D's load into S3D-G too); empty: from scratch."""

    sha256: str = Field("", pattern="^([0-9a-fA-F]{64})?$")
    """Of the checkpoint's file, hex; required with a checkpoint."""

    flow_from_rgb: bool = True
    """Start the flow stream from the RGB stream's weights by the cross-modality rule; else from weights of its own."""

    rgb_mean: tuple[PixelValue, PixelValue, PixelValue] = (114.75, 114.75, 114.75)
    """Of each channel, 0..255; a checkpoint wants the figures it was trained with."""

    rgb_std: tuple[Spread, Spread, Spread] = (57.375, 57.375, 57.375)
    """Of each channel, in units of 0..255."""

    flow_mean: PixelValue = 127.5
    """Of the quantised flow of both directions; 127.5 is no motion, and keeps mirrored clips symmetric."""

    flow_std: Spread = 32.0
    """Of the quantised flow; most motion is far smaller than the bound, so far below the range's half."""

    @model_validator(mode="after")
    def _checkpoint_has_hash(self) -> Self:
        if bool(self.checkpoint) != bool(self.sha256):
            raise ValueError("checkpoint and sha256 go together: give both, or neither to start from scratch")
        return self
