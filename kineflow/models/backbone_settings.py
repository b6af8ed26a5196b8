"""The frozen backbone of a recurrent network."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from kineflow.storage.config import Params


class BackboneSettings(Params):
    """Which stream's network looks at the frames, and what it sees of each."""

    stream: Literal["rgb", "difference", "flow"] = "rgb"
    """Whose initial weights, as they are: the network is not trained."""

    fit: Literal["crop", "squash"] = "squash"
    """``squash``: the whole frame, made a square; ``crop``: its middle."""

    short_side: int = Field(256, ge=8, le=2048)
    """To which frames are resized before a crop, pixels."""

    crop: int = Field(224, ge=8, le=2048)
    """Side of the square, pixels."""

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop > self.short_side:
            raise ValueError(f"crop must be at most short_side ({self.short_side}), not {self.crop}")
        return self
