"""The step ``extract_flow``: the optical flow of every usable clip of a clip set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from components.contract import Input, Output, StepResult
from components.extract_flow.params import FlowParams
from kineflow.storage.errors import KineflowError
from kineflow.tracking.tracker import NULL_TRACKER, Tracker

if TYPE_CHECKING:
    from kineflow.data.manifest import Clip, ClipSet
    from kineflow.flow.extraction.settings import ExtractSettings
    from kineflow.flow.store import FlowEntry

_FAILED_SHOWN = 10


def extract_flow(
    *,
    clips: Input,
    params: FlowParams,
    seed: int = 0,  # noqa: ARG001 (every step takes one)
    shard: str = "0/1",
    tracker: Tracker = NULL_TRACKER,
    flow: Output,
) -> StepResult:
    """Extract the optical flow of every usable clip.

    Work that was interrupted is kept and found again by the next run with the same parameters. Shards that wrote to
    one ``media_root`` are joined by a run of the whole set with that ``media_root``, which finds their work done, or
    by the step merge_flow.

    Args:
        clips: Clip set.
        params: The algorithm, and how to store its result; or where flow lies that there is already.
        seed: Unused; nothing here is random.
        shard: Which part of the clips, counted from 0: 0/4 to 3/4 are four parts that take about as long.
        tracker: Told the algorithm and the devices.
        flow: Flow set to write: index, and the flow videos unless ``media_root`` names another place.

    Raises:
        KineflowError: There is no usable clip, not one could be extracted, or a device is not there. Single clips that
            fail are rows of the index with a status.
    """
    from kineflow.data.manifest import ClipSet
    from kineflow.flow.extraction.shards import Shard

    part = Shard.parse(shard)
    clip_set = ClipSet.load(clips)
    usable = clip_set.usable()
    if not usable:
        raise KineflowError("no usable clip", where=clips, remedy="see in its manifest why each clip was rejected")
    wanted = [clip for clip in usable if clip.split in params.splits]
    chosen, shown = part.of(wanted), part.described(wanted)
    if params.existing:
        return _index_existing(chosen, params, shown, tracker=tracker, flow=flow)
    return _compute(clip_set, chosen, params, shown, tracker=tracker, flow=flow)


def _compute(
    clip_set: ClipSet,
    chosen: list[Clip],
    params: FlowParams,
    shard: dict[str, object],
    *,
    tracker: Tracker,
    flow: Path,
) -> StepResult:
    from kineflow.data.media import put_in_place
    from kineflow.flow.extraction.engine import extract_set
    from kineflow.flow.store import MEDIA_FOLDER, FlowSet
    from kineflow.storage.disk import translate_full_disk
    from kineflow.storage.files import atomic_folder, discard_work, work_folder
    from kineflow.storage.stores import LocalStore, open_store

    settings = _settings(params)
    told = settings.described()
    tracker.set_tags({"flow": f"{params.algorithm} {params.preset}", "device": ",".join(settings.devices)})

    with translate_full_disk(flow.parent):
        work = work_folder(flow, "extract_flow", told)
        store = open_store(params.media_root, work) if params.media_root else LocalStore(work)
        extracted = extract_set(clip_set, chosen, store, settings)
        good, failed = _judged(extracted.entries, shard)
        stored_bytes = sum(store.size_of(entry.path) for entry in good)
        with atomic_folder(flow) as partial:
            media_root = store.root
            if not params.media_root:
                put_in_place((entry.path for entry in good), work, partial / MEDIA_FOLDER)
                media_root = str(partial / MEDIA_FOLDER)
            entries = {entry.clip_id: entry for entry in extracted.entries}
            FlowSet(params.bound_px, entries, media_root, {**told, **shard}).save(partial)
    discard_work(flow)

    pairs = sum(entry.fields for entry in good)
    return StepResult(
        metrics={
            "clips": len(good),
            "failed": len(failed),
            "pairs": pairs,
            "pairs_per_second": extracted.pairs_per_second,
            "solver_busy_share": extracted.solver_busy_share,
            "bytes": stored_bytes,
        },
        summary=f"{len(good)} clips, {len(failed)} failed, {pairs} pairs ({extracted.pairs_per_second:.0f} a second, "
        f"solver busy {extracted.solver_busy_share:.0%}), {stored_bytes / 1e6:.1f} MB",
    )


def _index_existing(
    chosen: list[Clip], params: FlowParams, shard: dict[str, object], *, tracker: Tracker, flow: Path
) -> StepResult:
    from kineflow.flow.jpeg_layout import index_jpeg_flow
    from kineflow.flow.store import FlowSet
    from kineflow.storage.files import atomic_folder

    root = Path(params.existing).resolve()
    tracker.set_tags({"flow": "existing"})
    entries = index_jpeg_flow(root, chosen)
    good, failed = _judged(entries.values(), shard)
    with atomic_folder(flow) as partial:
        told = {"algorithm": "unknown", "layout": "jpeg"}
        FlowSet(params.bound_px, entries, str(root), {**told, **shard}).save(partial)
    pairs = sum(entry.fields for entry in good)
    return StepResult(
        metrics={"clips": len(good), "failed": len(failed), "pairs": pairs},
        summary=f"{len(good)} clips, {len(failed)} failed, {pairs} fields that were there already, in {root}",
    )


def _judged(entries: Iterable[FlowEntry], shard: dict[str, object]) -> tuple[list[FlowEntry], list[FlowEntry]]:
    """Good and failed entries; a set without a good one is an error, a shard without one is not: others have them."""
    from kineflow.data.manifest import Status

    listed = list(entries)
    good = [entry for entry in listed if entry.status is Status.OK]
    failed = [entry for entry in listed if entry.status is not Status.OK]
    if listed and not good and not shard:
        shown = [f"  {entry.clip_id}: {entry.reason}" for entry in failed[:_FAILED_SHOWN]]
        more = len(failed) - len(shown)
        raise KineflowError(
            "\n".join(["no clip has flow", *shown, *([f"  … and {more} more"] if more else [])]),
            remedy="replace these clips",
        )
    return good, failed


def _settings(params: FlowParams) -> ExtractSettings:
    import os

    from kineflow.flow.extraction.devices import find_devices
    from kineflow.flow.extraction.settings import ExtractSettings
    from kineflow.flow.params import TVL1Params

    return ExtractSettings(
        tvl1=TVL1Params.preset(params.preset, **params.overrides()),
        camera_motion=params.camera_motion,
        bound_px=params.bound_px,
        crf=params.crf,
        gop=params.gop,
        batch_pairs=params.batch_pairs,
        devices=find_devices(params.device),
        workers=params.workers or os.cpu_count() or 1,
    )
