"""What a clip is described by."""

from __future__ import annotations

from pydantic import Field, field_validator

from kineflow.models.weights_table import weights_named
from kineflow.storage.config import Params, faults_of_a_key


class DescriptorSettings(Params):
    """The window that is described, and what looks at its frames."""

    backbone: str = ""
    """Name of the weights of a network for images, such as ``efficientnet_lite0-imagenet`` (the package of the extra
    ``imagenet``); empty: clips are described by their motion and flow alone."""

    frames: int = Field(16, ge=2, le=512)
    """Time steps of a window: 1.6 seconds where ``ingestion.fps`` is 10."""

    stride_frames: int = Field(1, ge=1, le=64)
    """Frames of a clip from one time step to the next."""

    crop: int = Field(128, ge=16, le=448)
    """Side of the square that the whole frame is made into, pixels."""

    @field_validator("backbone")
    @classmethod
    def _there_are_such_weights(cls, backbone: str) -> str:
        if backbone:
            with faults_of_a_key():
                weights_named(backbone)
        return backbone
