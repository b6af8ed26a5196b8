"""Shards: one flow set made by several machines, and joined again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kineflow.sets.clip_set import Clip
from kineflow.sets.flow_set import FlowSet
from kineflow.sets.joined_media import JoinedMedia
from kineflow.spec.shard import Shard, check_all_there
from kineflow.storage.errors import KineflowError

_SHARD = "shard"  # its key among a flow set's params
_DIGEST_DIGITS = 12


def clips_of(shard: Shard, clips: Iterable[Clip]) -> list[Clip]:
    """The clips of a shard; by the pixels that there are to look at, shards have like work to do."""
    return shard.of(clips, work=lambda clip: clip.frames * clip.width * clip.height, name=lambda clip: clip.clip_id)


def described(shard: Shard, clips: Iterable[Clip]) -> dict[str, Any]:
    """What :func:`merge_shards` has to know of a shard, to stand among its flow set's params."""
    whole = sorted([clip.clip_id, clip.frames, clip.width, clip.height] for clip in clips)
    digest = hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:_DIGEST_DIGITS]
    return {} if shard.is_all else {_SHARD: {"index": shard.index, "count": shard.count, "of_clips": digest}}


def merge_shards(folders: Sequence[Path]) -> FlowSet:
    """Join the flow sets of all shards of one clip set; no media is moved.

    Args:
        folders: Of the flow sets, in any order.

    Returns:
        The flow set. Where shards keep their media in different places, its media root is the folder that holds all.

    Raises:
        KineflowError: A folder holds no shard, or they differ in the clips or parameters that they were made from,
            or some are missing or there twice.
    """
    if not folders:
        raise KineflowError("there are no shards to join", remedy="name the folder of every shard's flow set")
    shards = {folder: FlowSet.load(folder) for folder in folders}
    first, *others = ((folder, _origin(folder, flow)) for folder, flow in shards.items())
    for folder, origin in others:
        if changed := [key for key in sorted(first[1] | origin) if first[1].get(key) != origin.get(key)]:
            raise KineflowError(
                f"its {changed[0]} is {origin.get(changed[0])!r}, that of {first[0]} is {first[1].get(changed[0])!r}",
                where=folder,
                remedy="extract all shards from one clip set, with one set of parameters",
            )
    check_all_there({folder: _shard_of(flow) for folder, flow in shards.items()})

    media = JoinedMedia.of({flow.media_root for flow in shards.values()})
    entries = [media.row(entry, flow.media_root) for flow in shards.values() for entry in flow.entries.values()]
    if twice := [clip_id for clip_id, count in Counter(entry.clip_id for entry in entries).items() if count > 1]:
        raise KineflowError(f"clip {twice[0]!r} is in two shards", remedy="extract the shards again")
    any_set = next(iter(shards.values()))
    params = {key: value for key, value in any_set.params.items() if key != _SHARD}
    return FlowSet(any_set.bound_px, {entry.clip_id: entry for entry in entries}, media.root, params)


def _shard_of(flow: FlowSet) -> Shard:
    return Shard(flow.params[_SHARD]["index"], flow.params[_SHARD]["count"])


def _origin(folder: Path, flow: FlowSet) -> dict[str, Any]:
    """What all shards of a flow set have in common."""
    shard = flow.params.get(_SHARD)
    if not isinstance(shard, Mapping) or not {"index", "count", "of_clips"} <= set(shard):
        raise KineflowError(
            "is a whole flow set, no shard of one", where=folder, remedy="extract it with --shard, or leave it out"
        )
    params = {key: value for key, value in flow.params.items() if key != _SHARD}
    return {**params, "bound_px": flow.bound_px, "shards": shard["count"], "clip set": shard["of_clips"]}
