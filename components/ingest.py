"""The step ``ingest``: a source of raw videos becomes a clip set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.frontend.command import command
from components.frontend.contract import DatasetOutput, MeasuredResult, StepResult
from kineflow.data.ingest_settings import CLIP_SETS, IngestSettings
from kineflow.storage.errors import KineflowError
from kineflow.tracking.tracker import NULL_TRACKER, Tracker

if TYPE_CHECKING:
    from kineflow.sets.clip_set import ClipSet
    from kineflow.spec.shard import Shard


def ingest(
    *,
    params: IngestSettings,
    seed: int = 0,
    shard: str = "0/1",
    tracker: Tracker = NULL_TRACKER,
    clips: DatasetOutput,
) -> MeasuredResult:
    """Index, check and store the videos of a source as a clip set, or those of one shard.

    A shard is no clip set yet: the step merge_clips joins all shards of a source, and holds out val. It may be without
    a usable clip. Work that was interrupted is kept, and found again by the next run, in whatever shard.

    Args:
        params: Where the videos are and how to store them.
        seed: Decides which groups are held out for validation, where the lists have no val split.
        shard: Which part of the videos, counted from 0: 0/4 to 3/4 are four parts of about as many bytes.
        tracker: Told the source and the layout.
        clips: Folder to write: manifest and ``rejected.csv``; the videos lie where ``media_root`` says.

    Raises:
        KineflowError: The source is empty, a list is missing or malformed, or not one of its clips is usable. Broken
            videos are rows with a status, not errors, as long as another one is usable; where none is, the clip set
            says why, and the step fails.
    """
    from kineflow.data.clip_ids import clip_ids
    from kineflow.data.clip_shards import described, rows_of_shard
    from kineflow.data.ingested import REJECTED_FILE, figures_of, hold_out_clips, require_usable, save_ingested
    from kineflow.data.ingestion import Ingestion, ingest_clips
    from kineflow.data.listing import list_source
    from kineflow.sets.clip_set import ClipSet
    from kineflow.sets.media import open_media
    from kineflow.spec.shard import Shard
    from kineflow.storage.disk import translate_full_disk
    from kineflow.storage.files import atomic_folder
    from kineflow.video.store import StoredForm

    part = Shard.parse(shard)
    if params.layout == CLIP_SETS:
        return _join(params, seed, part, tracker=tracker, clips=clips)
    listed = list_source(params)
    source, listing = listed.source, listed.listing
    tracker.set_tags({"source": source.root, "layout": params.layout})
    rows = list(zip(clip_ids(listing.clips), listing.clips, strict=True))
    mine = rows_of_shard(part, rows, {} if part.is_all else source.sizes())

    form = StoredForm(params.short_side, params.gop, params.crf, params.fps, params.exact_size)
    with translate_full_disk(clips.parent), open_media(params.media_root, clips) as media:
        ingestion = Ingestion(source, media.store, form, params.min_frames, params.max_frames)
        ingested = tuple(ingest_clips(mine, ingestion, workers=params.workers))
        if part.is_all:
            ingested = hold_out_clips(ingested, val_share=params.val_share, seed=seed)
        with atomic_folder(clips) as partial:
            paths = [clip.path for clip in ingested if clip.path]
            stored_bytes, media_root = media.bytes_of(paths), media.settle(paths, partial)
            whole = described(part, rows, params, seed)
            form_of_set = (params.fps, params.exact_size, whole, listing.multi_label)
            clip_set = ClipSet(listing.classes, ingested, media_root, *form_of_set)
            save_ingested(clip_set, partial)
    if part.is_all:
        require_usable(clip_set, clips, source=source.root)

    figures = figures_of(clip_set) | {"bytes": stored_bytes}
    return StepResult(
        metrics=figures,
        summary=f"{figures['clips']} clips, {figures['rejected']} rejected, {figures['seconds']:.1f} s, "
        f"{stored_bytes / 1e6:.1f} MB"
        + ("" if part.is_all else f", shard {part} of {len(rows)} listed clips")
        + (f"; see {clips / REJECTED_FILE}" if figures["rejected"] else ""),
        artifacts={REJECTED_FILE: clips / REJECTED_FILE},
    )


def _join(params: IngestSettings, seed: int, part: Shard, *, tracker: Tracker, clips: Path) -> MeasuredResult:
    """Clip sets that there are already, as one."""
    import dataclasses

    from kineflow.data.ingested import REJECTED_FILE, figures_of, hold_out_clips, require_usable, save_ingested
    from kineflow.data.stored_clips import join_stored_clips
    from kineflow.storage.disk import translate_full_disk
    from kineflow.storage.files import atomic_folder

    if not part.is_all:
        raise KineflowError(
            f"shard {part} of clip sets that are ingested already", where=params.source, remedy="join them in one task"
        )
    tracker.set_tags({"source": params.source, "layout": params.layout})
    joined = join_stored_clips(params.source)
    unused = _unused_by_joining(params, joined)
    held_out = hold_out_clips(joined.clips, val_share=params.val_share, seed=seed)
    clip_set = dataclasses.replace(joined, clips=held_out)
    with translate_full_disk(clips.parent), atomic_folder(clips) as partial:
        save_ingested(clip_set, partial)
    require_usable(clip_set, clips, source=params.source)
    figures = figures_of(clip_set)
    return StepResult(
        metrics=figures,
        summary=f"{figures['clips']} clips, {figures['rejected']} rejected, {figures['seconds']:.1f} s, of sets in "
        f"{params.source}"
        + (f"; as they are: {', '.join(unused)} changes nothing" if unused else "")
        + (f"; see {clips / REJECTED_FILE}" if figures["rejected"] else ""),
        artifacts={REJECTED_FILE: clips / REJECTED_FILE},
    )


def _unused_by_joining(params: IngestSettings, joined: ClipSet) -> list[str]:
    """Keys that ask for another form than clips have that are joined as they are.

    Raises:
        KineflowError: A rate or size is asked for that the clips do not have.
    """
    asked = {name for name, field in IngestSettings.model_fields.items() if getattr(params, name) != field.default}
    for name, wanted, there in (("fps", params.fps, joined.fps), ("size", params.exact_size, joined.size)):
        if name in asked and wanted != there:
            raise KineflowError(
                f"ingestion.{name} is {wanted}, and the clip sets have {there or 'that of their sources'}: layout "
                f"{CLIP_SETS} joins them as they are",
                where=params.source,
                remedy=f"leave ingestion.{name} out, or ingest each of the sets with it",
            )
    return [name for name in ("short_side", "min_frames", "max_frames") if name in asked]


if __name__ == "__main__":
    command(ingest)
