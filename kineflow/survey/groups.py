"""Which clips stay together in a split: as the lists say, or as their names and pictures suggest."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from kineflow.survey.survey_set import SeenClip

_PART = re.compile(r"([-_ ]?(clip|part|seg|scene)?[-_ ]?\d+|\s*\(\d+\))+$", re.IGNORECASE)


@dataclass(frozen=True)
class Together:
    """Clips that stay together.

    Attributes:
        name: Of the group.
        members: Places among the clips.
        reasons: Why, each once.
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
    """Groups where the lists give none, each named after its first clip; clips that are alone are groups of one."""
    members: dict[str, list[int]] = {}
    for place, clip in enumerate(clips):
        stem = PurePosixPath(clip.listed.source).with_suffix("").as_posix()
        members.setdefault(_PART.sub("", stem) or stem, []).append(place)
    return [Together(name, tuple(places), ("name",) if places[1:] else ()) for name, places in members.items()]


def with_groups(clips: Sequence[SeenClip], groups: Sequence[Together]) -> list[SeenClip]:
    """The clips with their groups."""
    name_of = {place: group.name for group in groups for place in group.members}
    return [
        dataclasses.replace(clip, listed=dataclasses.replace(clip.listed, group=name_of[place]))
        for place, clip in enumerate(clips)
    ]
