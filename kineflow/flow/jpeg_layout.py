"""Exchange of whole flow sets with tools that keep flow as JPEG planes (dense_flow, denseflow, MMAction, TSN).

Below one root each clip is a folder of planes (:mod:`kineflow.sets.jpeg_planes`), named by the clip or by its class
and the clip. Reading copies nothing: the flow set points into the folders. Writing gives the same layout.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kineflow.sets.clip_set import Clip
from kineflow.sets.flow_file import read_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.sets.jpeg_planes import U_FOLDER, V_FOLDER, JpegPlanes, find_planes, jpeg_size, write_jpeg_flow
from kineflow.spec.quantise import DEFAULT_BOUND_PX
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import inside
from kineflow.storage.progress import track

_FOLDERS_SHOWN = 3
_REMEDY = "give the folder whose subfolders are named by the clips, or by classes and clips"


def index_jpeg_flow(root: Path, clips: Iterable[Clip]) -> dict[str, FlowEntry]:
    """Find the flow of clips among JPEG planes that other tools have written.

    The folder of a clip is ``root/<clip id>``, or the only one below ``root`` that is named as the file of the clip
    (the last part of its id or of its source, without suffix), in a class folder or not: but not in the folder of
    another class, and not where it would be the folder of several clips. Every plane is looked at, but only its header:
    damage in the picture shows when it is read.

    Args:
        root: Folder of all planes; ``FlowEntry.path`` is relative to it.
        clips: Those whose flow is wanted.

    Returns:
        One entry a clip, by clip id. Where the flow cannot be used, the status is ``unreadable`` and the reason says
        why: no folder, several, missing or unmatched planes, another count than one flow frame fewer than the clip has
        frames, something that is no JPEG, or planes of several sizes; ``short`` for a clip of one frame.

    Raises:
        KineflowError: ``root`` is no folder.
    """
    if not root.is_dir():
        raise KineflowError("no such folder", where=root, remedy=_REMEDY)
    by_name = _folders_by_name(root)
    wanted = list(clips)
    classes = frozenset(clip.label for clip in wanted if clip.label is not None)
    folders = {clip.clip_id: _folder_of(root, by_name, clip, classes) for clip in wanted}
    clips_of = Counter(folder for folder in folders.values() if isinstance(folder, str))
    return {
        clip.clip_id: _entry(root, folders[clip.clip_id], clips_of, clip)
        for clip in track(wanted, total=len(wanted), what="index JPEG flow")
    }


def import_jpeg_flow(root: Path, clips: Iterable[Clip], *, bound_px: float = DEFAULT_BOUND_PX) -> FlowSet:
    """A flow set over JPEG planes that lie below ``root`` and stay there.

    Args:
        root: As for :func:`index_jpeg_flow`.
        clips: Those whose flow is wanted.
        bound_px: What the tool has clipped flow to; the planes do not say it.

    Raises:
        KineflowError: ``root`` is no folder, or not one clip has usable flow.
    """
    entries = index_jpeg_flow(root, clips)
    failed = [entry for entry in entries.values() if entry.status is not Status.OK]
    if len(failed) == len(entries):
        reason = f": {failed[0].clip_id}: {failed[0].reason}" if failed else ""
        raise KineflowError(f"not one of {len(entries)} clips has usable flow{reason}", where=root, remedy=_REMEDY)
    return FlowSet(bound_px, entries, str(root.resolve()), {"algorithm": "unknown", "layout": "jpeg"})


@dataclass(frozen=True)
class Exported:
    """What :func:`export_jpeg_flow` has done.

    Attributes:
        written: Clips written in this run.
        kept: Clips that were there already.
        failed: By clip id, why there is no flow of a clip.
    """

    written: int
    kept: int
    failed: Mapping[str, str]


def export_jpeg_flow(flow_set: FlowSet, output: Path, *, quality: int = 95, workers: int = 1) -> Exported:
    """Write a flow set as JPEG planes: ``output/<clip id>/flow_x_00001.jpg``, ``flow_y_00001.jpg`` and so on.

    The folder of a clip is whole or absent. One that holds the right count of flow frames is left alone, so that what
    was interrupted goes on; give an empty ``output`` for flow or a quality that has changed.

    Args:
        flow_set: Clips without flow are passed over and listed.
        output: Folder for all clips.
        quality: Of the JPEGs, 1 to 100. Reading back errs by about half a level more at 95.
        workers: Clips written at the same time.

    Raises:
        KineflowError: The quality is none, or the disk is full.
    """
    failed = {clip_id: entry.reason for clip_id, entry in flow_set.entries.items() if entry.status is not Status.OK}
    usable = sorted(flow_set.usable_ids())
    written = 0

    def export(clip_id: str) -> tuple[bool, str]:
        return _export_clip(flow_set, clip_id, inside(output, clip_id), quality)

    with ThreadPoolExecutor(workers) as executor:
        done = track(executor.map(export, usable), total=len(usable), what="export flow")
        for clip_id, (is_new, reason) in zip(usable, done, strict=True):
            written += is_new
            if reason:
                failed[clip_id] = reason
    return Exported(written, len(flow_set.entries) - len(failed) - written, failed)


def _export_clip(flow_set: FlowSet, clip_id: str, folder: Path, quality: int) -> tuple[bool, str]:
    """Whether it was written now, and why it could not be."""
    if _flow_frames_in(folder) == flow_set.entries[clip_id].fields:
        return False, ""
    try:
        flow = read_flow(flow_set.locate(clip_id))
    except KineflowError as error:
        return False, error.problem
    write_jpeg_flow(folder, flow, quality=quality)
    return True, ""


def _flow_frames_in(folder: Path) -> int:
    try:
        return len(find_planes(folder))
    except KineflowError:
        return 0


def _folders_by_name(root: Path) -> dict[str, list[str]]:
    """Folders that may be those of a clip, one or two levels below ``root``: relative paths by name."""
    folders: dict[str, list[str]] = {}
    for name in _subfolders(root):
        if name != V_FOLDER:
            folders.setdefault(name, []).append(name)
            for below in _subfolders(root / name):
                folders.setdefault(below, []).append(f"{name}/{below}")
    return folders


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def _entry(root: Path, path: str | KineflowError, clips_of: Mapping[str, int], clip: Clip) -> FlowEntry:
    """The entry of a clip whose folder is ``path``, or of which is said why it has none."""
    if clip.frames < 2:
        return _unusable(clip, f"{clip.frames} frame has no motion to measure", Status.SHORT)
    if isinstance(path, KineflowError):
        return _unusable(clip, path.problem)
    if clips_of[path] > 1 and path not in _own_folders(clip):
        return _unusable(clip, f"{clips_of[path]} clips answer to the folder {path!r}")
    try:
        planes = find_planes(inside(root, path))
        _check_count(len(planes), clip)
        height, width = _common_size(planes)
    except KineflowError as error:
        return _unusable(clip, error.problem)
    return FlowEntry(clip.clip_id, path, len(planes), width, height, Status.OK, "")


def _unusable(clip: Clip, reason: str, status: Status = Status.UNREADABLE) -> FlowEntry:
    return FlowEntry(clip.clip_id, "", 0, clip.width, clip.height, status, reason)


def _own_folders(clip: Clip) -> tuple[str, str]:
    return clip.clip_id, f"{U_FOLDER}/{clip.clip_id}"


def _folder_of(
    root: Path, by_name: Mapping[str, list[str]], clip: Clip, classes: frozenset[str]
) -> str | KineflowError:
    """The folder of a clip, or why there is none."""
    for path in _own_folders(clip):
        try:
            if inside(root, path).is_dir():
                return path
        except KineflowError as error:
            return error
    names = list(dict.fromkeys(PurePosixPath(path).stem for path in (f"{clip.clip_id}.mp4", clip.source)))
    for name in names:
        folders = by_name.get(name, [])
        if len(folders) > 1:
            listed_folders = ", ".join(folders[:_FOLDERS_SHOWN])
            return KineflowError(f"{len(folders)} folders are named {name!r}: {listed_folders}")
        if folders:
            holder = PurePosixPath(folders[0]).parent.name
            if holder in classes and holder != clip.label:
                return KineflowError(f"the one folder named {name!r} is that of class {holder!r}: {folders[0]}")
            return folders[0]
    return KineflowError(f"no folder is named {' or '.join(map(repr, names))}")


def _check_count(flow_frames: int, clip: Clip) -> None:
    expected = clip.frames - 1
    if flow_frames == clip.frames:
        raise KineflowError(
            f"{flow_frames} flow frames for {clip.frames} frames, where {expected} are expected: the tool has written "
            "one too many (some repeat the last); remove that one"
        )
    if flow_frames != expected:
        raise KineflowError(f"{flow_frames} flow frames for {clip.frames} frames, where {expected} are expected")


def _common_size(planes: JpegPlanes) -> tuple[int, int]:
    size = jpeg_size(Path(planes.u[0]))
    for path in map(Path, (*planes.u, *planes.v)):
        try:
            plane_size = jpeg_size(path)
        except KineflowError as error:
            raise KineflowError(f"{path.name} {error.problem}") from None
        if plane_size != size:
            raise KineflowError(f"{path.name} is {plane_size[1]}x{plane_size[0]}, planes before it {size[1]}x{size[0]}")
    return size
