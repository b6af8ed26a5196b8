"""Which clips stay together in a split: as the lists say, or as their names and pictures suggest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from kineflow.data.grouping import Group, group_clips
from kineflow.survey.survey_set import SeenClip


@dataclass(frozen=True)
class Together:
    """Clips that stay together.

    Attributes:
        name: Of the group.
        members: Places among the clips.
        reasons: Why, a phrase a link.
    """

    name: str
    members: tuple[int, ...]
    reasons: tuple[str, ...]


def given_groups(clips: Sequence[SeenClip]) -> list[Together]:
    """Groups as the lists give them."""
    members: dict[str, list[int]] = {}
    for place, clip in enumerate(clips):
        members.setdefault(clip.listed.group, []).append(place)
    return [Together(name, tuple(places), ("given",)) for name, places in members.items()]


def find_groups(clips: Sequence[SeenClip]) -> list[Together]:
    """Groups where the lists give none: by names, equal frames and scenes; parts of one video belong together anyway.

    A group is called as the video of its first clip is, without the suffix.
    """
    names = [clip.listed.source for clip in clips]
    classes = {clip.listed.label for clip in clips if clip.listed.label}
    found = group_clips(names, [clip.look.fingerprint for clip in clips], classes=classes)
    place_of = {member: place for place, group in enumerate(found) for member in group.members}
    joined = list(range(len(found)))  # the first group that a group is one with
    first_of: dict[str, int] = {}
    for number, name in enumerate(names):
        one, other = _first(joined, place_of[number]), _first(joined, first_of.setdefault(name, place_of[number]))
        joined[max(one, other)] = min(one, other)
    parts: dict[int, list[int]] = {}
    for place in range(len(found)):
        parts.setdefault(_first(joined, place), []).append(place)
    return [_together([found[place] for place in places], names) for places in parts.values()]


def _first(joined: Sequence[int], place: int) -> int:
    while joined[place] != place:
        place = joined[place]
    return place


def _together(groups: Sequence[Group], names: Sequence[str]) -> Together:
    members = tuple(sorted(member for group in groups for member in group.members))
    reasons = [
        f"{_last(names[link.first])} and {_last(names[link.second])}: {link.reason}"
        for group in groups
        for link in group.reasons
    ]
    if len(groups) > 1:
        reasons.append("parts of one video")
    return Together(PurePosixPath(names[members[0]]).with_suffix("").as_posix(), members, tuple(reasons))


def _last(name: str) -> str:
    return PurePosixPath(name).name


def with_groups(clips: Sequence[SeenClip], groups: Sequence[Together]) -> list[SeenClip]:
    """The clips with their groups."""
    name_of = {place: group.name for group in groups for place in group.members}
    return [
        dataclasses.replace(clip, listed=dataclasses.replace(clip.listed, group=name_of[place]))
        for place, clip in enumerate(clips)
    ]
