"""What ingest makes of clips: the split for val, a clip set in its folder, and the reasons of those it rejects."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from kineflow.data.layouts import hold_out
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.storage.names import printable
from kineflow.storage.spreadsheet import harmless

REJECTED_FILE = "rejected.csv"
_SHOWN = 10


def hold_out_clips(clips: Sequence[Clip], *, val_share: float, seed: int) -> tuple[Clip, ...]:
    """:func:`kineflow.data.layouts.hold_out`, where copies of a video are known by their bytes."""
    return hold_out(
        clips,
        val_share=val_share,
        seed=seed,
        video_of=lambda clip: clip.video_sha256 or clip.sha256 if clip.status is Status.OK else clip.source,
    )


def save_ingested(clip_set: ClipSet, folder: Path) -> None:
    """Write a clip set, and beside it the list of its rejected clips."""
    clip_set.save(folder)
    with atomic_file(folder / REJECTED_FILE) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["clip_id", "source", "split", "status", "reason"])
        writer.writerows(
            harmless([clip.clip_id, clip.source, clip.split.value, clip.status.value, clip.reason])
            for clip in sorted(_rejected(clip_set), key=lambda clip: clip.clip_id)
        )


def require_usable(clip_set: ClipSet, folder: Path, *, source: str) -> None:
    """Check that there is a usable clip; asked after the set is written, so that all reasons can be read.

    Raises:
        KineflowError: There is none.
    """
    if clip_set.usable():
        return
    rejected = _rejected(clip_set)
    listed_clips = [f"  {printable(clip.source)}: {clip.reason}" for clip in rejected[:_SHOWN]]
    more = len(rejected) - len(listed_clips)
    raise KineflowError(
        "\n".join(["no listed video is usable", *listed_clips, *([f"  … and {more} more"] if more else [])]),
        where=source,
        remedy=f"do what the reasons ask for, see {folder / REJECTED_FILE}; "
        "paths of a list are relative to ingestion.source",
    )


def figures_of(clip_set: ClipSet) -> dict[str, float]:
    """``clips``, ``rejected``, ``frames`` and ``seconds`` of what is usable."""
    usable = clip_set.usable()
    return {
        "clips": len(usable),
        "rejected": len(clip_set.clips) - len(usable),
        "frames": sum(clip.frames for clip in usable),
        "seconds": sum(clip.frames / clip.fps for clip in usable),
    }


def _rejected(clip_set: ClipSet) -> list[Clip]:
    return [clip for clip in clip_set.clips if clip.status is not Status.OK]
