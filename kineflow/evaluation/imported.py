"""Scores that were computed elsewhere, such as those of improved dense trajectories (IDT), for late fusion.

The papers' last tables add hand-crafted features to the networks: Fisher vectors of IDT and a linear SVM a class, whose
scores are averaged with the network's. Whoever has such scores writes them into a CSV file with a header::

    clip,ApplyEyeMakeup,ApplyLipstick,…,YoYo
    v_ApplyEyeMakeup_g01_c01,1.31,-0.42,…,-1.07

one row a clip, named by its clip id or by its file name without suffix, and one column a class, in any order.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from kineflow.evaluation.scores import Scores
from kineflow.spec.classes import repeated
from kineflow.storage.errors import KineflowError

Normalise = Literal["none", "l2"]

_CLIP_COLUMN = "clip"
_SHOWN = 3
_LONGEST_SHOWN = 100


def read_imported(path: Path, *, model: str, like: Scores, normalise: Normalise = "none") -> Scores:
    """Read scores of the clips and classes of ``like``, in its order and with its labels.

    Args:
        path: The CSV file. Rows of other clips are passed over.
        model: Name for the scores, e.g. ``idt``.
        like: Scores of one of the models to be fused with.
        normalise: ``l2`` scales each clip's scores to length 1, as those of SVMs were before they were averaged with
            a network's (Feichtenhofer et al. 2016); ``none`` leaves them, as logits or log-probabilities.

    Raises:
        KineflowError: The file is unreadable, lacks a clip or a class, or holds something that is no finite number.
    """
    values = np.full(like.logits.shape, np.nan, dtype=np.float32)
    order: list[int] | None = None
    wanted = _names(like)
    row_of = {clip_id: number for number, clip_id in enumerate(like.clip_ids)}
    for line, cells in _lines(path):
        if order is None:
            order = _columns(cells, like, path)
            continue
        clip_id = wanted.get(cells[0])
        if clip_id is None:
            continue
        row = values[row_of[clip_id]]
        if not np.isnan(row[0]):
            raise _fault(path, line, f"clip {clip_id!r} is listed twice", "keep one row a clip")
        numbers = np.array(_numbers(cells, order, path, line))
        if normalise == "l2":
            numbers /= max(float(np.linalg.norm(numbers)), np.finfo(np.float64).tiny)
        if np.abs(numbers).max() > np.finfo(np.float32).max:
            raise _fault(path, line, "a score is larger than any number in 32 bits", "scale the scores down")
        row[:] = numbers
    if missing := [like.clip_ids[number] for number in np.flatnonzero(np.isnan(values[:, 0]))]:
        listed_ids = ", ".join(missing[:_SHOWN]) + (", …" if len(missing) > _SHOWN else "")
        raise KineflowError(
            f"{len(missing)} of {len(like)} clips have no scores: {listed_ids}",
            where=path,
            remedy="name each row by the clip id of the manifest, or by the file name without suffix",
        )
    return dataclasses.replace(like, model=model, logits=values)


def _names(like: Scores) -> dict[str, str]:
    """What a row may be called, and the clip id it then means; a file name that two clips share is left out."""
    stems: dict[str, list[str]] = {}
    for clip_id in like.clip_ids:
        stems.setdefault(PurePosixPath(clip_id).name, []).append(clip_id)
    unique = {stem: ids[0] for stem, ids in stems.items() if len(ids) == 1}
    return unique | {clip_id: clip_id for clip_id in like.clip_ids}


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line that is not empty; all have as many cells as the first."""
    width = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            for line, cells in enumerate(csv.reader(stream, strict=True), 1):
                if not cells:
                    continue
                width = width or len(cells)
                if len(cells) != width:
                    raise _fault(path, line, f"{len(cells)} cells where the header has {width}", "repair the row")
                yield line, [cell.strip() for cell in cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise KineflowError(f"not readable as CSV: {error}", where=path, remedy="give a CSV file in UTF-8") from None
    if not width:
        raise KineflowError("the file is empty", where=path, remedy="begin it with a header: clip, then the classes")


def _columns(header: list[str], like: Scores, path: Path) -> list[int]:
    """The column of each class."""
    if header[0] != _CLIP_COLUMN:
        raise _fault(path, 1, f"the first column is called {header[0][:_LONGEST_SHOWN]!r}", f"call it {_CLIP_COLUMN!r}")
    if twice := repeated(header):
        raise _fault(path, 1, f"column {twice[0]!r} is there twice", "keep one column a class")
    missing, unknown = (sorted(set(a) - set(b)) for a, b in ((like.classes, header[1:]), (header[1:], like.classes)))
    if missing or unknown:
        faults = [f"no column for class {missing[0]!r}"] if missing else []
        faults += [f"column {unknown[0]!r} is no class of the clip set"] if unknown else []
        raise _fault(path, 1, "; ".join(faults), "name the columns as the classes of the clip set")
    column = {name: number for number, name in enumerate(header)}
    return [column[name] for name in like.classes]


def _numbers(cells: list[str], order: list[int], path: Path, line: int) -> list[float]:
    values = []
    for column in order:
        try:
            value = float(cells[column])
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            cell = cells[column][:40]
            raise _fault(path, line, f"{cell!r} in column {column + 1} is no finite number", "repair the row")
        values.append(value)
    return values


def _fault(path: Path, line: int, problem: str, remedy: str) -> KineflowError:
    return KineflowError(problem, where=f"{path}, line {line}", remedy=remedy)
