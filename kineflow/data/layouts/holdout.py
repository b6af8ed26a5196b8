"""A validation split for data sets that come without one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from kineflow.spec.split import Split


class _Row(Protocol):
    """A clip as it is listed, or as it is stored: a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def label(self) -> str | None: ...

    @property
    def also(self) -> str: ...

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def group(self) -> str: ...

    @property
    def split(self) -> Split: ...

    @property
    def source(self) -> str: ...


R = TypeVar("R", bound=_Row)


def hold_out(
    clips: Sequence[R], *, val_share: float, seed: int, video_of: Callable[[R], str] = lambda clip: clip.source
) -> tuple[R, ...]:
    """Move whole groups from train to val, class by class; test is never touched.

    Of every class about ``val_share`` of its training groups go, at least one and never all; a class with a single
    group keeps it, and a group with unlabelled clips stays, for these are learnt from: a class that has no others gets
    no clips of val. Groups that have parts of one
    video, or copies of it, are one group here: the lists do not say that they belong together, and to part them would
    train on what is validated on. Lists that have a val split already are returned as they are.

    Where clips are of several classes, a group counts for each class of its clips, and the rarest class chooses first:
    the groups that it gives to val are most likely to be enough for the commoner ones too.

    Args:
        clips: As listed, or as stored.
        val_share: Share of the training groups of a class, in [0, 1); 0 moves none.
        seed: Equal seeds move equal groups.
        video_of: What tells which clips are of one video; their path, where nothing better is known.
    """
    if not val_share or any(clip.split is Split.VAL for clip in clips):
        return tuple(clips)
    together = _joined(clips, video_of)
    classes_of_group = _classes(clips, together)
    groups_of_class: dict[str, list[str]] = {}
    for group, labels in classes_of_group.items():
        for label in labels:
            groups_of_class.setdefault(label, []).append(group)

    learnt_from = {together[clip.group] for clip in clips if clip.split is Split.UNLABELLED}
    rng = np.random.default_rng(seed)
    drawn = {
        label: [groups[index] for index in rng.permutation(len(groups))]
        for label, groups in sorted(groups_of_class.items())
    }
    held: set[str] = set()
    left = {label: len(groups) for label, groups in groups_of_class.items()}
    for label in sorted(drawn, key=lambda label: (len(drawn[label]), label)):
        groups = drawn[label]
        wanted = max(round(val_share * len(groups)), 1)
        for group in groups:
            is_last = any(left[each] == 1 for each in classes_of_group[group])
            if len(groups) - left[label] < wanted and group not in held | learnt_from and not is_last:
                held.add(group)
                for each in classes_of_group[group]:
                    left[each] -= 1
    return tuple(
        dataclasses.replace(clip, split=Split.VAL)
        if clip.split is Split.TRAIN and together[clip.group] in held
        else clip
        for clip in clips
    )


def _classes(clips: Sequence[R], together: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """Of each group with clips of train: all classes where clips have several, else the first by name."""
    found: dict[str, set[str]] = {}
    for clip in clips:
        if clip.split is Split.TRAIN:
            found.setdefault(together[clip.group], set()).update(clip.labels or [""])
    several = any(clip.also for clip in clips)
    return {group: tuple(sorted(labels)[: None if several else 1]) for group, labels in sorted(found.items())}


def _joined(clips: Sequence[R], video_of: Callable[[R], str]) -> dict[str, str]:
    """The group that stands for each group: the first by name of all that share a video, directly or by others."""
    parent = {clip.group: clip.group for clip in clips}

    def first(group: str) -> str:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    group_of_video: dict[str, str] = {}
    for clip in clips:
        if clip.split in (Split.TRAIN, Split.UNLABELLED):
            one, other = first(group_of_video.setdefault(video_of(clip), clip.group)), first(clip.group)
            parent[max(one, other)] = min(one, other)
    return {group: first(group) for group in parent}
