"""New videos of a project: which they are, and their class, group and split beside the clips that it has.

What ``clips.csv`` says of its clips holds, whatever their folders, names and pictures say.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kineflow.data.layouts.rows import ListedClip, Listing
from kineflow.data.layouts.videos import VIDEO_SUFFIXES
from kineflow.data.source import Source
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import is_remote
from kineflow.storage.names import shown
from kineflow.survey.found import FoundClips, NoLayoutError, find_clips, is_list
from kineflow.survey.groups import Together, find_groups, given_groups
from kineflow.survey.parting import Parted, apart, side_of, warnings_of
from kineflow.survey.survey_set import SeenClip

_AS_CALLED = 0.5  # of known clips have the class that a layout gives them, or more: then it gives classes
_CALLED_OTHERWISE = 0.8  # have one other class, or more: then that is what it is called
_SHOWN = 3


@dataclass(frozen=True)
class Additions:
    """The clips of a project and those that are new.

    Attributes:
        found: All of them, those of ``clips.csv`` first; splits and groups of new ones as their list gives them.
        old: How many are of ``clips.csv``.
        missing: Those of them whose video is not there any more.
    """

    found: FoundClips
    old: int
    missing: tuple[ListedClip, ...]

    @property
    def new(self) -> tuple[ListedClip, ...]:
        """The new ones."""
        return self.found.listing.clips[self.old :]


def find_additions(listed: Sequence[ListedClip], source: Source, place: str) -> Additions:
    """The videos of a place that a project does not list, with the class that folders or a list give them.

    A video without a class, as one that lies in no folder or is in no row, is unlabelled. Where ``clips.csv`` calls the
    clips of a folder otherwise, new ones are called so too; where it gives them several classes, the folder means
    something else, and its new ones are unlabelled.

    Args:
        listed: The clips of the project.
        source: Of its videos.
        place: Where to look: the source, a folder in it, or a list.

    Raises:
        KineflowError: No video of the project is there any more, the place is not in the source, or its lists are
            malformed.
    """
    names = frozenset(source.names())
    if listed and all(clip.source not in names for clip in listed):
        raise KineflowError(
            "none of the project's videos is there",
            where=source.root,
            remedy="see that the disk is there, and that ingestion.source names the place of the videos",
        )
    notes: list[str] = []
    no_layout = ""
    try:
        found = find_clips(place, linked=[str(folder) for folder in getattr(source, "linked", ())])
        below = _below(source.root, found.source.root)
    except NoLayoutError as error:
        found, below = FoundClips(source, "csv", "", Listing((), ()), False, False), _below(source.root, place)
        no_layout = error.problem
    clips = [_placed_below(below, clip) for clip in found.listing.clips]
    new, doubtful = _called_as_known(listed, clips)
    if doubtful:
        notes.append(
            f"what the layout {found.layout} calls {', '.join(map(shown, doubtful[:_SHOWN]))} has other classes in "
            "clips.csv: new videos there have none"
        )
    if not is_list(place):
        told = {clip.source for clip in (*listed, *new)}
        videos = sorted(name for name in names if name.lower().endswith(VIDEO_SUFFIXES) and name.startswith(below))
        new += [_unlabelled(name) for name in videos if name not in told]
    if no_layout and new:
        notes.append(f"{no_layout}: new videos have no class")
    every = (*listed, *new)
    classes = tuple(sorted({clip.label for clip in every if clip.label is not None}))
    return Additions(
        dataclasses.replace(found, source=source, listing=Listing(classes, every), notes=tuple(notes)),
        len(listed),
        tuple(clip for clip in listed if clip.source not in names),
    )


def part_additions(clips: Sequence[SeenClip], *, additions: Additions, folds: int) -> Parted:
    """Settle group and split of the new among some clips; the others keep theirs.

    A new clip that is found to be of a recording that is there joins its group, and so its split: what is tested stays
    apart from what is learnt from. A clip of another recording is for training, so that the clips that test stay those
    that have judged the versions before; where its list says a split, it is of that one.

    Args:
        clips: That can be used, old and new.
        additions: What is known of them.
        folds: K; 0: the project trains on one split.
    """
    found = additions.found
    together = given_groups(clips) if found.has_groups else find_groups(clips)
    sides: dict[str, Counter[Split]] = {}
    for row in found.listing.clips[: additions.old]:
        sides.setdefault(row.group, Counter())[side_of(row.split)] += 1
    settled = dict(enumerate(clips))
    told: list[str] = []
    for group in together:
        old = [place for place in group.members if clips[place].number < additions.old]
        name = Counter(clips[place].listed.group for place in old).most_common(1)[0][0] if old else group.name
        for place in group.members:
            if clips[place].number >= additions.old:
                row = clips[place].listed
                split = _split_of(row, sides.get(name, Counter()), found.has_splits, folds)
                is_apart = bool(sides.get(name)) and side_of(split) not in sides[name]
                if is_apart or (old and split in (Split.VAL, Split.TEST)):
                    told.append(_joined(row.source, name, split, is_apart, group.reasons))
                called = apart(name, split) if is_apart else name
                sides.setdefault(called, Counter())[side_of(split)] += 1
                settled[place] = dataclasses.replace(
                    clips[place], listed=dataclasses.replace(row, split=split, group=called)
                )
    every = [settled[place] for place in range(len(clips))]
    more = [f"and {len(told) - _SHOWN} more new clips like these"] if len(told) > _SHOWN else []
    return Parted(
        tuple(every), tuple(_explained(every, together)), folds, (*told[:_SHOWN], *more, *warnings_of(every, folds))
    )


def _split_of(row: ListedClip, there: Counter[Split], has_splits: bool, folds: int) -> Split:
    if row.split is Split.UNLABELLED:
        return row.split
    if has_splits:
        return Split.TRAIN if folds and row.split is Split.VAL else row.split
    return there.most_common(1)[0][0] if there else Split.TRAIN


def _joined(source: str, group: str, split: Split, is_apart: bool, reasons: Sequence[str]) -> str:
    why = next((reason for reason in reasons if PurePosixPath(source).name in reason), "; ".join(reasons[:1]))
    if is_apart:
        return (
            f"{source}, which is {split}, is like clips of another split ({why}): what is tested may be learnt from; "
            "move or remove it where that is so"
        )
    return f"{source} joins the group {group}, and so {split} ({why})"


def _explained(clips: Sequence[SeenClip], found: Sequence[Together]) -> Iterator[Together]:
    """Groups as they are now, with what speaks for them."""
    of_place = {place: group for group in found for place in group.members}
    for group in given_groups(clips):
        inside = {of_place[place].name: of_place[place] for place in group.members}
        reasons = [reason for each in inside.values() if len(each.members) > 1 for reason in each.reasons]
        yield dataclasses.replace(group, reasons=tuple(reasons) or ("as clips.csv has it",))


def _called_as_known(listed: Sequence[ListedClip], clips: Sequence[ListedClip]) -> tuple[list[ListedClip], list[str]]:
    """New clips with the class that known ones have which a layout calls alike; and what it calls some of no class."""
    called = {clip.source: clip.label for clip in clips if clip.label is not None}
    known: dict[str, Counter[str]] = {label: Counter() for label in called.values()}
    for clip in listed:
        if clip.label is not None and clip.source in called:
            known[called[clip.source]][clip.label] += 1
    total = sum(map(Counter.total, known.values()))
    are_classes = sum(count[label] for label, count in known.items()) >= _AS_CALLED * total
    class_of = {label: _class_of(label, count, are_classes) for label, count in known.items()}
    listed_already = {clip.source for clip in listed}
    new = [clip for clip in clips if clip.source not in listed_already]
    doubtful = {clip.label for clip in new if clip.label is not None and not class_of[clip.label]}
    return [_with_class(clip, class_of) for clip in new], sorted(doubtful)


def _with_class(clip: ListedClip, class_of: Mapping[str, str]) -> ListedClip:
    if clip.label is None:
        return clip
    label = class_of[clip.label]
    return dataclasses.replace(clip, label=label) if label else _unlabelled(clip.source)


def _class_of(label: str, known: Counter[str], are_classes: bool) -> str:
    """The class of new clips that a layout gives one; empty where that tells none."""
    if not known:
        return label if are_classes else ""
    name, count = known.most_common(1)[0]
    return name if count >= (_AS_CALLED if name == label else _CALLED_OTHERWISE) * known.total() else ""


def _unlabelled(name: str) -> ListedClip:
    return ListedClip(name, None, Split.UNLABELLED, PurePosixPath(name).with_suffix("").as_posix(), name)


def _placed_below(below: str, clip: ListedClip) -> ListedClip:
    is_alone = clip.group == PurePosixPath(clip.source).with_suffix("").as_posix()
    group = f"{below}{clip.group}" if is_alone else clip.group
    return dataclasses.replace(clip, source=f"{below}{clip.source}", group=group)


def _below(root: str, place: str) -> str:
    """Where a place lies in a source: empty for the source itself, else a path that ends with ``/``.

    Raises:
        KineflowError: It lies elsewhere.
    """
    if is_remote(root):
        named = f"{place.rstrip('/')}/"
        inside = named.removeprefix(f"{root}/") if named.startswith(f"{root}/") else None
    else:
        real, top = Path(place).resolve(), Path(root).resolve()
        if not real.is_dir():
            real = real.parent
        inside = f"{real.relative_to(top).as_posix()}/" if not is_remote(place) and real.is_relative_to(top) else None
    if inside is None:
        raise KineflowError(
            "new videos have to lie beside the others",
            where=place,
            remedy=f"put them, or a link to their folder, into {root} (ingestion.source)",
        )
    return inside.removeprefix("./")
