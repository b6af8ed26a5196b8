"""The step ``merge_flow``: one flow set from those of all shards."""

from __future__ import annotations

from pathlib import Path

from components.contract import Input, Output, StepResult
from kineflow.storage.errors import KineflowError
from kineflow.tracking.tracker import NULL_TRACKER, Tracker


def merge_flow(*, shards: Input, tracker: Tracker = NULL_TRACKER, flow: Output) -> StepResult:  # noqa: ARG001
    """Join the flow sets that extract_flow has made with --shard.

    Args:
        shards: Folder with the flow set of each shard in a folder of its own.
        tracker: Told nothing.
        flow: Flow set to write. Media that the shards have in one media root stay there, on S3 too; others are linked
            into it, or copied to another disk.

    Raises:
        KineflowError: Shards are missing, twice there, or do not belong together; or no clip of any has flow.
    """
    import dataclasses

    from kineflow.data.manifest import Status
    from kineflow.data.media import put_in_place
    from kineflow.flow.extraction.shards import merge_shards
    from kineflow.flow.store import FLOWSET_FILE, MEDIA_FOLDER
    from kineflow.storage.disk import translate_full_disk
    from kineflow.storage.files import atomic_folder
    from kineflow.storage.media import is_remote

    folders = sorted(path.parent for path in shards.glob(f"*/{FLOWSET_FILE}"))
    if not folders:
        raise KineflowError("no flow set lies in a folder here", where=shards, remedy="write every shard below it")
    merged = merge_shards(folders)
    good = [entry for entry in merged.entries.values() if entry.status is Status.OK]
    if not good:
        raise KineflowError("no clip has flow", where=shards, remedy="see in the shards' indices why each has failed")
    with translate_full_disk(flow.parent), atomic_folder(flow) as partial:
        inside = not is_remote(merged.media_root) and Path(merged.media_root).is_relative_to(shards.resolve())
        if inside:  # the shards' folders may go
            put_in_place((entry.path for entry in good), Path(merged.media_root), partial / MEDIA_FOLDER)
            merged = dataclasses.replace(merged, media_root=str(partial / MEDIA_FOLDER))
        merged.save(partial)
    pairs, failed = sum(entry.fields for entry in good), len(merged.entries) - len(good)
    return StepResult(
        metrics={"clips": len(good), "failed": failed, "pairs": pairs},
        summary=f"{len(good)} clips, {failed} failed, {pairs} pairs, of {len(folders)} shards",
    )
