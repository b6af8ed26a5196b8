"""The flow set: an index, and the flow of every clip.

A flow set on disk is a small folder like a clip set: ``flow.parquet`` (one row a clip, columns as the fields of
:class:`FlowEntry`) and ``flowset.json`` (bound, how the flow was computed, and the root of the media). The flow of a
clip is a video (:mod:`kineflow.sets.flow_file`). Media may lie on S3 (``s3://bucket/prefix``). Where the flow of a clip
is a local folder, it holds JPEG planes as other tools write them (:mod:`kineflow.sets.jpeg_planes`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kineflow.sets.indexed import ByClip, SetFiles
from kineflow.sets.list_digest import digest_of_list
from kineflow.sets.rows import blocks_of
from kineflow.sets.rows_by_id import by_id, rows_of
from kineflow.spec.status import Status
from kineflow.storage.media import Media

FLOW_INDEX_FILE = "flow.parquet"
FLOWSET_FILE = "flowset.json"


@dataclass(frozen=True, slots=True)
class FlowEntry:
    """One row of the index.

    Attributes:
        clip_id: As in the clip set.
        path: Of the flow below the set's media root; empty when there is none.
        fields: Flow frames: one fewer than the clip's frames.
        width, height: Of the flow in pixels; the clip's, unless another tool has made it.
        status: ``ok``; ``short`` for a clip of one frame; ``unreadable`` for a clip that could not be decoded.
        reason: Why the status is not ``ok``; empty otherwise.
    """

    clip_id: str
    path: str
    fields: int
    width: int
    height: int
    status: Status
    reason: str


@dataclass(frozen=True)
class FlowSet(ByClip[FlowEntry]):
    """An index and its media root.

    Attributes:
        bound_px: Flow is clipped to ±this and mapped to 0..255.
        entries: By clip id, the failed ones too.
        media_root: Folder or ``s3://`` prefix below which ``FlowEntry.path`` leads to the bytes.
        params: How the flow was computed: the algorithm and each of its parameters.
    """

    bound_px: float
    entries: Mapping[str, FlowEntry]
    media_root: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def locate(self, clip_id: str) -> Media:
        """Where a clip's flow is, to be given to :func:`kineflow.sets.flow_file.read_flow`.

        Raises:
            KineflowError: The set has no flow of this clip, or the path leads outside the media root.
            MissingMediaError: A local file is not there any more.
        """
        remedy = "run extract_flow on the same clip set, and leave out clips whose status is not ok"
        return FLOW_FILES.locate(self.media_root, self._with_media(clip_id, noun="flow", remedy=remedy))

    def save(self, folder: Path) -> None:
        """Write the index and ``flowset.json``, see :meth:`kineflow.sets.indexed.SetFiles.save`."""
        facts = {"bound_px": self.bound_px, "params": dict(self.params)}
        FLOW_FILES.save(folder, rows_of(self.entries), self.media_root, facts)

    @classmethod
    def load(cls, folder: Path) -> FlowSet:
        """Read a flow set.

        Raises:
            KineflowError: A file is missing, is not that of a flow set, or is of a later version.
        """
        rows, root, (bound_px, params) = FLOW_FILES.load(folder, _facts)
        return cls(bound_px, by_id(rows), root, params)


def flow_digest(flow_set: FlowSet) -> str:
    """Hex SHA-256 of which clips have flow, and of the names of its files, which are made from what decides them."""
    columns = blocks_of(rows_of(flow_set.entries), "clip_id", "path")
    rows = (list(zip(*block, strict=True)) for block in columns)
    return digest_of_list(rows, before=f"[{json.dumps(flow_set.bound_px)}, ", after="]")


def _facts(described: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
    bound_px = float(described["bound_px"])
    if not bound_px > 0:
        raise ValueError(f"flow is bounded by {bound_px} px")
    return bound_px, dict(described["params"])


FLOW_FILES = SetFiles("flow set", "extract_flow", FlowEntry, FLOW_INDEX_FILE, FLOWSET_FILE, version=2)
