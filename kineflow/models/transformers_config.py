"""The configuration of a transformers network for video, ``config.json``, read as data.

Only what decides the shape of the network is taken, each value within its range; all else in the file is left, such as
the code that it may name (``auto_map``). Nothing of the library is imported.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from kineflow.storage.errors import KineflowError
from kineflow.storage.safe_json import parse_json, read_json

CONFIG_FILE = "config.json"


_MOST_WEIGHTS = 2**31  # the largest file that is read holds so many in 16 bits; ViT-g has half of that


@dataclass(frozen=True)
class Family:
    """Where the library has what the contract of a network asks for.

    Attributes:
        title: For people.
        network: Its class for video classification.
        base: Attribute of that, the network without its head.
        embeddings, stem, blocks, norm: Of ``base``: what makes tokens of pixels, the convolution in it, the blocks, and
            the normalisation behind them.
        head: Attributes beside ``base`` that come before the classifier.
        resizes: What of a clip may differ from the checkpoint's: its positions are computed, or the library
            interpolates them.
    """

    title: str
    network: str
    base: str
    embeddings: str
    stem: str
    blocks: str
    norm: str
    head: tuple[str, ...] = ()
    resizes: tuple[str, ...] = ()


def _square(value: Any) -> Any:
    """Sides are given as one number, or as two that are equal."""
    return value[0] if isinstance(value, list | tuple) and len(value) == 2 and value[0] == value[1] else value


_Side = Annotated[int, BeforeValidator(_square), Field(ge=1, le=2048)]
_Share = Annotated[float, Field(ge=0, lt=1)]
_Activation = Literal[
    "gelu", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish"
]


class VideoConfig(BaseModel):
    """What the families share; the fields have the library's names and defaults."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    family: ClassVar[Family]
    clip_keys: ClassVar[tuple[str, str, str]] = ("num_frames", "image_size", "num_channels")
    most_values: ClassVar[int] = 2**26  # tokens × channels: V-JEPA 2 has 26 million for 64 frames of 384 px

    hidden_size: int = Field(768, ge=4, le=8192)
    num_hidden_layers: int = Field(12, ge=1, le=128)
    num_attention_heads: int = Field(12, ge=1, le=256)
    hidden_act: _Activation = "gelu"
    layer_norm_eps: float = Field(1e-6, gt=0, lt=1)
    initializer_range: float = Field(0.02, gt=0, le=1)
    attention_probs_dropout_prob: _Share = 0.0

    @property
    def frames(self) -> int:
        """T, of the clips that it takes."""
        return int(getattr(self, self.clip_keys[0]))

    @property
    def size(self) -> int:
        """S, of their frames, pixels."""
        return int(getattr(self, self.clip_keys[1]))

    @property
    def cell(self) -> tuple[int, int]:
        """Frames and pixels of what becomes a token."""
        raise NotImplementedError

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along time, height and width."""
        (frames, px), side = self.cell, self.size
        return self.frames // frames, side // px, side // px

    @property
    def blocks(self) -> int:
        """How many, of attention and an MLP, the whole network has."""
        return self.num_hidden_layers

    @property
    def text(self) -> str:
        """As a model's card keeps it; :func:`config_of_text` reads it again."""
        return json.dumps(self.plain(), sort_keys=True, separators=(",", ":"))

    def plain(self) -> dict[str, Any]:
        """The values by the library's names."""
        return {"model_type": self.family.base, **self.model_dump(mode="json")}

    def resized(self, *, frames: Any = 0, size: Any = 0) -> Self:
        """The same for clips of other length or size; 0 leaves it.

        Raises:
            KineflowError: Its positions are learnt for the ones it has.
        """
        wanted = {"frames": frames or self.frames, "size": size or self.size}
        for what, value in wanted.items():
            if value != (own := getattr(self, what)) and what not in self.family.resizes:
                raise KineflowError(
                    f"{self.family.title} has positions for {own} {_UNITS[what]} alone, not for {value}",
                    remedy=f"leave hyperparameters.{what} out, and give the trainings {_KEYS[what]}: {own}",
                )
        changed = dict(zip(self.clip_keys, wanted.values(), strict=False))
        return _validated(type(self), {**self.model_dump(), **changed}, where=None)

    def require_clip(self, *, frames: int, size: int) -> None:
        """Check that clips have the length and the size that the network is for.

        Raises:
            KineflowError: They have another.
        """
        for what, given in (("frames", frames), ("size", size)):
            if given != (own := getattr(self, what)):
                other = f"; or set network.hyperparameters.{what}: {given}" if what in self.family.resizes else ""
                raise KineflowError(
                    f"{self.family.title} is built for clips of {own} {_UNITS[what]}, not of {given}",
                    remedy=f"give the trainings {_KEYS[what]}: {own}{other}",
                )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        frames, px = self.cell
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is no multiple of {self.num_attention_heads} heads")
        if self.frames % frames or self.size % px:
            raise ValueError(
                f"clips of {self.frames} frames of {self.size} px cannot be cut into cells of {frames} frames, {px} px"
            )
        times, height, width = self.grid
        if times * height * width * self.hidden_size > self.most_values:
            raise ValueError(f"{times * height * width} tokens of {self.hidden_size} channels are too many")
        inner = getattr(self, "intermediate_size", 0) or self.hidden_size * getattr(self, "mlp_ratio", 0)
        weights = self.hidden_size * (
            self.blocks * (4 * self.hidden_size + 2 * inner) + 3 * frames * px**2  # the latter of RGB, into tokens
        )
        if weights > _MOST_WEIGHTS:
            raise ValueError(f"about {weights / 1e9:.0f} billion weights; at most {_MOST_WEIGHTS / 1e9:.0f} are taken")
        return self


class VideoMAE(VideoConfig):
    """Tong et al. 2022, and VideoMAE V2 in its layout."""

    family = Family(
        "VideoMAE",
        network="VideoMAEForVideoClassification",
        base="videomae",
        embeddings="embeddings",
        stem="embeddings.patch_embeddings.projection",
        blocks="encoder.layer",
        norm="layernorm",
        head=("fc_norm",),
        resizes=("frames",),
    )
    most_values = 5 * 2**20  # the library computes positions one by one; ViT-g has 4.4 million for 32 frames of 224 px
    layer_norm_eps: float = Field(1e-12, gt=0, lt=1)
    image_size: _Side = 224
    patch_size: _Side = 16
    num_frames: int = Field(16, ge=1, le=1024)
    tubelet_size: int = Field(2, ge=1, le=64)
    intermediate_size: int = Field(3072, ge=1, le=32768)
    hidden_dropout_prob: _Share = 0.0
    qv_bias: bool = True
    use_mean_pooling: bool = True

    @property
    def cell(self) -> tuple[int, int]:
        """See :attr:`VideoConfig.cell`."""
        return self.tubelet_size, self.patch_size


class TimeSformer(VideoConfig):
    """Bertasius et al. 2021."""

    family = Family(
        "TimeSformer",
        network="TimesformerForVideoClassification",
        base="timesformer",
        embeddings="embeddings",
        stem="embeddings.patch_embeddings.projection",
        blocks="encoder.layer",
        norm="layernorm",
        resizes=("frames", "size"),
    )
    image_size: _Side = 224
    patch_size: _Side = 16
    num_frames: int = Field(8, ge=1, le=1024)
    intermediate_size: int = Field(3072, ge=1, le=32768)
    hidden_dropout_prob: _Share = 0.0
    qkv_bias: bool = True
    attention_type: Literal["divided_space_time", "space_only", "joint_space_time"] = "divided_space_time"

    @property
    def cell(self) -> tuple[int, int]:
        """See :attr:`VideoConfig.cell`."""
        return 1, self.patch_size


class ViViT(VideoConfig):
    """Arnab et al. 2021, model 1."""

    family = Family(
        "ViViT",
        network="VivitForVideoClassification",
        base="vivit",
        embeddings="embeddings",
        stem="embeddings.patch_embeddings.projection",
        blocks="layers",
        norm="layernorm",
    )
    hidden_act: _Activation = "gelu_fast"
    image_size: _Side = 224
    num_frames: int = Field(32, ge=1, le=1024)
    tubelet_size: tuple[Annotated[int, Field(ge=1, le=64)], _Side, _Side] = (2, 16, 16)
    intermediate_size: int = Field(3072, ge=1, le=32768)
    hidden_dropout_prob: _Share = 0.0
    qkv_bias: bool = True

    @property
    def cell(self) -> tuple[int, int]:
        """See :attr:`VideoConfig.cell`."""
        return self.tubelet_size[0], self.tubelet_size[1]

    @model_validator(mode="after")
    def _cells_are_square(self) -> Self:
        if self.tubelet_size[1] != self.tubelet_size[2]:
            raise ValueError(f"tubelet_size {self.tubelet_size} is not square")
        return self


class VJEPA2(VideoConfig):
    """Assran et al. 2025: the encoder, with the attentive pooling of its probes."""

    family = Family(
        "V-JEPA 2",
        network="VJEPA2ForVideoClassification",
        base="vjepa2",
        embeddings="encoder.embeddings",
        stem="encoder.embeddings.patch_embeddings.proj",
        blocks="encoder.layer",
        norm="encoder.layernorm",
        head=("pooler",),
        resizes=("frames", "size"),
    )
    clip_keys = ("frames_per_clip", "crop_size", "in_chans")

    hidden_size: int = Field(1024, ge=4, le=8192)
    num_hidden_layers: int = Field(24, ge=1, le=128)
    num_attention_heads: int = Field(16, ge=1, le=256)
    patch_size: _Side = 16
    crop_size: _Side = 256
    frames_per_clip: int = Field(64, ge=1, le=1024)
    tubelet_size: int = Field(2, ge=1, le=64)
    mlp_ratio: float = Field(4.0, gt=0, le=16)
    qkv_bias: bool = True
    attention_dropout: _Share = 0.0
    drop_path_rate: _Share = 0.0
    num_pooler_layers: int = Field(3, ge=0, le=32)

    @property
    def cell(self) -> tuple[int, int]:
        """See :attr:`VideoConfig.cell`."""
        return self.tubelet_size, self.patch_size

    @property
    def blocks(self) -> int:
        """See :attr:`VideoConfig.blocks`; pooling has one of cross-attention besides."""
        return self.num_hidden_layers + self.num_pooler_layers + 1


FAMILIES: dict[str, type[VideoConfig]] = {kind.family.base: kind for kind in (VideoMAE, VJEPA2, TimeSformer, ViViT)}
"""By ``model_type``."""

Config = TypeVar("Config", bound=VideoConfig)

_UNITS = {"frames": "frames", "size": "px"}
_KEYS = {"frames": "frames", "size": "crop"}


def config_of_file(path: Path) -> tuple[VideoConfig, tuple[str, ...]]:
    """A configuration, and the names of the classes beside it in the order of the scores (``id2label``); none: empty.

    Raises:
        KineflowError: The file is missing, damaged, or of a network that is not taken.
    """
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise KineflowError(
            f"no checkpoint of transformers: {CONFIG_FILE} is missing",
            where=path.parent,
            remedy="give the folder that save_pretrained wrote",
        ) from None
    except (OSError, ValueError) as error:
        raise KineflowError(f"damaged: {error}", where=path, remedy="write or download it again") from None
    return _config(content, where=str(path)), _classes(content.get("id2label"), where=str(path))


def config_of_text(text: str) -> VideoConfig:
    """A configuration as a model's card has it.

    Raises:
        KineflowError: It is none, or of a network that is not taken.
    """
    if not text:
        raise KineflowError(
            "a network of transformers has no shape without its checkpoint",
            remedy="name its folder or hub id in checkpoint",
        )
    try:
        content = parse_json(text)
    except ValueError as error:
        raise KineflowError(f"config is no JSON: {error}", remedy="use the card that was written") from None
    return _config(content, where="hyper-parameter config")


def _config(content: Any, *, where: str) -> VideoConfig:
    kind = content.get("model_type") if isinstance(content, dict) else None
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise KineflowError(
            f"a network of model_type {str(kind)[:60]!r}", where=where, remedy=f"give one of {', '.join(FAMILIES)}"
        )
    return _validated(FAMILIES[kind], content, where=where)


def _validated(kind: type[Config], content: Any, *, where: str | None) -> Config:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        faults = [f"  {'.'.join(map(str, fault['loc'])) or 'all'}: {fault['msg']}" for fault in error.errors()]
        raise KineflowError(
            "\n".join([f"not a configuration of {kind.family.title} that is taken", *faults[:5]]),
            where=where,
            remedy="give a checkpoint that the library wrote, and clips that its cells divide",
        ) from None


def _classes(id2label: Any, *, where: str) -> tuple[str, ...]:
    from kineflow.spec.classes import checked_classes

    if not id2label:
        return ()
    try:
        names = TypeAdapter(dict[int, str]).validate_python(id2label)
        return checked_classes([names[number] for number in range(len(names))])
    except (ValidationError, KeyError, ValueError) as error:
        reason = "it does not count from 0" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise KineflowError(
            f"id2label names no classes: {reason}", where=where, remedy="correct the names of the classes"
        ) from None
