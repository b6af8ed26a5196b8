"""The feature set: what a frozen network for images saw at every moment of every clip, computed once.

A feature set on disk is a small folder like a flow set: ``features.parquet`` (one row a clip, columns as the fields of
:class:`FeatureEntry`) and ``features.json`` (which network saw what, the shape of a moment's features, and the root of
the media). The features of a clip are one safetensors file with one tensor, ``features`` float16 [n, F, h, w] (maps) or
[n, D] (vectors), n the moments of the clip: its frames less one (:mod:`kineflow.spec.modality`). A window of a clip is
read without the rest of it.

Sixteen bits halve the bytes, of which there are many (GoogLeNet's map takes 100 kB a frame), and cost 0.05 % of a value
at most. Features are given back in 32 bits: a network trained on less does not converge (ALSTM's authors say so).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from kineflow.data.manifest import Status
from kineflow.flow.source import FlowSource
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import Indices
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file, inside

if TYPE_CHECKING:
    from torch import Tensor

INDEX_FILE = "features.parquet"
FEATURESET_FILE = "features.json"
MEDIA_FOLDER = "media"
FORMAT_VERSION = 1

Tap = Literal["map", "vector"]

_TENSOR = "features"
_FORBID_EXTRA: dict[str, Any] = {"extra": "forbid"}


@dataclass(frozen=True)
class FeatureSource:
    """Which network saw what.

    Attributes:
        backbone: Digest of its weights, :func:`kineflow.models.bundle.weights_digest`.
        name: Of its model, for people.
        tap: ``map``, its last feature map, or ``vector``, what its classifier sees.
        preprocessing: How a moment of a clip became its input; of the window, nothing matters.
        flow: How the flow was made that it saw, where that is known; none for networks that see no flow.
    """

    __pydantic_config__: ClassVar = _FORBID_EXTRA

    backbone: str
    name: str
    tap: Tap
    preprocessing: Preprocessing
    flow: FlowSource | None = None


@dataclass(frozen=True, slots=True)
class FeatureEntry:
    """One row of the index.

    Attributes:
        clip_id: As in the clip set.
        path: Of the features below the set's media root; empty when there are none.
        moments: n, one fewer than the clip's frames (1 for a clip of a single frame); 0 without features.
        status: ``ok``, or that of the clip's flow where there is none to look at.
        reason: Why the status is not ``ok``; empty otherwise.
    """

    clip_id: str
    path: str
    moments: int
    status: Status
    reason: str


@dataclass(frozen=True)
class FeatureSet:
    """An index and its media root.

    Attributes:
        source: Which network saw what.
        shape: Of a moment's features, (F, h, w) or (D,).
        entries: By clip id, those without features too.
        media_root: Folder below which ``FeatureEntry.path`` leads to the bytes.
    """

    source: FeatureSource
    shape: tuple[int, ...]
    entries: Mapping[str, FeatureEntry]
    media_root: str

    def usable_ids(self) -> frozenset[str]:
        """Ids of the clips that have features."""
        return frozenset(clip_id for clip_id, entry in self.entries.items() if entry.status is Status.OK)

    def locate(self, clip_id: str) -> Path:
        """Path of a clip's features.

        Raises:
            KineflowError: The set has no features of this clip, or the path leads outside the media root.
        """
        entry = self.entries.get(clip_id)
        if entry is None or entry.status is not Status.OK:
            reason = f": {entry.status} ({entry.reason})" if entry else ""
            raise KineflowError(
                f"no features of clip {clip_id!r}{reason}",
                where=self.media_root,
                remedy="run extract_features on the same clip set, with the clip's split among its splits",
            )
        return inside(Path(self.media_root), entry.path)

    def read(self, clip_id: str, moments: Indices) -> Tensor:
        """Read the features of ``moments`` [T], in any order and with repeats; float32 [T, F, h, w] or [T, D].

        Raises:
            KineflowError: As :meth:`locate`; the file is damaged, or a moment lies beyond its end.
        """
        path = self.locate(clip_id)
        first, last = int(moments.min()), int(moments.max())
        stored = read_features(path, self.shape, first, last + 1)
        return stored[moments - first].float()

    def save(self, folder: Path) -> None:
        """Write the index and ``features.json``; a media root inside ``folder`` is stored relative to it."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder.mkdir(parents=True, exist_ok=True)
        rows = [dataclasses.asdict(self.entries[clip_id]) for clip_id in sorted(self.entries)]
        with atomic_file(folder / INDEX_FILE) as partial:
            pq.write_table(pa.Table.from_pylist(rows, schema=_schema()), partial)
        described = {
            "format_version": FORMAT_VERSION,
            "source": dataclasses.asdict(self.source),
            "shape": self.shape,
            "media_root": MEDIA_FOLDER if Path(self.media_root) == folder / MEDIA_FOLDER else self.media_root,
        }
        with atomic_file(folder / FEATURESET_FILE) as partial:
            partial.write_text(json.dumps(described, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> FeatureSet:
        """Read a feature set.

        Raises:
            KineflowError: A file is missing, is not that of a feature set, or is of a later version.
        """
        import pyarrow.parquet as pq
        from pydantic import TypeAdapter

        try:
            described = json.loads((folder / FEATURESET_FILE).read_text())
            _check_version(dict(described), folder)
            source = TypeAdapter(FeatureSource).validate_json(json.dumps(described["source"]), strict=True)
            shape, root = tuple(int(side) for side in described["shape"]), str(described["media_root"])
            table = pq.read_table(folder / INDEX_FILE).cast(_schema())
            rows = [FeatureEntry(**{**row, "status": Status(row["status"])}) for row in table.to_pylist()]
        except (OSError, ValueError, KeyError, TypeError) as error:  # those of pyarrow and pydantic are such as well
            raise KineflowError(
                f"no readable feature set here ({error})",
                where=folder,
                remedy="run the extract_features step into this folder",
            ) from None
        entries = {entry.clip_id: entry for entry in rows}
        return cls(source, shape, entries, str(folder / root) if root == MEDIA_FOLDER else root)


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
        KineflowError: The file is missing or damaged, its moments have another shape, or it ends earlier.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            stored = file.get_slice(_TENSOR)
            moments, *found = stored.get_shape()
            if tuple(found) == shape and 0 <= first < end <= moments:
                part: Tensor = stored[first:end]
                return part
    except (OSError, SafetensorError) as error:
        raise KineflowError(f"damaged: {error}", where=path, remedy="run the extract_features step again") from None
    raise KineflowError(
        f"moments {first} to {end - 1} of shape {list(shape)} were expected among {moments} of shape {found}",
        where=path,
        remedy="use clips, features and index of one run together, or run the extract_features step again",
    )


def _check_version(described: Mapping[str, Any], folder: Path) -> None:
    version = int(described["format_version"])
    if version > FORMAT_VERSION:
        raise KineflowError(
            f"a feature set of format {version}; this Kineflow reads up to {FORMAT_VERSION}",
            where=folder,
            remedy="install the Kineflow that wrote it, or run the extract_features step again",
        )


def _schema() -> Any:  # pyarrow ships no types
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(column.name, pa.int32() if column.name == "moments" else pa.string())
            for column in dataclasses.fields(FeatureEntry)
        ]
    )
