"""The step ``merge_clips``: one clip set from those of all shards."""

from __future__ import annotations

from typing import Annotated

from components.frontend.command import command
from components.frontend.contract import Between, DatasetInput, DatasetOutput, MeasuredResult, StepResult


def merge_clips(*, shards: Annotated[list[DatasetInput], Between(2, 16)], clips: DatasetOutput) -> MeasuredResult:
    """Join the shards of a clip set, and hold out val: the set is that which ingest makes of the whole source.

    Args:
        shards: Clip sets that ingest has made with --shard, in any order.
        clips: Clip set to write: manifest and ``rejected.csv``. Videos that the shards have in one media root stay
            there, on S3 too; others are linked into it, or copied to another disk.

    Raises:
        KineflowError: Shards are missing, twice there, or do not belong together; or no clip of any is usable, which
            the clip set explains.
    """
    import dataclasses

    from kineflow.data.clip_shards import merge_shards
    from kineflow.data.ingested import REJECTED_FILE, figures_of, hold_out_clips, require_usable, save_ingested
    from kineflow.sets.joined_media import settle_joined
    from kineflow.storage.disk import translate_full_disk
    from kineflow.storage.files import atomic_folder

    merged, origin = merge_shards(shards)
    held_out = hold_out_clips(merged.clips, val_share=origin.val_share, seed=origin.seed)
    with translate_full_disk(clips.parent), atomic_folder(clips) as partial:
        rows, media_root = settle_joined(held_out, merged.media_root, shards, partial)
        clip_set = dataclasses.replace(merged, clips=tuple(rows), media_root=media_root)
        save_ingested(clip_set, partial)
    require_usable(clip_set, clips, source=str(origin.made_from["source"]))

    figures = figures_of(clip_set)
    return StepResult(
        metrics=figures,
        summary=f"{figures['clips']} clips, {figures['rejected']} rejected, {figures['seconds']:.1f} s, "
        f"of {len(shards)} shards" + (f"; see {clips / REJECTED_FILE}" if figures["rejected"] else ""),
        artifacts={REJECTED_FILE: clips / REJECTED_FILE},
    )


if __name__ == "__main__":
    command(merge_clips)
