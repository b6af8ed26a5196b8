"""Shards of a source: each ingested by a machine of its own, and joined to the clip set that one would have made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kineflow.data.ingest_settings import IngestSettings
from kineflow.data.layouts.rows import ListedClip
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.clip_shard import ClipShard
from kineflow.sets.joined_media import JoinedMedia
from kineflow.spec.shard import Shard, check_all_there, deal
from kineflow.storage.errors import KineflowError

_DIGEST_DIGITS = 24
_IN_COMMON = (
    "source", "layout", "split_number", "annotations",
    "short_side", "size", "fps", "gop", "crf", "min_frames", "max_frames",
)  # fmt: skip


def rows_of_shard(
    shard: Shard, rows: Sequence[tuple[str, ListedClip]], sizes: Mapping[str, int]
) -> list[tuple[str, ListedClip]]:
    """The rows of a shard, in their order: all clips of a video are in one, and shards have like bytes to read.

    Args:
        shard: Which part.
        rows: Every listed clip, with its id.
        sizes: Bytes of videos, as far as they are known; the others are dealt out by their names.
    """
    if shard.is_all:
        return list(rows)
    mine = set(videos_of_shards((clip for _, clip in rows), sizes, shard.count)[shard.index])
    return [row for row in rows if row[1].source in mine]


def videos_of_shards(clips: Iterable[ListedClip], sizes: Mapping[str, int], count: int) -> list[list[str]]:
    """The videos of each of ``count`` shards; the arguments are those of :func:`rows_of_shard`."""
    # A byte more for each: those of unknown size are dealt out evenly too.
    return deal(
        {clip.source for clip in clips},
        count,
        work=lambda video: sizes.get(video, 0) + 1,
        name=lambda video: video,
    )


def described(
    shard: Shard, rows: Iterable[tuple[str, ListedClip]], settings: IngestSettings, seed: int
) -> ClipShard | None:
    """What a shard has to say of itself to be joined; None where there is one shard only.

    Args:
        shard: Which part.
        rows: Every listed clip, with its id, those of other shards too.
        settings: How it is ingested.
        seed: That decides which groups are held out, once all shards are together.
    """
    if shard.is_all:
        return None
    digest = _digest((clip_id, clip.source, _label_of(clip), clip.split, clip.group) for clip_id, clip in rows)
    common = settings.model_dump(mode="json", include=set(_IN_COMMON))
    return ClipShard(
        index=shard.index, count=shard.count, of_clips=digest, made_from=common, val_share=settings.val_share, seed=seed
    )


def merge_shards(folders: Sequence[Path]) -> tuple[ClipSet, ClipShard]:
    """Join the clip sets of all shards of one source; no media is moved.

    Args:
        folders: Of the shards, in any order.

    Returns:
        The clip set, with splits as the lists have them; and what the shards say of themselves. Where they keep their
        media in different places, its media root is the folder that holds all.

    Raises:
        KineflowError: A folder holds no shard, they differ in what they were made from, some are missing or there
            twice, or the source has changed from one to another.
    """
    sets = {folder: ClipSet.load(folder, may_be_shard=True) for folder in folders}
    shards = {folder: _shard_of(folder, clip_set) for folder, clip_set in sets.items()}
    (first, expected), *others = ((folder, _origin(sets[folder], shard)) for folder, shard in shards.items())
    for folder, origin in others:
        if changed := [key for key in expected | origin if expected.get(key) != origin.get(key)]:
            raise KineflowError(
                f"its {changed[0]} is {origin.get(changed[0])!r}, that of {first} is {expected.get(changed[0])!r}",
                where=folder,
                remedy="ingest all shards from one source, with one set of parameters; clips that are stored already "
                "are not stored again",
            )
    check_all_there({folder: shard.place for folder, shard in shards.items()})

    media = JoinedMedia.of({clip_set.media_root for clip_set in sets.values()})
    clips = [media.row(clip, clip_set.media_root) for clip_set in sets.values() for clip in clip_set.clips]
    clips.sort(key=lambda clip: clip.clip_id)
    _check_complete(clips, shards[first], first)
    return dataclasses.replace(sets[first], clips=tuple(clips), media_root=media.root, shard=None), shards[first]


def _shard_of(folder: Path, clip_set: ClipSet) -> ClipShard:
    if clip_set.shard is None:
        raise KineflowError(
            "is a whole clip set, no shard of one", where=folder, remedy="ingest it with --shard, or leave it out"
        )
    return clip_set.shard


def _origin(clip_set: ClipSet, shard: ClipShard) -> dict[str, Any]:
    """What all shards of a clip set have in common, what people know best first."""
    return {
        **shard.made_from,
        "number of shards": shard.count,
        "seed": shard.seed,
        "val_share": shard.val_share,
        "list of classes": clip_set.classes,
        "multi_label": clip_set.multi_label,
        "list of clips": shard.of_clips,
    }


def _check_complete(clips: Sequence[Clip], shard: ClipShard, where: Path) -> None:
    """That each listed clip is in one shard; files that came or grew between two of them can have moved it."""
    rows = ((clip.clip_id, clip.source, _label_of(clip), clip.split, clip.group) for clip in clips)
    if _digest(rows) != shard.of_clips:
        raise KineflowError(
            f"together the {shard.count} shards do not have each listed clip once ({len(clips)} clips)",
            where=where,
            remedy="files of the source have changed in the meantime: ingest all shards again; clips that are stored "
            "already are not stored again (parts of a source: kineflow submit RECIPE --parts "
            f"{shard.count} --no-cache)",
        )


def _label_of(clip: Clip | ListedClip) -> str | list[str] | None:
    return [*clip.labels] if clip.also else clip.label


def _digest(rows: Iterable[tuple[Any, ...]]) -> str:
    whole = sorted(json.dumps(row) for row in rows)
    return hashlib.sha256("\n".join(whole).encode()).hexdigest()[:_DIGEST_DIGITS]
