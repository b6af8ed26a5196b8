"""Faults that show only across rows: plain functions from the manifest to what was found.

Each takes the manifest as a data frame (columns as the fields of :class:`kineflow.sets.clip_set.Clip`) and returns a
:class:`Finding`; an empty finding means that all is well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kineflow.spec.classes import labels_of
from kineflow.storage.names import printable

_COPIES_NAMED = 3
_NAMED = 5  # classes, groups or contents that a phrase names before it only counts


@dataclass(frozen=True)
class Finding:
    """What is wrong.

    Attributes:
        observed: In a phrase; empty when nothing is wrong.
        clip_ids: The offending clips, in the manifest's order; empty where no single clip is to blame.
    """

    observed: str = ""
    clip_ids: tuple[str, ...] = ()


def groups_in_several_splits(clips: pd.DataFrame) -> Finding:
    """Groups of which clips lie in more than one split: a test on them would be a test on training material.

    Unlabelled clips are training material as those of train are, and may be of the same groups.
    """
    astray = clips[used_for(clips).groupby(clips["group"]).transform("nunique") > 1]
    phrases = [
        f"group {group!r} in {', '.join(members['split'].unique())}"
        for group, members in astray.groupby("group", sort=False)
    ]
    return Finding(enumerated(phrases), ids_of(astray))


def contents_in_several_splits(clips: pd.DataFrame) -> Finding:
    """Frames of one video file, by its bytes, that occur in more than one split; whole videos and parts of them."""
    return _sharing_frames(clips, "split")


def contents_under_several_labels(clips: pd.DataFrame) -> Finding:
    """Contents (by SHA-256) that have more than one label."""
    labelled = clips[clips["label"].notna()]
    astray = labelled[labelled.groupby("sha256")["label"].transform("nunique") > 1]
    return naming_sources(astray, labelled["sha256"], "label")


def frames_under_several_labels(clips: pd.DataFrame) -> Finding:
    """Parts of one video that share frames and differ in their label; equal contents are a finding of their own."""
    equal = contents_under_several_labels(clips).clip_ids
    return _sharing_frames(clips[clips["label"].notna() & ~clips["clip_id"].isin(equal)], "label")


def videos_in_several_splits(clips: pd.DataFrame) -> Finding:
    """Videos of which parts that share no frames lie in more than one split; the others are a finding of their own.

    Unlabelled parts may be of a video of train, as in :func:`groups_in_several_splits`.
    """
    key = video_key(clips)
    sharing = key[clips["clip_id"].isin(contents_in_several_splits(clips).clip_ids)]
    astray = clips[(used_for(clips).groupby(key).transform("nunique") > 1) & ~key.isin(sharing)]
    return naming_sources(astray, key, "split")


def contents_twice_in_a_split(clips: pd.DataFrame) -> Finding:
    """Contents (by SHA-256) that occur more than once within one split, under one label."""
    alike = ["sha256", "split", "label"]
    twice = clips[clips.duplicated(alike, keep=False)]
    phrases = [
        f"{' = '.join(map(str, ids[:_COPIES_NAMED]))} ({split})"
        for (_, split, _), ids in twice.groupby(alike, sort=False, dropna=False)["clip_id"].agg(list).items()
    ]
    return Finding(enumerated(phrases), ids_of(twice))


def classes_missing(clips: pd.DataFrame, *, classes: Sequence[str], splits: Sequence[str]) -> Finding:
    """Classes without a clip in one of ``splits``."""
    counts = clips_per_class(clips, classes=classes)
    absent = {split: [name for name in classes if counts[name].get(split, 0) == 0] for split in splits}
    return Finding("; ".join(f"{split} lacks {enumerated(names)}" for split, names in absent.items() if names))


def classes_below(clips: pd.DataFrame, *, classes: Sequence[str], split: str, minimum: int) -> Finding:
    """Classes with some clips in ``split``, but fewer than ``minimum``."""
    sizes = _class_sizes(clips, classes, split)
    few = sizes[sizes < minimum]
    return Finding(enumerated([f"{name} has {count}" for name, count in few.items()]))


def classes_unbalanced(clips: pd.DataFrame, *, classes: Sequence[str], split: str, max_ratio: float) -> Finding:
    """The biggest class of ``split`` has over ``max_ratio`` times the clips of the smallest one that has any."""
    sizes = _class_sizes(clips, classes, split)
    if sizes.empty or sizes.max() <= max_ratio * sizes.min():
        return Finding()
    big, small = sizes.idxmax(), sizes.idxmin()
    return Finding(f"{big} has {sizes.max()} clips, {small} has {sizes.min()}: {sizes.max() / sizes.min():.1f} to 1")


def rejected(clips: pd.DataFrame, *, max_share: float) -> Finding:
    """More than ``max_share`` of all clips were rejected when they were ingested."""
    lost = clips[clips["status"] != "ok"]
    if len(lost) <= max_share * len(clips):
        return Finding()
    kinds = ", ".join(f"{count} {status}" for status, count in lost["status"].value_counts().sort_index().items())
    return Finding(f"{len(lost)} of {len(clips)} ({100 * len(lost) / len(clips):.1f} %): {kinds}", ids_of(lost))


def clips_per_class(clips: pd.DataFrame, *, classes: Iterable[str]) -> Mapping[str, Mapping[str, int]]:
    """Count of clips by class and split."""
    counts: dict[str, dict[str, int]] = {name: {} for name in classes}
    for (name, split), count in a_row_a_class(clips).groupby(["label", "split"]).size().items():
        counts.setdefault(str(name), {})[str(split)] = int(count)
    return counts


def _class_sizes(clips: pd.DataFrame, classes: Sequence[str], split: str) -> pd.Series:
    of_split = a_row_a_class(clips[clips["split"] == split])
    return of_split[of_split["label"].isin(classes)]["label"].value_counts().sort_index()


def a_row_a_class(clips: pd.DataFrame) -> pd.DataFrame:
    """Clips with a row for each of their classes, in ``label``."""
    if "also" not in clips or not clips["also"].astype(bool).any():
        return clips
    every = [labels_of(*pair) or (None,) for pair in zip(clips["label"], clips["also"], strict=True)]
    return clips.assign(label=every).explode("label")


def used_for(clips: pd.DataFrame) -> pd.Series:
    """The split of each clip; of one without a label, train."""
    return clips["split"].astype(object).replace({"unlabelled": "train"})


def _sharing_frames(clips: pd.DataFrame, column: str) -> Finding:
    """Clips that share frames of a video with a clip that has another value in ``column``."""
    key = video_key(clips)
    candidates = clips[clips.groupby(key)[column].transform("nunique") > 1]
    places: set[Any] = set()
    for _, members in candidates.groupby(key[candidates.index], sort=False):
        places |= _meeting(members, column)
    return naming_sources(clips[clips.index.isin(places)], key, column)


def _meeting(members: pd.DataFrame, column: str) -> set[Any]:
    """Indices of the clips of one video that share frames with one of another value in ``column``."""
    columns = (members["first_frame"], members["frames"], members[column], members.index)
    spans = sorted(
        (
            (int(first), int(first) + int(frames), value, index)
            for first, frames, value, index in zip(*columns, strict=True)
        ),
        key=lambda span: span[:2],
    )
    meeting = set()
    latest_stop: dict[Any, int] = {}
    for first, stop, value, index in spans:  # has one that begins before ended?
        if any(other != value and end > first for other, end in latest_stop.items()):
            meeting.add(index)
        latest_stop[value] = max(latest_stop.get(value, stop), stop)
    next_first: dict[Any, int] = {}
    for first, stop, value, index in reversed(spans):  # does one that begins later do so before this one ends?
        if any(other != value and begin < stop for other, begin in next_first.items()):
            meeting.add(index)
        next_first[value] = first
    return meeting


def video_key(clips: pd.DataFrame) -> pd.Series:
    """What tells whether clips are of one video file: its bytes, which are the clip's own where that is all of it."""
    return clips["video_sha256"].where(clips["video_sha256"].astype(bool), clips["sha256"])


def naming_sources(astray: pd.DataFrame, key: pd.Series, column: str) -> Finding:
    """Clips of one video or content by the paths of their files and what they have in ``column``."""
    phrases = []
    for _, members in astray.groupby(key[astray.index], sort=False):
        values: dict[str, list[str]] = {}
        for source, value in zip(members["source"], members[column], strict=True):
            values.setdefault(str(source), []).append(str(value))
        named = [f"{printable(source)} in {' and '.join(dict.fromkeys(held))}" for source, held in values.items()]
        phrases.append(" = ".join(named[:_COPIES_NAMED]))
    return Finding(enumerated(phrases), ids_of(astray))


def ids_of(clips: pd.DataFrame) -> tuple[str, ...]:
    """Of clips, in their order."""
    return tuple(map(str, clips["clip_id"]))


def enumerated(phrases: Sequence[str]) -> str:
    """The first phrases, and how many more there are."""
    more = f" and {len(phrases) - _NAMED} more" if len(phrases) > _NAMED else ""
    return ", ".join(phrases[:_NAMED]) + more
