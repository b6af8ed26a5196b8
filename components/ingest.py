"""The step ``ingest``: a source of raw videos becomes a clip set."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from components.frontend.command import command
from components.frontend.contract import DatasetOutput, MeasuredResult, StepResult
from kineflow.data.ingest_settings import IngestSettings
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.status import Status
from kineflow.storage.disk import translate_full_disk
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file, atomic_folder
from kineflow.storage.spreadsheet import harmless
from kineflow.tracking.tracker import NULL_TRACKER, Tracker

REJECTED_FILE = "rejected.csv"
_REJECTED_SHOWN = 10


def ingest(
    *,
    params: IngestSettings,
    seed: int = 0,
    tracker: Tracker = NULL_TRACKER,
    clips: DatasetOutput,
) -> MeasuredResult:
    """Index, check and store the videos of a source as a clip set.

    Args:
        params: Where the videos are and how to store them.
        seed: Decides which groups are held out for validation, where the lists have no val split.
        tracker: Told the source and the layout.
        clips: Folder to write: manifest and ``rejected.csv``; the videos lie where ``media_root`` says.

    Raises:
        KineflowError: The source is empty, a list is missing or malformed, or not one of its clips is usable. Broken
            videos are rows with a status, not errors, as long as another one is usable; where none is, the clip set
            says why, and the step fails.
    """
    from kineflow.data.ingestion import Ingestion, ingest_clips
    from kineflow.data.layouts import hold_out
    from kineflow.data.listing import list_source
    from kineflow.sets.media import open_media
    from kineflow.video.store import StoredForm

    listed = list_source(params)
    source, listing = listed.source, listed.listing
    tracker.set_tags({"source": source.root, "layout": params.layout})

    form = StoredForm(params.short_side, params.gop, params.crf, params.fps, params.exact_size)
    with translate_full_disk(clips.parent), open_media(params.media_root, clips) as media:
        ingestion = Ingestion(source, media.store, form, params.min_frames, params.max_frames)
        ingested = hold_out(
            ingest_clips(listing.clips, ingestion, workers=params.workers),
            val_share=params.val_share,
            seed=seed,
            video_of=lambda clip: clip.video_sha256 or clip.sha256 if clip.status is Status.OK else clip.source,
        )
        usable = [clip for clip in ingested if clip.status is Status.OK]
        rejected = [clip for clip in ingested if clip.status is not Status.OK]
        with atomic_folder(clips) as partial:
            paths = [clip.path for clip in usable]
            stored_bytes, media_root = media.bytes_of(paths), media.settle(paths, partial)
            ClipSet(listing.classes, ingested, media_root, params.fps, params.exact_size).save(partial)
            _write_rejected(rejected, partial / REJECTED_FILE)
    if not usable:  # said when all reasons can be read
        raise KineflowError(
            _none_usable(rejected),
            where=source.root,
            remedy=f"do what the reasons ask for, see {clips / REJECTED_FILE}; "
            "paths of a list are relative to ingestion.source",
        )

    seconds = sum(clip.frames / clip.fps for clip in usable)
    return StepResult(
        metrics={
            "clips": len(usable),
            "rejected": len(rejected),
            "frames": sum(clip.frames for clip in usable),
            "seconds": seconds,
            "bytes": stored_bytes,
        },
        summary=f"{len(usable)} clips, {len(rejected)} rejected, {seconds:.1f} s, {stored_bytes / 1e6:.1f} MB"
        + (f"; see {clips / REJECTED_FILE}" if rejected else ""),
        artifacts={REJECTED_FILE: clips / REJECTED_FILE},
    )


def _none_usable(rejected: Sequence[Clip]) -> str:
    from kineflow.data.names import printable

    listed_clips = [f"  {printable(clip.source)}: {clip.reason}" for clip in rejected[:_REJECTED_SHOWN]]
    more = len(rejected) - len(listed_clips)
    return "\n".join(["no listed video is usable", *listed_clips, *([f"  … and {more} more"] if more else [])])


def _write_rejected(rejected: Sequence[Clip], path: Path) -> None:
    with atomic_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["clip_id", "source", "split", "status", "reason"])
        writer.writerows(
            harmless([clip.clip_id, clip.source, clip.split.value, clip.status.value, clip.reason])
            for clip in sorted(rejected, key=lambda clip: clip.clip_id)
        )


if __name__ == "__main__":
    command(ingest)
