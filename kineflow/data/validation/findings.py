"""Faults that show only across rows: plain functions from the manifest to what was found.

Each takes the manifest as a data frame (columns as the fields of :class:`kineflow.sets.clip_set.Clip`) and returns a
:class:`Finding`; an empty finding means that all is well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

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
    """Groups of which clips lie in more than one split: a test on them would be a test on training material."""
    return _straddling(clips, "group", "group")


def contents_in_several_splits(clips: pd.DataFrame) -> Finding:
    """Contents (by SHA-256) that occur in more than one split."""
    return _straddling(clips, "sha256", "content")


def contents_twice_in_a_split(clips: pd.DataFrame) -> Finding:
    """Contents (by SHA-256) that occur more than once within one split."""
    twice = clips[clips.duplicated(["sha256", "split"], keep=False)]
    phrases = [
        f"{' = '.join(map(str, ids[:3]))} ({split})"
        for (_, split), ids in twice.groupby(["sha256", "split"], sort=False)["clip_id"].agg(list).items()
    ]
    return Finding(_enumerate(phrases), _ids(twice))


def classes_missing(clips: pd.DataFrame, *, classes: Sequence[str], splits: Sequence[str]) -> Finding:
    """Classes without a clip in one of ``splits``."""
    counts = clips_per_class(clips, classes=classes)
    absent = {split: [name for name in classes if counts[name].get(split, 0) == 0] for split in splits}
    return Finding("; ".join(f"{split} lacks {_enumerate(names)}" for split, names in absent.items() if names))


def classes_below(clips: pd.DataFrame, *, classes: Sequence[str], split: str, minimum: int) -> Finding:
    """Classes with some clips in ``split``, but fewer than ``minimum``."""
    sizes = _class_sizes(clips, classes, split)
    few = sizes[sizes < minimum]
    return Finding(_enumerate([f"{name} has {count}" for name, count in few.items()]))


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
    return Finding(f"{len(lost)} of {len(clips)} ({100 * len(lost) / len(clips):.1f} %): {kinds}", _ids(lost))


def clips_per_class(clips: pd.DataFrame, *, classes: Iterable[str]) -> Mapping[str, Mapping[str, int]]:
    """Count of clips by class and split."""
    counts: dict[str, dict[str, int]] = {name: {} for name in classes}
    for (name, split), count in clips.groupby(["label", "split"]).size().items():
        counts.setdefault(str(name), {})[str(split)] = int(count)
    return counts


def _class_sizes(clips: pd.DataFrame, classes: Sequence[str], split: str) -> pd.Series:
    return clips[(clips["split"] == split) & clips["label"].isin(classes)]["label"].value_counts().sort_index()


def _straddling(clips: pd.DataFrame, column: str, what: str) -> Finding:
    splits = clips.groupby(column)["split"].transform("nunique")
    astray = clips[splits > 1]
    phrases = []
    for key, members in astray.groupby(column, sort=False):
        name = f"{what} {key!r}" if column == "group" else f"{what} {str(key)[:8]}…"
        phrases.append(f"{name} in {', '.join(members['split'].unique())}")
    return Finding(_enumerate(phrases), _ids(astray))


def _ids(clips: pd.DataFrame) -> tuple[str, ...]:
    return tuple(map(str, clips["clip_id"]))


def _enumerate(phrases: Sequence[str]) -> str:
    more = f" and {len(phrases) - _NAMED} more" if len(phrases) > _NAMED else ""
    return ", ".join(phrases[:_NAMED]) + more
