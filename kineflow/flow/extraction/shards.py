"""Shards: one flow set made by several machines, and joined again."""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from kineflow.sets.clip_set import Clip
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.storage.client import S3_SCHEME, split_uri
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import check_root, is_remote

_SHARD = "shard"  # its key among a flow set's params
_WRITTEN = re.compile(r"(\d{1,6})/(\d{1,6})")
_DIGEST_DIGITS = 12


@dataclass(frozen=True)
class Shard:
    """One of several parts of a clip set: number ``index``, counted from 0, of ``count``."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise KineflowError(f"there is no shard {self}", where="shard", remedy=self._remedy())

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``1/4``.

        Raises:
            KineflowError: It is not written so, or there is no such shard, as 4/4.
        """
        written = _WRITTEN.fullmatch(text)
        if not written:
            raise KineflowError(f"{text!r} names no shard", where="shard", remedy=cls._remedy())
        return cls(int(written[1]), int(written[2]))

    @property
    def is_all(self) -> bool:
        """Whether it is the only one."""
        return self.count == 1

    def of(self, clips: Iterable[Clip]) -> list[Clip]:
        """Its clips: each clip belongs to one shard, whatever order they come in, and shards have like work to do.

        The clip with the most pixels left goes to the shard with the least; so no two shards differ by more than the
        longest clip.
        """
        most_first = sorted(clips, key=lambda clip: (-_work(clip), clip.clip_id))
        least_loaded = [(0, index) for index in range(self.count)]
        mine = []
        for clip in most_first:
            load, index = least_loaded[0]
            heapq.heapreplace(least_loaded, (load + _work(clip), index))
            if index == self.index:
                mine.append(clip)
        return mine

    def described(self, clips: Iterable[Clip]) -> dict[str, Any]:
        """What :func:`merge_shards` has to know of the shard, to stand among its flow set's params."""
        whole = sorted([clip.clip_id, clip.frames, clip.width, clip.height] for clip in clips)
        digest = hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:_DIGEST_DIGITS]
        return {} if self.is_all else {_SHARD: {"index": self.index, "count": self.count, "of_clips": digest}}

    @staticmethod
    def _remedy() -> str:
        return "write the first of four shards as 0/4 and the last as 3/4"


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
    _check_all_there({folder: flow.params[_SHARD]["index"] for folder, flow in shards.items()}, first[1]["shards"])

    root, below = _common_root({flow.media_root for flow in shards.values()})
    entries = [_moved(entry, below[flow.media_root]) for flow in shards.values() for entry in flow.entries.values()]
    if twice := [clip_id for clip_id, count in Counter(entry.clip_id for entry in entries).items() if count > 1]:
        raise KineflowError(f"clip {twice[0]!r} is in two shards", remedy="extract the shards again")
    any_set = next(iter(shards.values()))
    params = {key: value for key, value in any_set.params.items() if key != _SHARD}
    return FlowSet(any_set.bound_px, {entry.clip_id: entry for entry in entries}, root, params)


def _common_root(media_roots: Collection[str]) -> tuple[str, dict[str, PurePath]]:
    """The place that holds all roots of media, and where each of them lies below it."""
    remote = [root for root in media_roots if is_remote(root)]
    if not remote:
        local = {root: Path(root).resolve() for root in media_roots}
        common = Path(os.path.commonpath(local.values()))
        return str(common), {root: path.relative_to(common) for root, path in local.items()}
    buckets = {split_uri(root)[0] for root in remote}
    if len(remote) < len(media_roots) or len(buckets) > 1:
        raise KineflowError(
            f"shards keep their media in places with nothing in common: {', '.join(sorted(media_roots))}",
            remedy="extract all shards with one media_root",
        )
    prefixes = {root: PurePosixPath("/", split_uri(root)[1]) for root in remote}
    shared = PurePosixPath(os.path.commonpath(prefixes.values()))
    uri = check_root(f"{S3_SCHEME}{buckets.pop()}{shared}")
    return uri, {root: prefix.relative_to(shared) for root, prefix in prefixes.items()}


def _work(clip: Clip) -> int:
    return clip.frames * clip.width * clip.height


def _origin(folder: Path, flow: FlowSet) -> dict[str, Any]:
    """What all shards of a flow set have in common."""
    shard = flow.params.get(_SHARD)
    if not isinstance(shard, Mapping) or not {"index", "count", "of_clips"} <= set(shard):
        raise KineflowError(
            "is a whole flow set, no shard of one", where=folder, remedy="extract it with --shard, or leave it out"
        )
    params = {key: value for key, value in flow.params.items() if key != _SHARD}
    return {**params, "bound_px": flow.bound_px, "shards": shard["count"], "clip set": shard["of_clips"]}


def _check_all_there(indices: Mapping[Path, int], count: int) -> None:
    for index in range(count):
        having = [folder for folder, of_folder in indices.items() if of_folder == index]
        if not having:
            raise KineflowError(f"shard {index}/{count} is missing", remedy="extract it, and name its folder too")
        if len(having) > 1:
            raise KineflowError(
                f"shard {index}/{count} is there twice: {having[0]} and {having[1]}", remedy="leave one of them out"
            )


def _moved(entry: FlowEntry, below: PurePath) -> FlowEntry:
    return dataclasses.replace(entry, path=(below / entry.path).as_posix()) if entry.path else entry
