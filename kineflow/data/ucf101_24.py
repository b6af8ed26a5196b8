"""The published boxes of UCF101-24, in the two forms in which people have them.

``*.mat``
    Boxes as they were corrected and are evaluated on (``finalAnnots.mat``): ``annot``, a structure a video with its
    ``name`` and ``tubes``; of each tube ``sf`` and ``ef``, its first and last frame counted from 1, and ``boxes``, a
    row ``x, y, width, height`` a frame.
a folder
    THUMOS' own: ViPER files, ``v_<Class>_gNN_cMM.xgtf``, in any folders; each ``object`` is an actor, with
    ``data:bbox`` elements and the frames of each, counted from 1. Boxes alone are read; what else is said of frames is
    not.

Videos are those of UCF101, 320x240, at the rates they have. The class is that of the video's name. A clip that is a
part of its video has the boxes of that part. Frames that the stored clip does not have are left out: both forms count
the frames that headers promise. The form with ``.pkl`` is not read: it can hold code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from kineflow.data.boxes import Track
from kineflow.sets.clip_set import Clip
from kineflow.storage.errors import KineflowError
from kineflow.storage.mat_file import read_mat
from kineflow.storage.safe_xml import walk_xml

WIDTH, HEIGHT = 320, 240
_NAME = re.compile(r"v_(.+)_g\d+_c\d+")
_SPAN = re.compile(r"(\d{1,7}):(\d{1,7})")
_VARIABLE = "annot"
_MOST_XML_BYTES = 2**24
_MOST_FRAMES = 100_000  # of an actor
_REMEDY = "give finalAnnots.mat, the folder of .xgtf files as they are unpacked, or a CSV file (kineflow/data/boxes.py)"

_Boxes = dict[int, tuple[float, float, float, float]]  # x, y, width, height by frame, from 0


def is_published(path: Path) -> bool:
    """Whether a file or folder is in one of the two forms, by its name."""
    return path.suffix.lower() == ".mat" or path.is_dir()


def read_published_boxes(path: Path, clips: Sequence[Clip]) -> dict[str, list[Track]]:
    """The tracks of those of the clips that have any, by the id of the clip.

    Args:
        path: See :func:`is_published`.
        clips: At the rates of their videos; found by the names of these, in whatever folders.

    Raises:
        KineflowError: A file cannot be read, or is none of these.
    """
    by_name: dict[str, list[Clip]] = {}
    for clip in clips:
        by_name.setdefault(PurePosixPath(clip.source).stem, []).append(clip)
    tracks: dict[str, list[Track]] = {}
    for name, actor, boxes in _of_folder(path, by_name.keys()) if path.is_dir() else _of_mat(path):
        if label := _NAME.fullmatch(name):
            for clip in by_name.get(name, []):
                if track := _track(clip, label[1], actor, boxes):
                    tracks.setdefault(clip.clip_id, []).append(track)
    return tracks


def require_own_rate(fps: float, *, where: str) -> None:
    """See that clips have the frames of their videos, by which the boxes are numbered.

    Args:
        fps: That clips were brought to, 0 for none.
        where: What names the boxes, for the message.

    Raises:
        KineflowError: They were brought to another rate.
    """
    if fps:
        raise KineflowError(
            f"boxes by the frames of UCF101's videos, and these clips were brought to {fps:g} frames a second",
            where=where,
            remedy="leave ingestion.fps out, or give a CSV file with boxes of the stored clips' frames",
        )


def _track(clip: Clip, label: str, actor: str, boxes: _Boxes) -> Track | None:
    frames = np.array(sorted(frame - clip.first_frame for frame in boxes), np.int64)
    frames = frames[(frames >= 0) & (frames < clip.frames)]
    if not len(frames):
        return None
    given = np.array([boxes[frame] for frame in (frames + clip.first_frame).tolist()], np.float64)
    corners = np.concatenate([given[:, :2], given[:, :2] + given[:, 2:]], axis=1).clip(0, [WIDTH, HEIGHT] * 2)
    seen = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    return Track(clip.clip_id, label, frames[seen], corners[seen], WIDTH, HEIGHT, actor) if seen.any() else None


def _of_mat(path: Path) -> Iterator[tuple[str, str, _Boxes]]:
    """Video, actor and boxes of each tube."""
    try:
        variables = read_mat(path)
        if _VARIABLE not in variables:
            raise ValueError(f"no variable {_VARIABLE!r}")
        for video in variables[_VARIABLE]:
            name = PurePosixPath(str(video["name"]).strip()).name
            for number, tube in enumerate(video["tubes"]):
                yield name, str(number), _of_tube(tube)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise KineflowError(f"no readable boxes of UCF101-24 ({error})", where=path, remedy=_REMEDY) from None


def _of_tube(tube: Any) -> _Boxes:
    first, last = (int(np.asarray(tube[name]).reshape(-1)[0]) for name in ("sf", "ef"))
    boxes: npt.NDArray[np.float64] = np.asarray(tube["boxes"], np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all() or first < 1:
        raise ValueError("a tube whose boxes are no rows of four numbers")
    count = min(len(boxes), last - first + 1)
    return {first - 1 + row: (x, y, w, h) for row, (x, y, w, h) in enumerate(boxes[: max(count, 0)].tolist())}


def _of_folder(folder: Path, names: Any) -> Iterator[tuple[str, str, _Boxes]]:
    """Video, actor and boxes of each object in the files of the videos that are called so."""
    files = sorted(folder.rglob("*.xgtf"))
    if not files:
        raise KineflowError("no .xgtf file lies in it", where=folder, remedy=_REMEDY)
    for file in files:
        if file.stem in names:
            try:
                yield from ((file.stem, actor, boxes) for actor, boxes in _of_viper(file).items())
            except (OSError, ValueError, KeyError) as error:
                raise KineflowError(f"no readable ViPER file ({error})", where=file, remedy=_REMEDY) from None


def _of_viper(file: Path) -> dict[str, _Boxes]:
    """Boxes by the actor's number among the objects."""
    if file.stat().st_size > _MOST_XML_BYTES:
        raise ValueError(f"larger than {_MOST_XML_BYTES} bytes")
    actors: list[_Boxes] = []
    for element in walk_xml(file.read_text(encoding="utf-8")):
        if not element.is_start:
            continue
        if element.name == "object":
            actors.append({})
        elif element.name == "data:bbox" and actors:
            x, y, width, height = (float(element.attributes[side]) for side in ("x", "y", "width", "height"))
            if not np.isfinite([x, y, width, height]).all():
                raise ValueError(f"line {element.line}: a box of numbers that are none")
            for frame in _frames(element.attributes["framespan"], element.line):
                actors[-1][frame] = (x, y, width, height)
    return {str(number): boxes for number, boxes in enumerate(actors)}


def _frames(spans: str, line: int) -> Iterator[int]:
    """Frames from 0 of spans such as ``1:8 12:12``."""
    for span in spans.split():
        match = _SPAN.fullmatch(span)
        if not match or not 1 <= int(match[1]) <= int(match[2]) <= _MOST_FRAMES:
            raise ValueError(f"line {line}: {span[:20]!r} is no span of frames from 1")
        yield from range(int(match[1]) - 1, int(match[2]))
