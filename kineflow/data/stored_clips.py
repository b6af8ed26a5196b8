"""Clip sets of several runs as one: shards of a source are merged, whole sets come to stand side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from kineflow.data.clip_shards import merge_shards
from kineflow.sets.clip_set import CLIP_FILES, Clip, ClipSet
from kineflow.sets.joined_media import JoinedMedia
from kineflow.sets.stored import fetched_sets
from kineflow.spec.classes import checked_classes
from kineflow.storage.errors import KineflowError


def join_stored_clips(place: str) -> ClipSet:
    """All clip sets that lie in a place as one; no media is moved.

    Shards have to be all of one source. Of whole sets, clips and groups have the set's name before theirs, and the
    classes are those of any.

    Args:
        place: Folder, or ``s3://`` prefix, with a folder for each set (:mod:`kineflow.sets.stored`).

    Returns:
        The clip set, with splits as the sets have them; shards have none of their own for val.

    Raises:
        KineflowError: There is no set, or they do not belong together.
    """
    with fetched_sets(place, CLIP_FILES) as folders:
        sets = {name: ClipSet.load(folder, may_be_shard=True) for name, folder in folders.items()}
        if any(clip_set.shard for clip_set in sets.values()):
            return merge_shards(list(folders.values()))[0]
        return _side_by_side(sets, Path(place))


def stored_id(name: str, clip_id: str) -> str:
    """What a clip of the whole set ``name`` is called where that stands together with others."""
    return f"{name}/{clip_id}"


def _side_by_side(sets: Mapping[str, ClipSet], place: Path) -> ClipSet:
    rates = {name: clip_set.fps for name, clip_set in sets.items()}
    if len(set(rates.values())) > 1:
        (slow, least), (fast, most) = (pick(rates.items(), key=lambda rate: rate[1]) for pick in (min, max))
        raise KineflowError(
            f"set {slow!r} has {least:g} frames a second and {fast!r} {most:g} (0: those of its sources)",
            where=place,
            remedy="ingest all of them with one ingestion.fps",
        )
    sizes = {clip_set.size: name for name, clip_set in sets.items()}
    if len(sizes) > 1:
        (one, here), (other, there), *_ = sizes.items()
        raise KineflowError(
            f"clips of set {here!r} are {_shown(one)}, those of {there!r} {_shown(other)}",
            where=place,
            remedy="ingest all of them with one ingestion.size",
        )
    lists = {clip_set.classes for clip_set in sets.values()}
    classes = lists.pop() if len(lists) == 1 else checked_classes(sorted({each for listed in lists for each in listed}))
    media = JoinedMedia.of({clip_set.media_root for clip_set in sets.values()})
    clips = [
        _renamed(media.row(clip, clip_set.media_root), name)
        for name, clip_set in sets.items()
        for clip in clip_set.clips
    ]
    multi_label = any(clip_set.multi_label for clip_set in sets.values())
    form = (next(iter(rates.values())), next(iter(sizes)))
    return ClipSet(classes, tuple(clips), media.root, *form, multi_label=multi_label)


def _shown(size: tuple[int, int] | None) -> str:
    return f"all {size[0]}x{size[1]}" if size else "of their sources' aspects"


def _renamed(clip: Clip, name: str) -> Clip:
    return dataclasses.replace(
        clip,
        clip_id=stored_id(name, clip.clip_id),
        group=stored_id(name, clip.group),
        source=stored_id(name, clip.source),
    )
