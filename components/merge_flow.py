"""The step ``merge_flow``: one flow set from those of all shards."""

from __future__ import annotations

from typing import Annotated

from components.frontend.command import command
from components.frontend.contract import Between, DatasetInput, DatasetOutput, MeasuredResult, StepResult
from kineflow.storage.errors import KineflowError


def merge_flow(*, shards: Annotated[list[DatasetInput], Between(2, 16)], flow: DatasetOutput) -> MeasuredResult:
    """Join the flow sets of all shards.

    Args:
        shards: Flow sets that extract_flow has made with --shard, in any order.
        flow: Flow set to write. Media that the shards have in one media root stay there, on S3 too; others are linked
            into it, or copied to another disk.

    Raises:
        KineflowError: Shards are missing, twice there, or do not belong together; or none of their clips has flow.
    """
    import dataclasses

    from kineflow.flow.extraction.shards import merge_shards
    from kineflow.sets.joined_media import settle_joined
    from kineflow.spec.status import Status
    from kineflow.storage.disk import translate_full_disk
    from kineflow.storage.files import atomic_folder

    merged = merge_shards(shards)
    good = [entry for entry in merged.entries.values() if entry.status is Status.OK]
    if merged.entries and not good:
        raise KineflowError(
            "no clip has flow", where=shards[0].parent, remedy="see in the shards' indices why each has failed"
        )
    with translate_full_disk(flow.parent), atomic_folder(flow) as partial:
        entries, media_root = settle_joined([*merged.entries.values()], merged.media_root, shards, partial)
        by_clip = {entry.clip_id: entry for entry in entries}
        dataclasses.replace(merged, entries=by_clip, media_root=media_root).save(partial)
    pairs, failed = sum(entry.fields for entry in good), len(merged.entries) - len(good)
    return StepResult(
        metrics={"clips": len(good), "failed": failed, "pairs": pairs},
        summary=f"{len(good)} clips, {failed} failed, {pairs} pairs, of {len(shards)} shards",
    )


if __name__ == "__main__":
    command(merge_flow)
