"""Training curves, as a model bundle keeps them."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from kineflow.spec.output_files import CURVES_FILE
from kineflow.storage.errors import KineflowError
from kineflow.storage.spreadsheet import as_given

_MOST_CURVE_ROWS = 1_000_000

Curves = Mapping[str, Sequence[tuple[float, float]]]


def read_curves(bundle: Path) -> Curves:
    """Training curves of a model bundle (``curves.csv``: step, name, value), empty when it has none.

    Raises:
        KineflowError: The file has other columns, or a value that is no number.
    """
    path = bundle / CURVES_FILE
    if not path.is_file():
        return {}
    curves: dict[str, list[tuple[float, float]]] = {}
    number = 1
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            for number, row in enumerate(csv.DictReader(stream), 2):
                if number > _MOST_CURVE_ROWS:
                    raise ValueError("too many rows")
                point = float(row["step"]), float(row["value"])
                curves.setdefault(as_given(row["name"]), []).append(point)
    except (AttributeError, KeyError, TypeError, ValueError, csv.Error):  # bytes that are no text are the former
        raise KineflowError(
            "no row of training curves (step, name, value)",
            where=f"{path}, line {number}",
            remedy="train the model again, or remove the file",
        ) from None
    finite = {name: [point for point in points if all(map(math.isfinite, point))] for name, points in curves.items()}
    return {name: sorted(points) for name, points in finite.items() if points}
