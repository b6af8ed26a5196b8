"""Initial weights of a network for clips: S3D, S3D-G, one of transformers, or one of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from kineflow.models.normalisation import FROM_SCRATCH, Normalisation, unknown_input
from kineflow.models.registry import check_hyperparameters, check_model, is_frame_network
from kineflow.models.stage_names import S3D_NETWORKS
from kineflow.models.transformers_names import ARCHITECTURE, check_library_checkpoint
from kineflow.models.weights_table import TENSORFLOW, check_checkpoint, is_named
from kineflow.storage.config import Keywords, Params, PlainValue, faults_of_a_key

PixelValue = Annotated[float, Field(ge=0, le=255)]
Spread = Annotated[float, Field(gt=0, le=255)]
FlowInput = tuple[tuple[float, ...], tuple[float, ...]]

_OF_OTHER_STEPS = {"learnt_flow": "pretrain_learnt_flow", "st_resnet": "pretrain_st_resnet", "tsn": "pretrain_tsn"}
_OF_THE_PORT = ("s3d", "s3d_g")
_OF_FLOW = ("flow_checkpoint", "flow_sha256")
_STILL, _USUAL_SPREAD = 127.5, 32.0
_OF_S3D = ("width", "dropout", "stem_temporal_stride", "stem_spatial_stride", "bn_momentum", "last_stage")


class PretrainSettings(Params):
    """The network of both streams, the weights it starts from, and how its input is normalised."""

    renamed: ClassVar[Mapping[str, str]] = {"norm_momentum": "bn_momentum"}

    architecture: str = "s3d_g"
    """Network of the RGB and of the flow stream: ``s3d``, ``s3d_g``, ``s3d_g_tensorflow`` (S3D-G in the layout of its
    authors' release, for the published weights of D3D), another for clips, ``transformers`` for one of that library
    (VideoMAE, V-JEPA 2, TimeSformer, ViViT), or one of your own by its dotted path, ``my_package.my_network``."""

    hyperparameters: Keywords = Field(default_factory=dict)
    """Keywords of the network's function, for any network; S3D has the six keys from ``width`` on for its own."""

    width: float = Field(1.0, gt=0, le=16)
    """Of S3D: multiplies the channels of every layer; 1 is the paper's, and what published checkpoints have."""

    dropout: float = Field(0.2, ge=0, lt=1)
    """Of S3D: probability that a pooled feature is dropped."""

    stem_temporal_stride: int = Field(2, ge=1, le=2)
    """Of S3D's first convolution; 1 keeps twice the time steps, for clips of 8 to 16 frames."""

    stem_spatial_stride: int = Field(2, ge=1, le=2)
    """Of S3D's first convolution; 1 keeps twice the map, for crops of 32 to 64 pixels."""

    bn_momentum: float = Field(0.01, gt=0, le=1)
    """Of S3D: weight of one batch in the running statistics of batch normalisation; a network evaluates badly before
    about 3 / bn_momentum steps. The paper's .001 suits runs of many thousand steps, .1 runs of a few hundred."""

    last_stage: Literal["Mixed3c", "Mixed4b", "Mixed4c", "Mixed4d", "Mixed4e", "Mixed4f", "Mixed5b", "Mixed5c"] = (
        "Mixed5c"
    )
    """Of S3D: last block before pooling; an earlier one makes a shallower network, for small frames and short runs."""
    checkpoint: str = Field("", json_schema_extra={"is_input": True, "or_weights_name": True})
    """Published RGB weights for this network (S3D's load into S3D-G too, and another's where its ``adapt_checkpoint``
    knows how): a name that ``kineflow weights`` lists, such as ``s3d-kinetics400``, a path, of the folder of a model
    of yours too, or an https URL; empty: from scratch. Of ``transformers``: the folder that ``save_pretrained`` wrote,
    such as ``./videomae``, or a hub id, ``ORGANISATION/NAME@COMMIT``."""

    sha256: str = Field("", pattern="^([0-9a-fA-F]{64})?$")
    """Of the checkpoint's file, hex (of a model's folder, of its ``model.safetensors``; of a checkpoint of
    TensorFlow's, of ``NAME.index`` and ``NAME.data-*`` one behind the other); required with a path or a URL, but for
    ``transformers``."""

    flow_checkpoint: str = Field("", json_schema_extra={"is_input": True})
    """Weights that have learnt from flow, of 2 channels, for the flow stream: a path, of the folder of a model of yours
    too, or an https URL; empty: what ``flow_from_rgb`` says."""

    flow_sha256: str = Field("", pattern="^([0-9a-fA-F]{64})?$")
    """Of the file of ``flow_checkpoint``, as ``sha256`` is of the checkpoint's."""

    flow_from_rgb: bool = True
    """Without ``flow_checkpoint``: start the flow stream from the checkpoint's weights too, by the cross-modality rule;
    else, and without a checkpoint, from weights of its own."""

    rgb_mean: tuple[PixelValue, PixelValue, PixelValue] | None = None
    """Of each channel, 0..255; left out, it is the checkpoint's, if that is a published one or a model of yours; 114.75
    each from scratch. For other checkpoints it has to be given."""

    rgb_std: tuple[Spread, Spread, Spread] | None = None
    """Of each channel, in units of 0..255; likewise, and 57.375 each from scratch."""

    channel_order: Literal["rgb", "bgr"] | None = None
    """In which the network takes colours, and ``rgb_mean`` and ``rgb_std`` list them: ``bgr`` for weights born in
    Caffe; left out, it is the checkpoint's, else ``rgb``."""

    flow_mean: PixelValue | None = None
    """Of the quantised flow of both directions; left out, it is that of ``flow_checkpoint``, if that is a model of
    yours (of other files it has to be given), else 127.5: no motion, which keeps mirrored clips symmetric."""

    flow_std: Spread | None = None
    """Of the quantised flow; likewise, else 32: most motion is far smaller than the bound, so far below the range's
    half."""

    def keywords(self) -> dict[str, PlainValue]:
        """The hyper-parameters of the network that are given, S3D's by keys of their own as well."""
        own = {key: getattr(self, key) for key in _OF_S3D} if self.architecture in S3D_NETWORKS else {}
        return {**own, **self.hyperparameters}

    def rgb_input(self, known: Normalisation | None) -> Normalisation:
        """How RGB frames become the network's input.

        Args:
            known: What the weights of the checkpoint take, where there is one and that is known.

        Raises:
            KineflowError: It is neither known nor given.
        """
        if self.checkpoint and known is None and not (self.rgb_mean and self.rgb_std):
            raise unknown_input(self.checkpoint, "give rgb_mean and rgb_std, and channel_order if it is bgr")
        usual = known or FROM_SCRATCH
        return Normalisation(
            self.rgb_mean or usual.mean, self.rgb_std or usual.std, self.channel_order or usual.channel_order
        )

    def flow_input(self, known: FlowInput | None) -> FlowInput:
        """Mean and deviation of both directions of the quantised flow, as the network's input.

        Args:
            known: Those of the weights of ``flow_checkpoint``, where there is one and they are known.

        Raises:
            KineflowError: They are neither known nor given.
        """
        if self.flow_checkpoint and known is None and (self.flow_mean is None or self.flow_std is None):
            raise unknown_input(self.flow_checkpoint, "give flow_mean and flow_std, in units of 0..255")
        mean, std = known or ((_STILL,) * 2, (_USUAL_SPREAD,) * 2)
        return (
            mean if self.flow_mean is None else (self.flow_mean,) * 2,
            std if self.flow_std is None else (self.flow_std,) * 2,
        )

    @field_validator("architecture")
    @classmethod
    def _there_is_such_a_network(cls, architecture: str) -> str:
        with faults_of_a_key():
            check_model(architecture)
        if architecture in _OF_OTHER_STEPS or is_frame_network(architecture):
            step = _OF_OTHER_STEPS.get(architecture, "train_recurrent")
            raise ValueError(
                f"{architecture} starts in a step of its own, {step}; choose {', '.join(S3D_NETWORKS)} or your own"
            )
        return architecture

    @model_validator(mode="after")
    def _network_takes_its_keywords(self) -> Self:
        with faults_of_a_key():
            check_hyperparameters(self.architecture, self.hyperparameters)
        if self.architecture == ARCHITECTURE and "config" in self.hyperparameters:
            raise ValueError("hyperparameters.config is the checkpoint's; frames and size may be given")
        changed = [key for key in _OF_S3D if getattr(self, key) != type(self).model_fields[key].default]
        if changed and self.architecture not in S3D_NETWORKS:
            raise ValueError(
                f"{', '.join(changed)}: keys of {', '.join(S3D_NETWORKS)} alone; give {self.architecture} its keywords "
                "under hyperparameters"
            )
        return self

    @model_validator(mode="after")
    def _checkpoint_is_for_the_network(self) -> Self:
        if self.architecture == ARCHITECTURE:
            check_library_checkpoint(self.checkpoint)
        else:
            check_checkpoint(self.checkpoint, self.sha256, self.architecture)
        if is_named(self.flow_checkpoint):
            raise ValueError(f"flow_checkpoint {self.flow_checkpoint} has learnt from RGB: give it as checkpoint")
        check_checkpoint(self.flow_checkpoint, self.flow_sha256, self.architecture, keys=_OF_FLOW)
        for checkpoint in (self.checkpoint, self.flow_checkpoint):
            if checkpoint.endswith(TENSORFLOW) and self.architecture in _OF_THE_PORT:
                raise ValueError(
                    f"{checkpoint} is a checkpoint of TensorFlow's: its layout is that of architecture s3d_g_tensorflow"
                )
        return self
