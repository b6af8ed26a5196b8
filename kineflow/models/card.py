"""What a model is, apart from its weights: ``model.json`` of a bundle. Torch is not imported."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from kineflow.spec.classes import checked_classes
from kineflow.spec.flow_source import FlowSource
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.safe_json import read_json

CARD_FILE = "model.json"
CARD_FORMAT = 1
FITTED_ON = "fitted_on"
"""In a card's lineage: the splits, with commas, whose labels the network has learnt from. Entries that end so are of
its parts and parents (:func:`splits_learnt`)."""
TRAINED_CLIP = "trained_clip"
"""In a card's lineage: the clip that the network learnt from (:func:`clip_in_words`), which may be another than that of
its tests."""

_LARGEST_CARD_BYTES = 1 << 20
_LONGEST_NAME = 150
_LARGEST_HYPERPARAMETER = 10_000  # counts of layers too: what a loop makes so many of takes a second
_FORBID_EXTRA: dict[str, Any] = {"extra": "forbid"}

_OLD_HYPERPARAMETERS = {"norm_momentum": "bn_momentum"}  # of our own networks, as earlier releases wrote them

Scalar = str | int | float | bool | None


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
        KineflowError: Classes repeat or are too many, a hyper-parameter is beyond 10,000, the name cannot be that of a
            file, or a metric is not finite.
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

    @property
    def multi_label(self) -> bool:
        """Whether clips may be of several classes: the sigmoid of a score is the probability of its class."""
        return self.hyperparameters.get("multi_label") is True

    def __post_init__(self) -> None:
        try:
            checked_classes(self.classes)
        except ValueError as error:
            raise KineflowError(str(error), remedy="list each class once") from None
        check_model_name(self.name)
        for key, value in self.hyperparameters.items():
            if not isinstance(value, str) and not abs(value or 0) <= _LARGEST_HYPERPARAMETER:
                raise KineflowError(
                    f"hyper-parameter {key} is {value}",
                    remedy=f"give numbers of at most {_LARGEST_HYPERPARAMETER}",
                )
        if broken := sorted(name for name, value in self.metrics.items() if not math.isfinite(value)):
            raise KineflowError(f"metrics that are not finite: {', '.join(broken)}", remedy="leave them out")


def check_model_name(name: str) -> None:
    """Check that a model can be called so.

    Raises:
        KineflowError: It cannot.
    """
    if not 0 < len(name.encode("utf-8", "replace")) <= _LONGEST_NAME or not name.isprintable():
        raise KineflowError(
            f"a model cannot be called {name[:_LONGEST_NAME]!r}",
            remedy=f"give it a printable name of at most {_LONGEST_NAME} bytes: files are called by it",
        )


def splits_learnt(lineage: Mapping[str, str]) -> tuple[Split, ...]:
    """Splits whose labels a network, a part of it or what it started from has learnt from."""
    named = {
        split
        for key, value in lineage.items()
        if key == FITTED_ON or key.endswith(f"_{FITTED_ON}")
        for split in value.split(", ")
    }
    return tuple(split for split in Split if split.value in named)


def clip_in_words(frames: int, stride_frames: int) -> str:
    """A clip's length and stride, for a card."""
    return f"{frames} frames, stride {stride_frames}"


def load_card(folder: Path) -> ModelCard:
    """Read what a model is; torch is not imported.

    Raises:
        KineflowError: The file is missing, too large, no JSON, or has unknown, missing or impossible entries.
    """
    from pydantic import TypeAdapter, ValidationError

    path = existing_file(folder, CARD_FILE)
    try:
        content = read_json(path, max_bytes=_LARGEST_CARD_BYTES)
    except (OSError, ValueError) as error:
        raise damaged(path, error) from None
    if not isinstance(content, dict) or content.pop("format", None) != CARD_FORMAT:
        raise KineflowError(
            f"not a model card of format {CARD_FORMAT}",
            where=path,
            remedy="check that this is a model's folder, written by this version of Kineflow",
        )
    try:
        card = TypeAdapter(ModelCard).validate_json(json.dumps(content), strict=True)
        return replace(card, hyperparameters=_with_new_names(card))
    except ValidationError as error:
        faults = [f"  {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise KineflowError(
            "\n".join(["not a valid model card", *faults]), where=path, remedy="write bundles with save_bundle only"
        ) from None
    except KineflowError as error:
        raise KineflowError(error.problem, where=path, remedy=error.remedy) from None


def _with_new_names(card: ModelCard) -> dict[str, Scalar]:
    if "." in card.architecture:  # a network of the user's own
        return card.hyperparameters
    return {_OLD_HYPERPARAMETERS.get(name, name): value for name, value in card.hyperparameters.items()}


def existing_file(folder: Path, name: str) -> Path:
    """A file of a bundle.

    Raises:
        KineflowError: It is missing.
    """
    path = folder / name
    if not path.is_file():
        raise KineflowError(
            f"not a model's folder: {name} is missing", where=folder, remedy="give the folder that a step wrote"
        )
    return path


def damaged(path: Path, error: Exception) -> KineflowError:
    """The error to raise for a file of a bundle that cannot be read."""
    return KineflowError(f"damaged: {error}", where=path, remedy="write or download this model again")
