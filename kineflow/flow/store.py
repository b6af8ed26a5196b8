"""The flow set: an index, and one video a clip whose planes are the flow.

A flow set on disk is a small folder like a clip set: ``flow.parquet`` (one row a clip, columns as the fields of
:class:`FlowEntry`) and ``flowset.json`` (bound, how the flow was computed, and the root of the media). The flow of a
clip is an H.264 ``yuv444p`` mp4: Y is u, U is v (as levels, see :mod:`kineflow.flow.quantise`), V is 128, in full range
and never converted, so that the reader of videos reads flow too. Every field is a key frame: prediction in time gains
nothing on flow (``docs/flow_storage.md`` has the figures), and any field is found at once.

Media may lie on S3 (``s3://bucket/prefix``). Where the flow of a clip is a local folder, it holds JPEG planes as other
tools write them (:mod:`kineflow.flow.jpeg_planes`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from kineflow.data.manifest import Status
from kineflow.flow.jpeg_planes import read_jpeg_flow
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.storage.media import Media, RemoteFile, check_root, locate
from kineflow.video.decode import read_frames
from kineflow.video.encode import write_video

INDEX_FILE = "flow.parquet"
FLOWSET_FILE = "flowset.json"
MEDIA_FOLDER = "media"
FORMAT_VERSION = 1  # of what the files and folders of flow hold: linear 8-bit levels, as the module says
UNUSED_PLANE_LEVEL = 128
_TUNE = "psnr,fastdecode"  # x264: no bits for what only an eye would see; flow is written once and read every epoch


def write_flow(
    path: Path, levels: Iterable[np.ndarray], *, fps: Fraction | float = 25, crf: int = 14, gop: int = 1
) -> None:
    """Write flow as a video, whole or not at all.

    Args:
        path: Of an mp4 file.
        levels: Fields uint8 [H, W, 2], u and v; any size, at least one. An array [T, H, W, 2] will do.
        fps: Frame rate of the clip, so that players show both at one speed.
        crf: Quality of H.264: 0 is lossless, 14 errs by about half a level.
        gop: Fields from one key frame to the next.
    """
    frames = map(_with_unused_plane, levels)
    write_video(path, frames, fps=fps, crf=crf, gop=gop, pixel_format="yuv444p", source_format="yuv444p", tune=_TUNE)


def _with_unused_plane(levels: np.ndarray) -> np.ndarray:
    unused = np.full((*levels.shape[:2], 1), UNUSED_PLANE_LEVEL, dtype=np.uint8)
    return np.concatenate((levels, unused), axis=-1)


def read_flow(path: Media, indices: Sequence[int] | None = None) -> np.ndarray:
    """Read flow written by :func:`write_flow`, or JPEG planes.

    Args:
        path: Of the mp4 file, on S3 perhaps, or of a local folder of JPEG planes.
        indices: Fields to read, in any order and with repeats; None for all. Field t leads from frame t to t + 1.

    Returns:
        uint8 [T, H, W, 2], u and v.

    Raises:
        KineflowError: The file is unreadable, or an index lies beyond its end.
    """
    if not isinstance(path, RemoteFile) and path.is_dir():
        return read_jpeg_flow(path, indices)
    return read_frames(path, indices, pixel_format="yu")


@dataclass(frozen=True, slots=True)
class FlowEntry:
    """One row of the index.

    Attributes:
        clip_id: As in the clip set.
        path: Of the flow below the set's media root; empty when there is none.
        fields: Flow fields: one fewer than the clip's frames.
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
class FlowSet:
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

    def usable_ids(self) -> frozenset[str]:
        """Ids of the clips that have flow."""
        return frozenset(clip_id for clip_id, entry in self.entries.items() if entry.status is Status.OK)

    def locate(self, clip_id: str) -> Media:
        """Where a clip's flow is, to be given to :func:`read_flow`.

        Raises:
            KineflowError: The set has no flow of this clip, or the path leads outside the media root.
        """
        entry = self.entries.get(clip_id)
        if entry is None or entry.status is not Status.OK:
            reason = f": {entry.status} ({entry.reason})" if entry else ""
            raise KineflowError(
                f"no flow of clip {clip_id!r}{reason}",
                where=self.media_root,
                remedy="run extract_flow on the same clip set, and leave out clips whose status is not ok",
            )
        return locate(self.media_root, entry.path)

    def save(self, folder: Path) -> None:
        """Write the index and ``flowset.json``; a media root inside ``folder`` is stored relative to it."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder.mkdir(parents=True, exist_ok=True)
        rows = [dataclasses.asdict(self.entries[clip_id]) for clip_id in sorted(self.entries)]
        with atomic_file(folder / INDEX_FILE) as partial:
            pq.write_table(pa.Table.from_pylist(rows, schema=_schema()), partial)
        root = MEDIA_FOLDER if Path(self.media_root) == folder / MEDIA_FOLDER else check_root(self.media_root)
        described = {
            "format_version": FORMAT_VERSION,
            "bound_px": self.bound_px,
            "media_root": root,
            "params": dict(self.params),
        }
        with atomic_file(folder / FLOWSET_FILE) as partial:
            partial.write_text(json.dumps(described, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> FlowSet:
        """Read a flow set.

        Raises:
            KineflowError: A file is missing, is not that of a flow set, or is of a later version.
        """
        import pyarrow.parquet as pq

        try:
            described = json.loads((folder / FLOWSET_FILE).read_text())
            _check_version(dict(described), folder)
            table = pq.read_table(folder / INDEX_FILE).cast(_schema())
            root, bound_px = str(described["media_root"]), float(described["bound_px"])
            params = dict(described["params"])
            rows = [FlowEntry(**{**row, "status": Status(row["status"])}) for row in table.to_pylist()]
        except (OSError, ValueError, KeyError, TypeError) as error:  # pyarrow's errors are ValueErrors and TypeErrors
            raise KineflowError(
                f"no readable flow set here ({error})",
                where=folder,
                remedy="run the extract_flow step into this folder",
            ) from None
        entries = {entry.clip_id: entry for entry in rows}
        return cls(bound_px, entries, str(folder / root) if root == MEDIA_FOLDER else check_root(root), params)


def _check_version(described: Mapping[str, Any], folder: Path) -> None:
    version = int(described.get("format_version", 1))  # the first flow sets did not say
    if version > FORMAT_VERSION:
        raise KineflowError(
            f"a flow set of format {version}; this Kineflow reads up to {FORMAT_VERSION}",
            where=folder,
            remedy="install the Kineflow that wrote it, or run the extract_flow step again",
        )


def _schema() -> Any:  # pyarrow ships no types
    import pyarrow as pa

    kinds = dict.fromkeys(("fields", "width", "height"), pa.int32())
    return pa.schema([(column.name, kinds.get(column.name, pa.string())) for column in dataclasses.fields(FlowEntry)])
