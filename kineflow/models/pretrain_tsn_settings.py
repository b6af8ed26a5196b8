"""Initial weights of a TSN's streams."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kineflow.models.normalisation import CAFFE, HALF_RANGE, TORCHVISION, Normalisation, unknown_input
from kineflow.models.weights_table import check_checkpoint
from kineflow.storage.config import Params

Dropout = Annotated[float, Field(ge=0, lt=1)]


class PretrainTsnSettings(Params):
    """The network of all streams of a TSN, and the weights they start from."""

    backbone: Literal[
        "bn_inception", "efficientnet_lite0", "googlenet", "googlenet_caffe", "resnet50", "resnet50_caffe", "vgg16"
    ] = "bn_inception"
    """Network that looks at a snippet."""

    width: float = Field(1.0, gt=0, le=16)
    """Multiplies the channels of every layer; 1 is the papers', and what published checkpoints have."""

    output_stride: Literal[8, 16, 32] = 32
    """How many times smaller the last map is than the frame; 8 or 16 for frames of 32 to 112 pixels."""

    segments: int = Field(3, ge=1, le=64)
    """Snippets of a video that are seen in training."""

    consensus: Literal["average", "max", "weighted"] = "average"
    """What makes one score of the snippets' scores."""

    flow_frames: int = Field(5, ge=1, le=64)
    """Flow frames a snippet."""

    difference_frames: int = Field(5, ge=1, le=64)
    """Differences of successive frames a snippet."""

    rgb_dropout: Dropout = 0.8
    """Probability that a pooled feature is dropped, in the RGB and the difference stream."""

    flow_dropout: Dropout = 0.7
    """The same in the flow streams."""

    checkpoint: str = Field("", json_schema_extra={"is_input": True, "or_weights_name": True})
    """Published weights of the backbone for RGB: a name that ``kineflow weights`` lists, such as
    ``resnet50-imagenet``, a path, of the folder of a model of yours too, or an https URL; empty: from scratch."""

    sha256: str = Field("", pattern="^([0-9a-fA-F]{64})?$")
    """Of the checkpoint's file, hex (of a model's folder, of its ``model.safetensors``); required with a path or a
    URL."""

    cross_modality: bool = True
    """Start the other streams from the checkpoint's weights too, by the cross-modality rule; else, and without a
    checkpoint, from weights of their own."""

    normalisation: Literal["auto", "caffe", "torchvision", "half_range"] = "auto"
    """Of the input; ``auto`` is the checkpoint's own, if that is a published one or a model of yours; torchvision's
    from scratch. For other checkpoints it has to be given."""

    flow_still: float = Field(128.0, ge=0, le=255)
    """Level of no motion, subtracted from the flow; 128 in the paper, 127.5 keeps mirrored clips symmetric."""

    def rgb_input(self, known: Normalisation | None) -> Normalisation:
        """How RGB frames become the network's input.

        Args:
            known: What the weights of the checkpoint take, where there is one and that is known.

        Raises:
            KineflowError: It is neither known nor given.
        """
        if self.normalisation != "auto":
            return {"caffe": CAFFE, "torchvision": TORCHVISION, "half_range": HALF_RANGE}[self.normalisation]
        if self.checkpoint and known is None:
            raise unknown_input(self.checkpoint, "give normalisation, if it is caffe, torchvision or half_range")
        return known or TORCHVISION

    @model_validator(mode="after")
    def _checkpoint_is_for_the_backbone(self) -> Self:
        check_checkpoint(self.checkpoint, self.sha256, self.backbone)
        return self
