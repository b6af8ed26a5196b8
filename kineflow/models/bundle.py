"""A model on disk: ``model.safetensors`` holds its weights, ``model.json`` all else that it takes to use it.

No code is stored and nothing is unpickled: a bundle is rebuilt from the name of its architecture and plain values, and
everything is checked before a byte of weights is read. Imports of torch are local, so that :func:`load_card` and
:func:`weights_digest` serve tools that only describe models.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from kineflow.data.modality import Modality
from kineflow.data.sampling import ShortPolicy
from kineflow.errors import KineflowError
from kineflow.files import whole_folder
from kineflow.flow.source import FlowSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from kineflow.models.network import ImageNetwork, Network, VideoNetwork

WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "model.json"

_FORMAT = 1
_LARGEST_CARD_BYTES = 1 << 20
_FORBID_EXTRA: dict[str, Any] = {"extra": "forbid"}

Fit = Literal["crop", "squash"]
Scalar = str | int | float | bool | None
AnyNetwork = TypeVar("AnyNetwork", bound="Network")


@dataclass(frozen=True)
class Preprocessing:
    """How a clip becomes the network's input.

    Attributes:
        modality: See :mod:`kineflow.data.modality`; flow is quantised levels, 0..255, still motion in the middle.
        frames: T, time steps in a clip (for flow: fields), or in each snippet of one.
        stride_frames: Frames of video from one time step to the next.
        short_side: To which each frame is resized, pixels.
        crop: Side of the square cut from it, pixels.
        mean, std: Subtracted from and divided into each channel, in units of 0..255; one entry per channel.
        channel_order: In which the network takes colours, and ``mean`` and ``std`` list them: ``bgr`` for weights born
            in Caffe. Frames are decoded as RGB, and turned round when they are normalised.
        segments: K of TSN: the network sees K snippets of a video at once, and its scores are averaged over the
            snippets of a longer test before the softmax. 0: it sees one window, and probabilities are averaged.
        fit: ``crop`` cuts the square out of the resized frame; ``squash`` makes the whole frame a square of this size,
            whatever its aspect, and ``short_side`` does not matter.
        short: What happens where a video is shorter than the clip, see :mod:`kineflow.data.sampling`.

    Raises:
        KineflowError: A value is impossible.
    """

    __pydantic_config__: ClassVar = _FORBID_EXTRA

    modality: Modality
    frames: int
    stride_frames: int
    short_side: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: Literal["rgb", "bgr"] = "rgb"
    segments: int = 0
    fit: Fit = "crop"
    short: ShortPolicy = "repeat_last"

    def __post_init__(self) -> None:
        if min(self.frames, self.stride_frames, self.crop, self.segments + 1) < 1 or self.short_side < self.crop:
            raise KineflowError(
                f"impossible clip geometry: {self.frames} frames at stride {self.stride_frames}, "
                f"crop {self.crop} of a short side of {self.short_side}",
                remedy="give counts of at least 1, and a crop no larger than the short side",
            )
        if not self.mean or len(self.mean) != len(self.std) or not all(math.isfinite(x) for x in self.mean):
            raise KineflowError(
                f"mean {self.mean} and std {self.std} do not pair up", remedy="give one number each for every channel"
            )
        if not all(0 < deviation < math.inf for deviation in self.std):
            raise KineflowError(f"std {self.std} cannot divide", remedy="give numbers above 0")
        colours = {"rgb": 3, "rgb_difference": 3, "rgb_flow": len(self.mean)}
        if self.channel_order == "bgr" and len(self.mean) != colours.get(self.modality):
            raise KineflowError(
                f"{len(self.mean)} channels of {self.modality} have no order bgr",
                remedy="keep channel_order bgr for RGB frames of 3 channels",
            )
        if self.modality == "rgb_flow" and (self.fields < 1 or len(self.mean) % 2 == 0):
            raise KineflowError(
                f"no frame with flow fields has {len(self.mean)} channels",
                remedy="give 3 for the frame and 2 for each field",
            )

    @property
    def fields(self) -> int:
        """L of ``rgb_flow``: flow fields at each moment; 1 for other modalities."""
        return (len(self.mean) - 3) // 2 if self.modality == "rgb_flow" else 1


@dataclass(frozen=True)
class ModelCard:
    """What a model is, apart from its weights.

    Attributes:
        name: For people and for score files, e.g. ``student``.
        architecture: As :mod:`kineflow.models.registry` knows it, a model for clips or a backbone for images.
        hyperparameters: Its keywords, without ``num_classes`` and ``in_channels``: those follow from the next two.
        classes: Names in the order of the scores; none for initial weights, whose network has no classifier.
        preprocessing: See :class:`Preprocessing`; the length of its mean is the network's ``in_channels``.
        lineage: Facts that lead back to data, code and parents.
        metrics: Finite figures.
        flow: How the flow was made that the network learnt from, where that is known; without it a network that takes
            flow cannot be asked about a plain video.

    Raises:
        KineflowError: Classes repeat, or a metric is not finite.
    """

    __pydantic_config__: ClassVar = _FORBID_EXTRA

    name: str
    architecture: str
    hyperparameters: dict[str, Scalar]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    lineage: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    flow: FlowSource | None = None

    def __post_init__(self) -> None:
        if len(set(self.classes)) != len(self.classes):
            repeated = sorted({name for name in self.classes if self.classes.count(name) > 1})
            raise KineflowError(f"classes listed twice: {', '.join(repeated)}", remedy="list each class once")
        if broken := sorted(name for name, value in self.metrics.items() if not math.isfinite(value)):
            raise KineflowError(f"metrics that are not finite: {', '.join(broken)}", remedy="leave them out")


def save_bundle(folder: Path, network: Network, card: ModelCard) -> None:
    """Write the bundle of a model or of a backbone, whole or not at all; one that was there is replaced.

    Raises:
        KineflowError: ``card`` does not describe ``network``: what :func:`load_bundle` would build has other tensors.
    """
    from safetensors.torch import save_file

    from kineflow.models.network import ImageNetwork, require_same_tensors, shapes
    from kineflow.models.registry import create_backbone, create_model

    create: Callable[..., Network] = create_backbone if isinstance(network, ImageNetwork) else create_model
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    require_same_tensors(
        shapes(_blueprint(card, create).state_dict()),
        shapes(state),
        where=f"model card {card.name!r}",
        remedy="give the card the network's own architecture, hyper-parameters, classes and channels",
    )
    content = {"format": _FORMAT, **dataclasses.asdict(card)}
    with whole_folder(folder) as partial:
        save_file(state, partial / WEIGHTS_FILE)
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        (partial / CARD_FILE).write_text(text + "\n", encoding="utf-8")


def load_bundle(folder: Path) -> tuple[VideoNetwork, ModelCard]:
    """Rebuild a model on the CPU, in eval mode; torch's global generator is left as it was.

    Raises:
        KineflowError: Files are missing or damaged, weights and card do not fit each other, or it is a backbone.
    """
    from kineflow.models.registry import create_model

    return _load(folder, create_model)


def load_backbone(folder: Path) -> tuple[ImageNetwork, ModelCard]:
    """Rebuild a backbone as :func:`load_bundle` does a model.

    Raises:
        KineflowError: Files are missing or damaged, weights and card do not fit each other, or it is no backbone.
    """
    from kineflow.models.registry import create_backbone

    return _load(folder, create_backbone)


def _load(folder: Path, create: Callable[..., AnyNetwork]) -> tuple[AnyNetwork, ModelCard]:
    import torch
    from safetensors import SafetensorError, safe_open

    from kineflow.models.network import require_same_tensors, shapes

    card = load_card(folder)
    weights = _existing(folder, WEIGHTS_FILE)
    try:
        blueprint = _blueprint(card, create)
    except KineflowError as error:
        raise KineflowError(error.problem, where=folder / CARD_FILE, remedy=error.remedy) from None
    try:
        with safe_open(weights, framework="pt") as stored:
            found = {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
            require_same_tensors(
                shapes(blueprint.state_dict()), found, where=str(weights), remedy="use the files of one bundle together"
            )
            state = {name: stored.get_tensor(name) for name in found}
    except (SafetensorError, OSError) as error:
        raise _damaged(weights, error) from None
    with torch.random.fork_rng(devices=[]):
        network = _build(card, create)
    network.load_state_dict(state)
    return network.eval(), card


def load_card(folder: Path) -> ModelCard:
    """Read what a model is; torch is not imported.

    Raises:
        KineflowError: The file is missing, too large, no JSON, or has unknown, missing or impossible entries.
    """
    from pydantic import TypeAdapter, ValidationError

    path = _existing(folder, CARD_FILE)
    if path.stat().st_size > _LARGEST_CARD_BYTES:
        raise KineflowError(
            f"a model card of {path.stat().st_size} bytes; at most {_LARGEST_CARD_BYTES} are read",
            where=path,
            remedy="check that this file is a Kineflow model's",
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from None
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
        raise KineflowError(
            f"not a model card of format {_FORMAT}",
            where=path,
            remedy="check that this is a model's folder, written by this version of Kineflow",
        )
    try:
        return TypeAdapter(ModelCard).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        faults = [f"  {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise KineflowError(
            "\n".join(["not a valid model card", *faults]), where=path, remedy="write bundles with save_bundle only"
        ) from None
    except KineflowError as error:
        raise KineflowError(error.problem, where=path, remedy=error.remedy) from None


def weights_digest(folder: Path) -> str:
    """Hex SHA-256 of a bundle's tensors by name, dtype, shape and bytes, whatever else the file holds.

    Equal digests are equal weights, which is what makes registering idempotent. Torch is not imported.

    Raises:
        KineflowError: The weights are missing or damaged.
    """
    from safetensors import SafetensorError, deserialize

    path = _existing(folder, WEIGHTS_FILE)
    try:
        tensors = dict(deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise _damaged(path, error) from None
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, tensor["dtype"], tensor["shape"]]).encode())
        digest.update(tensor["data"])
    return digest.hexdigest()


def _build(card: ModelCard, create: Callable[..., AnyNetwork]) -> AnyNetwork:
    try:
        return create(
            card.architecture,
            num_classes=len(card.classes),
            in_channels=len(card.preprocessing.mean),
            **card.hyperparameters,
        )
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise KineflowError(
            f"hyper-parameters {card.hyperparameters} build no {card.architecture!r}: {error}",
            remedy="correct the model card",
        ) from None


def _blueprint(card: ModelCard, create: Callable[..., AnyNetwork]) -> AnyNetwork:
    """The network without memory for its weights, to compare names and shapes with."""
    import torch

    with torch.device("meta"):
        return _build(card, create)


def _existing(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise KineflowError(
            f"not a model's folder: {name} is missing", where=folder, remedy="give the folder that a step wrote"
        )
    return path


def _damaged(path: Path, error: Exception) -> KineflowError:
    return KineflowError(f"damaged: {error}", where=path, remedy="write or download this model again")
