"""Where the actors of clips are, as people or programs have marked them: a CSV file that any tool can write.

One row for each frame in which an actor is seen::

    clip,frame,left,top,right,bottom,label,width,height,actor
    Skijet/v_Skijet_g01_c01,0,41,96,78,171,Skijet,320,240,1

==========================  =======================================================================================
``clip``                    id of the clip in the clip set
``frame``                   from 0
``left, top, right, bottom``  pixels, fractions allowed; right and bottom exclusive: from 2 to 5 is 3 wide
``label``                   class of what the actor does, the same in all of its rows
``width, height``           of the frames in which the box was measured: clips may be stored smaller
``actor``                   tells several actors of one clip apart; the column may be absent where there is one
==========================  =======================================================================================

What of a box lies outside its frame is cut off.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kineflow.storage.errors import KineflowError

COLUMNS = ("clip", "frame", "left", "top", "right", "bottom", "label", "width", "height")
ACTOR = "actor"

_MOST_ROWS = 2_000_000
_LARGEST_SIDE = 65_536
_SIDES = ("left", "top", "right", "bottom")
_REMEDY = f"write the columns {','.join(COLUMNS)} and, where a clip has several actors, {ACTOR}"


@dataclass(frozen=True, eq=False)
class Track:
    """One actor's boxes in one clip.

    Attributes:
        clip: Id of the clip.
        label: Class of what the actor does.
        frames: Numbers of the frames in which it is seen, int64 [M], rising.
        boxes: One for each of them, float64 [M, 4]: left, top, right, bottom.
        width, height: Of the frames that the boxes are measured in, pixels.
        actor: Tells several actors of one clip apart.
    """

    clip: str
    label: str
    frames: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]
    width: int
    height: int
    actor: str = ""

    def boxes_at(self, *, width: int, height: int) -> npt.NDArray[np.float64]:
        """The boxes in frames of another size, float64 [M, 4]."""
        scale = np.array([width / self.width, height / self.height] * 2)
        scaled: npt.NDArray[np.float64] = self.boxes * scale
        return scaled


def read_boxes(path: Path) -> dict[str, list[Track]]:
    """The tracks of each clip.

    Raises:
        KineflowError: The file cannot be read, columns are missing, or a row is impossible; the row is named.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True)
            header = reader.fieldnames or ()
            if missing := [name for name in COLUMNS if name not in header]:
                raise KineflowError(f"columns are missing: {', '.join(missing)}", where=path, remedy=_REMEDY)
            grouped = _grouped(reader, path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise KineflowError(f"no readable file of boxes ({error})", where=path, remedy=_REMEDY) from None
    tracks: dict[str, list[Track]] = {}
    for (clip, name), actor in grouped.items():
        tracks.setdefault(clip, []).append(_track(clip, name, dict(sorted(actor.items())), path))
    return tracks


class _Row(NamedTuple):
    """A box as it is written; texts that repeat are one object."""

    line: int
    label: str | None
    width: str | None
    height: str | None
    sides: tuple[float, float, float, float]


def _grouped(reader: csv.DictReader[str], path: Path) -> dict[tuple[str, str], dict[int, _Row]]:
    """Rows by clip and actor, and by frame."""
    grouped: dict[tuple[str, str], dict[int, _Row]] = {}
    for count, row in enumerate(reader, 1):
        where = f"{path}, line {reader.line_num}"
        if count > _MOST_ROWS:
            raise KineflowError(
                f"more than {_MOST_ROWS} boxes", where=where, remedy="leave out clips that are not used"
            )
        actor = grouped.setdefault((row["clip"] or "", row.get(ACTOR) or ""), {})
        frame = int(_number(row, "frame", where, least=0, most=_MOST_ROWS, whole=True))
        if frame in actor:
            raise KineflowError(
                f"a second box of clip {row['clip']!r}, frame {frame}",
                where=where,
                remedy=f"give several actors of a clip different values in the column {ACTOR}",
            )
        label, width, height = (row[name] and sys.intern(row[name]) for name in ("label", "width", "height"))
        left, top, right, bottom = (_number(row, side, where) for side in _SIDES)
        actor[frame] = _Row(reader.line_num, label, width, height, (left, top, right, bottom))
    return grouped


def _track(clip: str, actor: str, rows: Mapping[int, _Row], path: Path) -> Track:
    """One actor's rows, by frame."""
    first = next(iter(rows.values()))
    first_where = f"{path}, line {first.line}"
    if not clip or not first.label:
        raise KineflowError("clip and label must not be empty", where=first_where, remedy="fill them in")
    for row in rows.values():
        for column in ("label", "width", "height"):
            one, other = getattr(row, column), getattr(first, column)
            if one != other:
                raise KineflowError(
                    f"{column} is {one!r}, and {other!r} in another row of this actor",
                    where=f"{path}, line {row.line}",
                    remedy=f"give one {column} to all rows of an actor, or tell actors apart by the column {ACTOR}",
                )
    written = first._asdict()
    width, height = (
        int(_number(written, side, first_where, least=1, most=_LARGEST_SIDE, whole=True))
        for side in ("width", "height")
    )
    boxes = [_box(row.sides, width, height, f"{path}, line {row.line}") for row in rows.values()]
    return Track(clip, first.label, np.array(list(rows), np.int64), np.array(boxes), width, height, actor)


def _box(given: Sequence[float], width: int, height: int, where: str) -> Sequence[float]:
    box = [min(max(value, 0.0), float(bound)) for value, bound in zip(given, (width, height) * 2, strict=True)]
    if box[0] >= box[2] or box[1] >= box[3]:
        sides = ", ".join(f"{side} {value:g}" for side, value in zip(_SIDES, given, strict=True))
        raise KineflowError(
            f"no part of the box {sides} lies in a frame of {width}x{height}",
            where=where,
            remedy="left must be below right and top below bottom, in pixels of the stated width and height",
        )
    return box


def _number(
    row: Mapping[str, Any],
    column: str,
    where: str,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    whole: bool = False,
) -> float:
    try:
        value = float(row[column])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value) or not least <= value <= most or (whole and value != int(value)):
        wanted = "a whole number" if whole else "a number"
        bound = f" of at least {least:g}" if math.isfinite(least) else ""
        bound += f", at most {most:.10g}" if value > most else ""
        raise KineflowError(f"{column} must be {wanted}{bound}, not {row[column]!r}", where=where, remedy=_REMEDY)
    return value
