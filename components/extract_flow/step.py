"""The step ``extract_flow``: the optical flow of every usable clip of a clip set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.contract import Input, Output, StepResult
from components.extract_flow.params import FlowParams
from kineflow.errors import KineflowError
from kineflow.tracking.tracker import NULL_TRACKER, Tracker

if TYPE_CHECKING:
    from kineflow.flow.extract import ExtractSettings
    from kineflow.flow.store import FlowEntry

_FAILED_SHOWN = 10


def extract_flow(
    *,
    clips: Input,
    params: FlowParams,
    seed: int = 0,  # noqa: ARG001 (every step takes one)
    tracker: Tracker = NULL_TRACKER,
    flow: Output,
) -> StepResult:
    """Extract the optical flow of every usable clip.

    Work that was interrupted is kept and found again by the next run with the same parameters.

    Args:
        clips: Clip set.
        params: The algorithm, and how to store its result.
        seed: Unused; nothing here is random.
        tracker: Told the algorithm and the device.
        flow: Flow set to write: index, and the flow videos unless ``media_root`` names another place.

    Raises:
        KineflowError: There is no usable clip, not one could be extracted, or the device is not there. Single clips
            that fail are rows of the index with a status.
    """
    from kineflow.data.manifest import ClipSet, Status
    from kineflow.disk import naming_full_disk
    from kineflow.files import discard_work, whole_folder, work_folder
    from kineflow.flow.extract import extract_set, put_in_place
    from kineflow.flow.store import MEDIA_FOLDER, FlowSet

    clip_set = ClipSet.load(clips)
    chosen = clip_set.usable()
    if not chosen:
        raise KineflowError("no usable clip", where=clips, remedy="see in its manifest why each clip was rejected")
    settings = _settings(params)
    told = settings.described()
    tracker.set_tags({"flow": f"{params.algorithm} {params.preset}", "device": settings.device})

    with naming_full_disk(flow.parent):
        work = Path(params.media_root).resolve() if params.media_root else work_folder(flow, "extract_flow", told)
        extracted = extract_set(clip_set, chosen, work, settings)
        good = [entry for entry in extracted.entries if entry.status is Status.OK]
        failed = [entry for entry in extracted.entries if entry.status is not Status.OK]
        if not good:
            raise KineflowError(_none_good(failed), where=clips, remedy="replace these clips")
        with whole_folder(flow) as partial:
            media = work if params.media_root else partial / MEDIA_FOLDER
            stored_bytes = put_in_place(good, work, media)
            FlowSet(params.bound_px, {entry.clip_id: entry for entry in extracted.entries}, str(media), told).save(
                partial
            )
    discard_work(flow)

    pairs = sum(entry.fields for entry in good)
    return StepResult(
        metrics={
            "clips": len(good),
            "failed": len(failed),
            "pairs": pairs,
            "pairs_per_second": extracted.pairs_per_second,
            "bytes": stored_bytes,
        },
        summary=f"{len(good)} clips, {len(failed)} failed, {pairs} pairs ({extracted.pairs_per_second:.0f} a second), "
        f"{stored_bytes / 1e6:.1f} MB",
    )


def _settings(params: FlowParams) -> ExtractSettings:
    import os

    import torch

    from kineflow.flow.extract import ExtractSettings
    from kineflow.flow.tvl1 import TVL1Params

    device = params.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise KineflowError(f"there is no device {device!r}", where="flow.device", remedy="use 'cpu' or 'auto'")
    return ExtractSettings(
        tvl1=TVL1Params.preset(params.preset, **params.overrides()),
        bound_px=params.bound_px,
        crf=params.crf,
        gop=params.gop,
        batch_pairs=params.batch_pairs,
        device=device,
        workers=params.workers or os.cpu_count() or 1,
    )


def _none_good(failed: Sequence[FlowEntry]) -> str:
    shown = [f"  {entry.clip_id}: {entry.reason}" for entry in failed[:_FAILED_SHOWN]]
    more = len(failed) - len(shown)
    return "\n".join(["no clip has flow", *shown, *([f"  … and {more} more"] if more else [])])
