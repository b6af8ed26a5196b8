"""The feature set: what a frozen network for images saw at every time step of every clip, computed once.

A feature set on disk is a small folder like a flow set: ``features.parquet`` (one row a clip, columns as the fields of
:class:`FeatureEntry`) and ``features.json`` (which network saw what, the shape of a time step's features, and the root
of the media). The features of a clip are one safetensors file with one tensor, ``features`` float16 [n, F, h, w] (maps)
or [n, D] (vectors), n the time steps of the clip: its frames less one (:mod:`kineflow.spec.modality`). A window of a
clip is read without the rest of it.

Sixteen bits halve the bytes, of which there are many (GoogLeNet's map takes 100 kB a frame), and cost 0.05 % of a value
at most. Features are given back in 32 bits: a network trained on less does not converge (ALSTM's authors say so).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kineflow.sets.indexed import ByClip, SetFiles
from kineflow.sets.rows_by_id import by_id, rows_of
from kineflow.spec.arrays import Indices
from kineflow.spec.flow_source import FlowSource
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.status import Status
from kineflow.spec.tap import Tap
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file

if TYPE_CHECKING:
    from torch import Tensor

FEATURE_INDEX_FILE = "features.parquet"
FEATURESET_FILE = "features.json"


_TENSOR = "features"
_MOST_SIDES, _LONGEST_SIDE = 3, 100_000
_FORBID_EXTRA: dict[str, Any] = {"extra": "forbid"}


@dataclass(frozen=True)
class FeatureSource:
    """Which network saw what.

    Attributes:
        backbone: Digest of its weights, :func:`kineflow.models.bundle.weights_digest`.
        name: Of its model, for people.
        tap: ``map``, its last feature map, or ``vector``, what its classifier sees.
        preprocessing: How a time step of a clip became its input; of the window, nothing matters.
        flow: How the flow was made that it saw, where that is known; none for networks that see no flow.
    """

    __pydantic_config__: ClassVar = _FORBID_EXTRA

    backbone: str
    name: str
    tap: Tap
    preprocessing: Preprocessing
    flow: FlowSource | None = None

    def plain(self) -> dict[str, Any]:
        """The values by name, as JSON takes them."""
        return {**asdict(self), "preprocessing": self.preprocessing.plain()}


@dataclass(frozen=True, slots=True)
class FeatureEntry:
    """One row of the index.

    Attributes:
        clip_id: As in the clip set.
        path: Of the features below the set's media root; empty when there are none.
        time_steps: n, its time steps: one fewer than its frames (1 for a clip of a single frame); 0 without features.
        status: ``ok``, or that of the clip's flow where there is none to look at.
        reason: Why the status is not ``ok``; empty otherwise.
    """

    clip_id: str
    path: str
    time_steps: int
    status: Status
    reason: str


@dataclass(frozen=True)
class FeatureSet(ByClip[FeatureEntry]):
    """An index and its media root.

    Attributes:
        source: Which network saw what.
        shape: Of a time step's features, (F, h, w) or (D,).
        entries: By clip id, those without features too.
        media_root: Folder below which ``FeatureEntry.path`` leads to the bytes.
    """

    source: FeatureSource
    shape: tuple[int, ...]
    entries: Mapping[str, FeatureEntry]
    media_root: str

    def locate(self, clip_id: str) -> Path:
        """Path of a clip's features.

        Raises:
            KineflowError: The set has no features of this clip, or the path leads outside the media root.
            MissingMediaError: The file is not there any more.
        """
        remedy = "run extract_features on the same clip set, with the clip's split among its splits"
        return Path(
            str(FEATURE_FILES.locate(self.media_root, self._with_media(clip_id, noun="features", remedy=remedy)))
        )

    def read(self, clip_id: str, time_steps: Indices) -> Tensor:
        """Read the features of ``time_steps`` [T], in any order and with repeats; float32 [T, F, h, w] or [T, D].

        Raises:
            KineflowError: As :meth:`locate`; the file is damaged, or a time step lies beyond its end.
        """
        path = self.locate(clip_id)
        first, last = int(time_steps.min()), int(time_steps.max())
        stored = read_features(path, self.shape, first, last + 1)
        return stored[time_steps - first].float()

    def save(self, folder: Path) -> None:
        """Write the index and ``features.json``, see :meth:`kineflow.sets.indexed.SetFiles.save`."""
        facts = {"source": self.source.plain(), "shape": self.shape}
        FEATURE_FILES.save(folder, rows_of(self.entries), self.media_root, facts)

    @classmethod
    def load(cls, folder: Path) -> FeatureSet:
        """Read a feature set.

        Raises:
            KineflowError: A file is missing, is not that of a feature set, or is of a later version.
        """
        rows, root, (source, shape) = FEATURE_FILES.load(folder, _facts)
        return cls(source, shape, by_id(rows), root)


FEATURE_FILES = SetFiles(
    "feature set", "extract_features", FeatureEntry, FEATURE_INDEX_FILE, FEATURESET_FILE, version=2
)


def _facts(described: Mapping[str, Any]) -> tuple[FeatureSource, tuple[int, ...]]:
    from pydantic import TypeAdapter

    source = TypeAdapter(FeatureSource).validate_json(json.dumps(described["source"]), strict=True)
    shape = tuple(int(side) for side in described["shape"])
    if not 1 <= len(shape) <= _MOST_SIDES or not all(1 <= side <= _LONGEST_SIDE for side in shape):
        raise ValueError(f"features of shape {list(shape)[:_MOST_SIDES]}")
    return source, shape


def write_features(path: Path, features: Tensor) -> None:
    """Write the features of a clip, float [n, F, h, w] or [n, D], whole or not at all.

    Raises:
        KineflowError: A value does not fit 16 bits.
    """
    import torch
    from safetensors.torch import save_file

    stored = features.detach().to("cpu", torch.float16).contiguous()
    if not torch.isfinite(stored).all():
        raise KineflowError(
            "features are infinite, not a number, or beyond ±65504",
            where=path,
            remedy="check the backbone: its weights, and the normalisation of its input",
        )
    with atomic_file(path) as partial:
        save_file({_TENSOR: stored}, partial)


def read_features(path: Path, shape: tuple[int, ...], first: int, end: int) -> Tensor:
    """Moments ``first`` to ``end`` - 1 of what :func:`write_features` wrote, float16 [end - first, *shape].

    Raises:
        KineflowError: The file is missing or damaged, its time steps have another shape, or it ends earlier.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            stored = file.get_slice(_TENSOR)
            time_steps, *stored_shape = stored.get_shape() or [0]
            if tuple(stored_shape) == shape and 0 <= first < end <= time_steps:
                part: Tensor = stored[first:end]
                return part
    except (OSError, SafetensorError) as error:
        raise KineflowError(f"damaged: {error}", where=path, remedy="run the extract_features step again") from None
    raise KineflowError(
        f"time steps {first} to {end - 1} of shape {list(shape)} were expected "
        f"among {time_steps} of shape {stored_shape}",
        where=path,
        remedy="use clips, features and index of one run together, or run the extract_features step again",
    )
