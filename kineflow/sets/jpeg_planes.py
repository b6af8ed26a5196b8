"""Flow of one clip as grey JPEGs, two a frame, as dense_flow and its successors write it.

A clip is a folder with ``flow_x_00001.jpg`` (u) and ``flow_y_00001.jpg`` (v) and so on, each pixel a level
(:mod:`kineflow.spec.quantise`, bound 20 px by custom). Numbers begin at 1 or at 0 and have any count of digits. Two
other namings are read too: ``x_0001.jpg`` and ``y_0001.jpg`` in one folder, and ``frame000001.jpg`` in the folders
``u/<clip>`` and ``v/<clip>``, where the former stands for the clip.

The bytes are not trusted: only JPEG is decoded, and no picture larger than a bound.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from kineflow.spec.video_bounds import MAX_PIXELS
from kineflow.storage.disk import translate_full_disk
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_folder

U_FOLDER, V_FOLDER = "u", "v"
_IN_ONE_FOLDER = (("flow_x_", "flow_y_"), ("x_", "y_"))
_IN_TWO_FOLDERS = "frame"
_NUMBERED = re.compile(r"(flow_[xy]_|[xy]_|frame)(\d{1,9})\.jpe?g")
_MAX_BYTES = 64 * 2**20
_MOST_PIXELS = 2**28  # of all frames that are read at once: 512 MB
_MOST_SCANS = 64  # of a JPEG; each goes over the whole picture, and encoders write up to a dozen
_REMEDY = "extract the flow of this clip again, or remove the clip"


@dataclass(frozen=True)
class JpegPlanes:
    """Where the planes of a clip lie: the paths at ``n`` of ``u`` and of ``v`` are those of flow frame ``n``."""

    u: tuple[str, ...]  # a Path for each of a clip's files would cost as much as reading a sample
    v: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.u)


def find_planes(folder: Path) -> JpegPlanes:
    """The planes of a clip, by their names alone; no picture is opened.

    Args:
        folder: Of the clip; the one below ``u`` where u and v lie apart.

    Raises:
        KineflowError: There are no planes, numbers are missing or begin above 1, or u and v do not match.
    """
    u, v = _named_planes(folder)
    if not u and not v:
        raise KineflowError(
            "holds no flow planes", where=folder, remedy="name them flow_x_00001.jpg, flow_y_00001.jpg and so on"
        )
    if lonely := sorted(u.keys() ^ v.keys()):
        has, lacks = ("u", "v") if lonely[0] in u else ("v", "u")
        problem = f"frame {lonely[0]} has a plane {has} and no plane {lacks}{_more(len(lonely))}"
        raise KineflowError(problem, where=folder, remedy=_REMEDY)
    numbers = sorted(u)
    if numbers[0] > 1:
        raise KineflowError(f"begins with frame {numbers[0]}, not with 0 or 1", where=folder, remedy=_REMEDY)
    if missing := numbers[-1] - numbers[0] + 1 - len(numbers):
        first = next(expected for expected, number in enumerate(numbers, numbers[0]) if number != expected)
        raise KineflowError(f"frame {first} is missing{_more(missing)}", where=folder, remedy=_REMEDY)
    return JpegPlanes(tuple(u[number] for number in numbers), tuple(v[number] for number in numbers))


def read_jpeg_flow(folder: Path, indices: Sequence[int] | None = None) -> np.ndarray:
    """Read flow from JPEG planes, only those asked for.

    Args:
        folder: As for :func:`find_planes`.
        indices: Fields from 0, whatever number the first file has, in any order and with repeats; None for all.

    Returns:
        uint8 flow [T, H, W, 2], u and v.

    Raises:
        KineflowError: As :func:`find_planes`; an index is negative or beyond the end; or a plane is no JPEG, is
            truncated or too large, or differs in size from the others.
    """
    planes = find_planes(folder)
    wanted = np.arange(len(planes)) if indices is None else np.asarray(indices, dtype=np.int64)
    if not wanted.size or wanted.min() < 0 or wanted.max() >= len(planes):
        raise KineflowError(f"frames {wanted.tolist()} were asked for, of {len(planes)}", where=folder)
    unique, positions = np.unique(wanted, return_inverse=True)
    flow: list[np.ndarray] = []
    for number in unique:
        u, v = (_decode(Path(path)) for path in (planes.u[number], planes.v[number]))
        if len(unique) * u.size > _MOST_PIXELS:
            problem = f"{len(unique)} frames of {_size_text(u.shape)} px are too much to read at once"
            raise KineflowError(problem, where=folder, remedy="scale the flow down, or cut the clip into shorter ones")
        if u.shape != v.shape or (flow and u.shape != flow[0].shape[:2]):
            problem = "u and v differ in size here, or from the frames before"
            raise KineflowError(problem, where=planes.u[number], remedy=_REMEDY)
        flow.append(cv2.merge((u, v)))
    return np.stack(flow)[positions]


def write_jpeg_flow(folder: Path, flow: np.ndarray, *, quality: int = 95) -> None:
    """Write flow as ``flow_x_00001.jpg``, ``flow_y_00001.jpg`` and so on; the folder is whole or absent.

    Args:
        folder: Of the clip; replaced when it is there.
        flow: uint8 [T, H, W, 2], u and v.
        quality: Of the JPEGs, 1 to 100.

    Raises:
        KineflowError: The quality is none, or the disk is full.
    """
    if not 1 <= quality <= 100:
        raise KineflowError(f"{quality} is no quality of a JPEG", remedy="choose one from 1 to 100")
    with translate_full_disk(folder.parent), atomic_folder(folder) as partial:
        for number, frame in enumerate(flow, 1):
            for axis, plane in zip("xy", cv2.split(frame), strict=True):
                _, data = cv2.imencode(".jpg", plane, [cv2.IMWRITE_JPEG_QUALITY, quality])
                (partial / f"flow_{axis}_{number:05d}.jpg").write_bytes(data.tobytes())


def jpeg_size(path: Path) -> tuple[int, int]:
    """Height and width of a JPEG in pixels, from its header.

    Raises:
        KineflowError: The file is missing, is no JPEG, or is larger than the bound.
    """
    try:
        with path.open("rb") as stream:
            return _checked_size(stream, path)
    except OSError as error:
        raise _unreadable(path, error) from None


def _named_planes(folder: Path) -> tuple[dict[int, str], dict[int, str]]:
    """Paths of u and of v by the number in their name."""
    if folder.parent.name == U_FOLDER:
        u, v = (_numbered(root / folder.name) for root in (folder.parent, folder.parent.parent / V_FOLDER))
        if _IN_TWO_FOLDERS in u:
            return u[_IN_TWO_FOLDERS], v.get(_IN_TWO_FOLDERS, {})
    by_prefix = _numbered(folder)
    for x, y in _IN_ONE_FOLDER:
        if x in by_prefix or y in by_prefix:
            return by_prefix.get(x, {}), by_prefix.get(y, {})
    return {}, {}


def _numbered(folder: Path) -> dict[str, dict[int, str]]:
    """Files of a folder by the prefix and by the number of their names; none when there is no such folder."""
    by_prefix: dict[str, dict[int, str]] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if match := _NUMBERED.fullmatch(entry.name):
                    by_prefix.setdefault(match[1], {})[int(match[2])] = entry.path
    except OSError:
        return {}
    return by_prefix


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""


def _decode(path: Path) -> np.ndarray:
    """One plane, uint8 [H, W]."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from None
    size = _checked_size(io.BytesIO(data), path)
    if data.count(_SCAN) > _MOST_SCANS:
        raise KineflowError(f"a JPEG of {data.count(_SCAN)} scans", where=path, remedy=_REMEDY)
    plane = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    # libjpeg fills up what is cut off in silence, so the end is looked for.
    if plane is None or plane.shape != size or not data.rstrip(b"\0").endswith(_END):
        raise KineflowError("is a damaged JPEG", where=path, remedy=_REMEDY)
    return plane


def _unreadable(path: Path, error: OSError) -> KineflowError:
    return KineflowError(f"not readable: {error.strerror}", where=path, remedy=_REMEDY)


def _size_text(size: Sequence[int]) -> str:
    return f"{size[1]}x{size[0]}"


# Markers of JPEG (ITU-T T.81, table B.1)
_START, _END, _SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _checked_size(stream: BinaryIO, path: Path) -> tuple[int, int]:
    size = _frame_header(stream)
    if size is None or 0 in size:
        raise KineflowError("is no JPEG", where=path, remedy=_REMEDY)
    if size[0] * size[1] > MAX_PIXELS:
        raise KineflowError(f"a plane of {_size_text(size)} px is too large", where=path, remedy=_REMEDY)
    return size


def _frame_header(stream: BinaryIO) -> tuple[int, int] | None:
    """Height and width from the first frame header, or None when there is none."""
    if stream.read(2) != _START:
        return None
    while (segment := stream.read(4))[:1] == b"\xff" and len(segment) == 4:
        length = int.from_bytes(segment[2:], "big")
        if segment[1] in _FRAME_HEADERS:
            body = stream.read(5)  # precision, height, width
            return (int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")) if len(body) == 5 else None
        if length < 2:
            return None
        stream.seek(length - 2, os.SEEK_CUR)
    return None
