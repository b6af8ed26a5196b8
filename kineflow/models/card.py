"""What a model is, apart from its weights: ``model.json`` of a bundle. Torch is not imported."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from kineflow.spec.flow_source import FlowSource
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError

CARD_FILE = "model.json"
CARD_FORMAT = 1

_LARGEST_CARD_BYTES = 1 << 20
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


def load_card(folder: Path) -> ModelCard:
    """Read what a model is; torch is not imported.

    Raises:
        KineflowError: The file is missing, too large, no JSON, or has unknown, missing or impossible entries.
    """
    from pydantic import TypeAdapter, ValidationError

    path = existing_file(folder, CARD_FILE)
    if path.stat().st_size > _LARGEST_CARD_BYTES:
        raise KineflowError(
            f"a model card of {path.stat().st_size} bytes; at most {_LARGEST_CARD_BYTES} are read",
            where=path,
            remedy="check that this file is a Kineflow model's",
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
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
