"""Flow sets of several runs as that of one clip set."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from kineflow.data.stored_clips import stored_id
from kineflow.sets.clip_set import Clip
from kineflow.sets.flow_set import FLOW_FILES, FlowEntry, FlowSet
from kineflow.sets.joined_media import JoinedMedia
from kineflow.sets.stored import fetched_sets
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError


def join_stored_flow(place: str, clips: Iterable[Clip]) -> FlowSet:
    """The flow of clips out of all flow sets that lie in a place; no media is moved.

    Args:
        place: Folder, or ``s3://`` prefix, with a folder for each set (:mod:`kineflow.sets.stored`).
        clips: That want flow; those of :func:`kineflow.data.stored_clips.join_stored_clips`.

    Returns:
        An entry for each clip; one whose flow has another length has a status that says so.

    Raises:
        KineflowError: There is no set, one is missing, or they were made in different ways.
    """
    with fetched_sets(place, FLOW_FILES) as folders:
        return _joined({name: FlowSet.load(folder) for name, folder in folders.items()}, place, clips)


def _joined(sets: Mapping[str, FlowSet], place: str, clips: Iterable[Clip]) -> FlowSet:
    (first, one), *others = sets.items()
    for name, other in others:
        made, here = _method(one), _method(other)
        if changed := [key for key in sorted(made | here) if made.get(key) != here.get(key)]:
            raise KineflowError(
                f"flow set {name!r}: its {changed[0]} is {here.get(changed[0])!r}, "
                f"that of {first!r} is {made.get(changed[0])!r}",
                where=place,
                remedy="extract all of them with one set of parameters",
            )
    wanted = list(clips)
    of_whole_sets = all(
        clip.clip_id.partition("/")[0] in sets for clip in wanted
    )  # those have the set's name in theirs
    media = JoinedMedia.of({flow.media_root for flow in sets.values()})
    there = {
        stored_id(name, entry.clip_id) if of_whole_sets else entry.clip_id: media.row(entry, flow.media_root)
        for name, flow in sets.items()
        for entry in flow.entries.values()
    }
    if missing := [clip.clip_id for clip in wanted if clip.clip_id not in there]:
        raise KineflowError(
            f"{len(missing)} clips are in none of the {len(sets)} flow sets, the first of them {missing[0]!r}",
            where=place,
            remedy="make the flow set that is missing, from these clips and with all of their splits",
        )
    entries = [_entry(clip, there[clip.clip_id]) for clip in wanted]
    return FlowSet(one.bound_px, {entry.clip_id: entry for entry in entries}, media.root, one.params)


def _method(flow: FlowSet) -> dict[str, Any]:
    if "shard" in flow.params:
        raise KineflowError(
            "a shard of a flow set, where whole ones are needed",
            where=flow.media_root,
            remedy="join it with merge_flow",
        )
    return {**flow.params, "bound_px": flow.bound_px}


def _entry(clip: Clip, entry: FlowEntry) -> FlowEntry:
    if entry.status is not Status.OK or entry.fields == clip.frames - 1:
        return dataclasses.replace(entry, clip_id=clip.clip_id)
    reason = f"{entry.fields} flow frames of a clip of {clip.frames} frames: flow of another clip of this name"
    return FlowEntry(clip.clip_id, "", 0, clip.width, clip.height, Status.UNREADABLE, reason)
