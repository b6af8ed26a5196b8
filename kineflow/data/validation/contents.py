"""What frames tell of the clips of a set, beside their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kineflow.data.clip_contents import ClipContent, contents_of
from kineflow.data.kept_contents import read_kept, write_kept
from kineflow.data.near_copies import find_copies, likeness
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.split import Split
from kineflow.spec.status import Status

CONTENT_COLUMNS = ("brightness", "motion", "sharpness", "change", "copy_of")
"""Of the manifest as a data frame: see :class:`~kineflow.data.clip_contents.ClipContent`; ``copy_of`` is a number that
near copies share."""


@dataclass(frozen=True)
class Contents:
    """Of every clip of a set, in its order.

    Attributes:
        looks: By its frames; None of what is not usable or could not be read.
        copies: The place of the first of its near copies, its own where it has none before it.
    """

    looks: tuple[ClipContent | None, ...]
    copies: tuple[int, ...]

    def column(self, name: str) -> list[Any]:
        """Values of one of :data:`CONTENT_COLUMNS`; None where nothing is known."""
        if name == "copy_of":
            return list(self.copies)
        return [None if look is None else getattr(look, name) for look in self.looks]


@dataclass(frozen=True)
class CopyPair:
    """Two near copies and how alike they are, see :func:`kineflow.data.near_copies.likeness`."""

    first: Clip
    second: Clip
    likeness: float


def look_at_contents(clip_set: ClipSet, *, correlation: float, kept: Path | None = None) -> Contents:
    """Decode the usable clips and find near copies among them.

    Args:
        clip_set: Validated or not: rows that make no sense are left out.
        correlation: Least one of near copies.
        kept: File with what is known of clips, see :mod:`kineflow.data.kept_contents`; new ones are added to it.
    """
    known = read_kept(kept) if kept else {}
    places = [place for place, clip in enumerate(clip_set.clips) if clip.status is Status.OK and is_sane(clip)]
    looks: list[ClipContent | None] = [None] * len(clip_set.clips)
    found = contents_of(clip_set, [clip_set.clips[place] for place in places], known)
    for place, look in zip(places, found, strict=True):
        looks[place] = look
    new = {clip_set.clips[place].path: look for place, look in zip(places, found, strict=True) if look is not None}
    if kept and not new.keys() <= known.keys():
        write_kept(kept, known | new)
    return Contents(tuple(looks), tuple(find_copies(looks, correlation=correlation)))


def is_sane(clip: Clip) -> bool:
    """Whether its row can be reckoned with: validation shows sets that are not what they should be."""
    numbers = (clip.frames, clip.fps, clip.width, clip.height)
    return all(isinstance(value, int | float) and 0 < value < 1e9 for value in numbers) and isinstance(clip.path, str)


def copy_pairs(clips: Sequence[Clip], contents: Contents) -> list[CopyPair]:
    """Of each group of near copies the first clip and one of each other split and label; those that matter most first.

    Args:
        clips: Those that the contents are of.
        contents: Where the copies are.
    """
    pairs: list[tuple[int, CopyPair]] = []
    paired: set[tuple[int, Split, str | None]] = set()
    for place, first in enumerate(contents.copies):
        one, other = clips[first], clips[place]
        kind = (first, other.split, other.label)
        one_look, other_look = contents.looks[first], contents.looks[place]
        if place == first or kind in paired or one_look is None or other_look is None:
            continue
        paired.add(kind)
        weight = 2 * (one.split is not other.split) + (one.label != other.label)
        pairs.append((weight, CopyPair(one, other, likeness(one_look, other_look))))
    return [pair for _, pair in sorted(pairs, key=lambda item: -item[0])]
