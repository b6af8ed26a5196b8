"""The step ``extract_flow``: the optical flow of every usable clip of a clip set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.frontend.command import command
from components.frontend.contract import DatasetInput, DatasetOutput, MeasuredResult, StepResult
from kineflow.flow.settings import FlowSettings
from kineflow.storage.errors import KineflowError
from kineflow.tracking.tracker import NULL_TRACKER, Tracker

if TYPE_CHECKING:
    from kineflow.sets.clip_set import Clip, ClipSet
    from kineflow.sets.flow_set import FlowEntry

_FAILED_SHOWN = 10


def extract_flow(
    *,
    clips: DatasetInput,
    params: FlowSettings,
    shard: str = "0/1",
    tracker: Tracker = NULL_TRACKER,
    flow: DatasetOutput,
) -> MeasuredResult:
    """Extract the optical flow of every clip, or of those of one shard.

    Only usable clips get flow.

    Work that was interrupted is kept and found again by the next run with the same parameters. Shards that wrote to
    one ``media_root`` are joined by a run of the whole set with that ``media_root``, which finds their work done, or
    by the step merge_flow.

    Args:
        clips: Clip set.
        params: The algorithm, and how to store its result; or where flow lies that there is already.
        shard: Which part of the clips, counted from 0: 0/4 to 3/4 are four parts that take about as long.
        tracker: Told the algorithm and the devices.
        flow: Flow set to write: an index; the flow videos lie where ``media_root`` says.

    Raises:
        KineflowError: There is no usable clip, not one could be extracted, a device is not there, or the solver cannot
            run on it. Single clips that fail are rows of the index with a status.
    """
    from kineflow.flow.extraction.shards import clips_of, described
    from kineflow.sets.clip_set import ClipSet
    from kineflow.spec.shard import Shard

    part = Shard.parse(shard)
    clip_set = ClipSet.load(clips, may_be_shard=True)
    usable = clip_set.usable()
    if not usable and not clip_set.shard:
        raise KineflowError("no usable clip", where=clips, remedy="see in its manifest why each clip was rejected")
    wanted = [clip for clip in usable if clip.split in params.splits]
    chosen, shard_facts = clips_of(part, wanted), described(part, wanted)
    if params.existing:
        return _index_existing(clip_set, chosen, params, shard_facts, tracker=tracker, flow=flow)
    return _compute(clip_set, chosen, params, shard_facts, tracker=tracker, flow=flow)


def _compute(
    clip_set: ClipSet,
    chosen: list[Clip],
    params: FlowSettings,
    shard: dict[str, object],
    *,
    tracker: Tracker,
    flow: Path,
) -> MeasuredResult:
    from kineflow.flow.extraction.engine import extract_set
    from kineflow.flow.extraction.settings import ExtractSettings
    from kineflow.sets.flow_set import FlowSet
    from kineflow.sets.media import open_media
    from kineflow.storage.disk import translate_full_disk
    from kineflow.storage.files import atomic_folder

    settings = ExtractSettings.of(params)
    method = settings.described()
    tracker.set_tags({"flow": f"{params.algorithm} {params.preset}", "device": ",".join(settings.devices)})

    with translate_full_disk(flow.parent), open_media(params.media_root, flow) as media:
        extracted = extract_set(clip_set, chosen, media.store, settings)
        good, failed = _judged(extracted.entries, is_part=bool(shard or clip_set.shard))
        paths = [entry.path for entry in good]
        stored_bytes = media.bytes_of(paths)
        with atomic_folder(flow) as partial:
            entries = {entry.clip_id: entry for entry in extracted.entries}
            media_root = media.settle(paths, partial)
            FlowSet(params.bound_px, entries, media_root, {**method, **shard}).save(partial)

    pairs = sum(entry.fields for entry in good)
    speeds, said = _speeds(flow)
    return StepResult(
        metrics={
            **speeds,
            "clips": len(good),
            "failed": len(failed),
            "pairs": pairs,
            "pairs_per_second": extracted.pairs_per_second,
            "solver_busy_share": extracted.solver_busy_share,
            "bytes": stored_bytes,
        },
        summary=f"{len(good)} clips, {len(failed)} failed, {pairs} pairs ({extracted.pairs_per_second:.0f} a second, "
        f"solver busy {extracted.solver_busy_share:.0%}), {stored_bytes / 1e6:.1f} MB{said}",
    )


def _index_existing(
    clip_set: ClipSet,
    chosen: list[Clip],
    params: FlowSettings,
    shard: dict[str, object],
    *,
    tracker: Tracker,
    flow: Path,
) -> MeasuredResult:
    from kineflow.data.stored_flow import join_stored_flow
    from kineflow.flow.jpeg_layout import index_jpeg_flow
    from kineflow.sets.flow_set import FLOW_FILES, FlowSet
    from kineflow.sets.stored import holds_sets
    from kineflow.storage.files import atomic_folder

    tracker.set_tags({"flow": "existing"})
    if holds_sets(params.existing, FLOW_FILES):
        found = join_stored_flow(params.existing, chosen)
    else:
        root = Path(params.existing).resolve()
        method = {"algorithm": "unknown", "layout": "jpeg"}
        found = FlowSet(params.bound_px, index_jpeg_flow(root, chosen), str(root), method)
    good, failed = _judged(found.entries.values(), is_part=bool(shard or clip_set.shard))
    with atomic_folder(flow) as partial:
        replace(found, params={**found.params, **shard}).save(partial)
    pairs = sum(entry.fields for entry in good)
    speeds, said = _speeds(flow)
    return StepResult(
        metrics={**speeds, "clips": len(good), "failed": len(failed), "pairs": pairs},
        summary=f"{len(good)} clips, {len(failed)} failed, {pairs} flow frames that were there already, in "
        f"{params.existing}{said}",
    )


def _speeds(flow: Path) -> tuple[dict[str, float], str]:
    """Figures of how fast the flow is and how well its bound fits, and words to go on a summary with."""
    from kineflow.flow.magnitudes import flow_magnitudes
    from kineflow.sets.flow_set import FlowSet

    found = flow_magnitudes(FlowSet.load(flow))
    return (found.metrics, f"; {found}") if found else ({}, "")


def _judged(entries: Iterable[FlowEntry], *, is_part: bool) -> tuple[list[FlowEntry], list[FlowEntry]]:
    """Good and failed entries; a set without a good one is an error, a part without one is not: others have them."""
    from kineflow.spec.status import Status

    listed = list(entries)
    good = [entry for entry in listed if entry.status is Status.OK]
    failed = [entry for entry in listed if entry.status is not Status.OK]
    if listed and not good and not is_part:
        listed_entries = [f"  {entry.clip_id}: {entry.reason}" for entry in failed[:_FAILED_SHOWN]]
        more = len(failed) - len(listed_entries)
        raise KineflowError(
            "\n".join(["no clip has flow", *listed_entries, *([f"  … and {more} more"] if more else [])]),
            remedy="replace these clips",
        )
    return good, failed


if __name__ == "__main__":
    command(extract_flow)
