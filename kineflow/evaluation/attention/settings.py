"""What a localisation from attention is made of."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from kineflow.storage.config import Params


class LocaliseSettings(Params):
    """How attention becomes tubes, and what they are compared with.

    Attributes:
        split: Which clips.
        boxes: True boxes: a CSV file (:mod:`kineflow.data.boxes`), or those of UCF101-24 as published, a ``.mat``
            file or a folder of ``.xgtf`` files (:mod:`kineflow.data.ucf101_24`); only clips that have some are looked
            at. Empty: none.
        synthetic: Folder that ``kineflow synth`` made and the clips were ingested from; the exact masks of its truth
            stand for boxes. Empty: none. Without either, attention is shown and not judged.
        window_steps: Of the moving average of the maps over time, odd.
        sigma_px: Of a Gaussian blur of the enlarged maps, pixels of the stored clip; 0 for none.
        threshold: Share of a frame's highest attention that a pixel must exceed; to be tuned on training videos.
        least_iou: Overlap in space and time from which a tube is right; .2 in the paper.
        batch_size: Windows a forward pass.
        workers: Decoding processes; 0 decodes in the process that localises.
        examples: Clips that the report shows, classes in turn.
    """

    split: Literal["train", "val", "test"] = "test"
    boxes: str = Field("", json_schema_extra={"is_input": True})
    synthetic: str = Field("", json_schema_extra={"is_input": True})
    window_steps: int = Field(5, ge=1, le=99)
    sigma_px: float = Field(0.0, ge=0, le=256)
    threshold: float = Field(0.5, ge=0, lt=1)
    least_iou: float = Field(0.2, gt=0, le=1)
    batch_size: int = Field(8, ge=1, le=1024)
    workers: int = Field(0, ge=0, le=64)
    examples: int = Field(8, ge=0, le=48)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.boxes and self.synthetic:
            raise ValueError("boxes and synthetic are two sources of the same: give one of them")
        if self.window_steps % 2 == 0:
            raise ValueError(f"window_steps must be odd, not {self.window_steps}")
        return self
