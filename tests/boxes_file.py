"""A file of true boxes."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from kineflow.data.boxes import ACTOR, COLUMNS, Track


def write_boxes(path: Path, tracks: Iterable[Track]) -> None:
    """Write what :func:`kineflow.data.boxes.read_boxes` reads."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*COLUMNS, ACTOR])
        for track in tracks:
            for frame, box in zip(track.frames, track.boxes, strict=True):
                writer.writerow([track.clip, frame, *box, track.label, track.width, track.height, track.actor])
