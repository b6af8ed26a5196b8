"""Which clips stay together, and which split each is of: as the lists say, or as names, pictures and a seed do."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from kineflow.data.layouts.rows import ListedClip
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.survey.found import FoundClips
from kineflow.survey.groups import Together, find_groups, given_groups, with_groups
from kineflow.survey.splits import SHARES, absences, split_by_group
from kineflow.survey.survey_set import SeenClip, labelled

_DEFAULT_FOLDS = 5
_LEARNT_FROM = (Split.TRAIN, Split.UNLABELLED)


@dataclass(frozen=True)
class Parted:
    """Clips whose groups and splits are settled.

    Attributes:
        clips: With split and group.
        groups: Which of them belong together, and why.
        folds: K; 0 where the clips are parted into train, val and test.
        warnings: For people.
    """

    clips: tuple[SeenClip, ...]
    groups: tuple[Together, ...]
    folds: int
    warnings: tuple[str, ...]


def part_clips(clips: Sequence[SeenClip], *, found: FoundClips, folds: int | None, seed: int) -> Parted:
    """Settle the groups and splits of clips that can be used.

    Args:
        clips: Some of them labelled.
        found: What their lists say.
        folds: K; 0: one split; None: as many folds as suit them.
        seed: Of splits.

    Raises:
        KineflowError: There are fewer groups than folds.
    """
    groups = given_groups(clips) if found.has_groups else find_groups(clips)
    seen = with_groups(clips, groups)
    if folds != 0:
        folds = _folds(folds, labelled(seen), found.source.root)
    seen = _with_splits(seen, folds=folds, seed=seed)
    warnings = warnings_of(seen, folds)
    if found.has_groups:
        warnings += _crossing(seen)
    else:
        seen, told = _parted_at_splits(seen, groups)
        warnings += told
    return Parted(tuple(seen), tuple(groups), folds, tuple(warnings))


def warnings_of(clips: Sequence[SeenClip], folds: int) -> list[str]:
    """Classes that cannot be tested, or not everywhere: they lack groups for folds, or clips in a split."""
    own = labelled(clips)
    if folds:
        return _thin(own, folds)
    return absences([label_of(clip.listed) for clip in own], [clip.listed.split for clip in own])


def apart(group: str, split: Split) -> str:
    """What the clips of a group are called whose others are in another split."""
    return f"{group} ({split})"


def side_of(split: Split) -> Split:
    """The split, where unlabelled clips are learnt from as those of ``train`` are."""
    return Split.TRAIN if split in _LEARNT_FROM else split


def _parted_at_splits(clips: Sequence[SeenClip], groups: Sequence[Together]) -> tuple[list[SeenClip], list[str]]:
    """Groups that were found, parted where splits that are given part them; and that it is so.

    A list that keeps clips of a group apart may be right, for what was found may be wrong; and nobody could run what
    `validate` refuses.
    """
    sides: dict[str, set[Split]] = {}
    for clip in clips:
        sides.setdefault(clip.listed.group, set()).add(side_of(clip.listed.split))
    several = {group for group, there in sides.items() if len(there) > 1}
    if not several:
        return list(clips), []
    parted = [
        _in_group(clip, apart(clip.listed.group, clip.listed.split))
        if clip.listed.group in several and clip.listed.split not in _LEARNT_FROM
        else clip
        for clip in clips
    ]
    example = next(group for group in groups if group.name in several)
    there = " and ".join(sorted(sides[example.name]))
    count = "1 group that was found lies" if len(several) == 1 else f"{len(several)} groups that were found lie"
    return parted, [
        f"{count} in several splits, e.g. {example.name} in {there} ({example.reasons[0]}): the splits are kept, and "
        "clips.csv parts the group; where that is one recording, what is tested has been learnt from: move its clips "
        "to one split"
    ]


def _in_group(clip: SeenClip, group: str) -> SeenClip:
    return dataclasses.replace(clip, listed=dataclasses.replace(clip.listed, group=group))


def _folds(wanted: int | None, clips: Sequence[SeenClip], where: str) -> int:
    """K of the folds: as asked, else five or what the groups of the rarest class allow."""
    groups: dict[str, set[str]] = {}
    for clip in clips:
        groups.setdefault(label_of(clip.listed), set()).add(clip.listed.group)
    most = len(set().union(*groups.values()))
    folds = wanted or min(_DEFAULT_FOLDS, most, max(2, min(map(len, groups.values()))))
    if folds > most or folds < 2:
        raise KineflowError(
            f"{max(folds, 2)} folds of {most} group{'' if most == 1 else 's'}",
            where=where,
            remedy="ask for fewer by --folds: each fold tests whole groups; or give the groups in a column group",
        )
    return folds


def _with_splits(seen: Sequence[SeenClip], *, folds: int, seed: int) -> list[SeenClip]:
    """The clips with their splits.

    For folds, all labelled clips but a test split of the lists are for training. Else splits are the lists', with a
    validation split parted off where those have none.
    """
    own = labelled(seen)
    if folds:
        split_of = {c.number: Split.TEST if c.listed.split is Split.TEST else Split.TRAIN for c in own}
    else:
        split_of = {clip.number: clip.listed.split for clip in own}
        there = set(split_of.values())
        lacking = [split for split in SHARES if split not in there]  # train is the rest, and parted for the others
        if lacking and Split.TRAIN in there:
            shares = {split: SHARES[split] for split in lacking}
            train = [clip for clip in own if clip.listed.split is Split.TRAIN]
            split_of |= _parted(train, {Split.TRAIN: 1 - sum(shares.values()), **shares}, seed)
    return [
        dataclasses.replace(
            clip, listed=dataclasses.replace(clip.listed, split=split_of.get(clip.number, clip.listed.split))
        )
        for clip in seen
    ]


def _parted(clips: Sequence[SeenClip], shares: dict[Split, float], seed: int) -> dict[int, Split]:
    splits = split_by_group(
        [label_of(clip.listed) for clip in clips], [clip.listed.group for clip in clips], shares=shares, seed=seed
    )
    return {clip.number: split for clip, split in zip(clips, splits, strict=True)}


def _thin(clips: Sequence[SeenClip], folds: int) -> list[str]:
    """Classes whose groups are too few for every fold to test one of them."""
    groups: dict[str, set[str]] = {}
    for clip in clips:
        groups.setdefault(label_of(clip.listed), set()).add(clip.listed.group)
    few = {label: len(names) for label, names in sorted(groups.items()) if len(names) < folds}
    return [
        f"{label} comes from 1 group, so that no fold can learn it and test it: add clips of another recording, "
        "correct the column group of clips.csv where there are several, or leave the class out"
        if count == 1
        else f"{label} comes from {count} groups, fewer than {folds} folds: what it looks like elsewhere cannot be "
        "measured"
        for label, count in few.items()
    ]


def _crossing(clips: Sequence[SeenClip]) -> list[str]:
    """That groups which the lists give lie in several splits, as the lists give those too."""
    splits: dict[str, set[Split]] = {}
    for clip in clips:
        splits.setdefault(clip.listed.group, set()).add(side_of(clip.listed.split))
    several = sorted(group for group, there in splits.items() if len(there) > 1)
    if not several:
        return []
    return [
        f"{len(several)} groups lie in several splits of the lists, e.g. {several[0]}, which `kineflow run` will "
        "refuse: correct the column group of clips.csv where they are none, or split"
    ]


def label_of(clip: ListedClip) -> str:
    """Class of a labelled clip."""
    assert clip.label is not None
    return clip.label
