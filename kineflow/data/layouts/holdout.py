"""A validation split for data sets that come without one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from kineflow.data.layouts.rows import ListedClip
from kineflow.spec.split import Split


def hold_out(clips: Sequence[ListedClip], *, val_share: float, seed: int) -> tuple[ListedClip, ...]:
    """Move whole groups from train to val, class by class; test is never touched.

    Of every class about ``val_share`` of its training groups go, at least one and never all; a class with a single
    group keeps it. Lists that have a val split already are returned as they are.

    Args:
        clips: As listed.
        val_share: Share of the training groups of a class, in [0, 1); 0 moves none.
        seed: Equal seeds move equal groups.
    """
    if not val_share or any(clip.split is Split.VAL for clip in clips):
        return tuple(clips)
    class_of_group: dict[str, str] = {}
    for clip in sorted(clips, key=lambda clip: (clip.group, clip.label or "")):
        if clip.split is Split.TRAIN:
            class_of_group.setdefault(clip.group, clip.label or "")
    groups_of_class: dict[str, list[str]] = {}
    for group, label in class_of_group.items():
        groups_of_class.setdefault(label, []).append(group)

    rng = np.random.default_rng(seed)
    held: set[str] = set()
    for label in sorted(groups_of_class):
        groups = groups_of_class[label]
        count = min(max(round(val_share * len(groups)), 1), len(groups) - 1)
        held.update(groups[index] for index in rng.permutation(len(groups))[:count])
    return tuple(
        dataclasses.replace(clip, split=Split.VAL) if clip.split is Split.TRAIN and clip.group in held else clip
        for clip in clips
    )
