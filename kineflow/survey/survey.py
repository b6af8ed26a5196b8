"""From a place of videos to all that a project needs: clips with splits and groups, choices, an estimate, odd files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kineflow.data.layouts.rows import ListedClip
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.survey import rules
from kineflow.survey.choices import Choices, aspect_of, choose
from kineflow.survey.estimate import in_words
from kineflow.survey.facts import Header
from kineflow.survey.found import FoundClips, find_clips
from kineflow.survey.groups import Together, find_groups, given_groups, with_groups
from kineflow.survey.look import in_seconds, read_headers, sampled, tasks_of
from kineflow.survey.look_at_all import look_at_all
from kineflow.survey.machine import Machine, this_machine
from kineflow.survey.motion import Motion, measure_motion
from kineflow.survey.splits import SHARES, absences, split_by_group
from kineflow.survey.survey_set import Odd, SeenClip, labelled, odd_clips

SAMPLE = 200
_USUAL_FLOW_CPU_SEC = 1e-6  # per pixel, until it is measured
_DEFAULT_FOLDS = 5
_OVER = 1.2


@dataclass(frozen=True)
class Wanted:
    """What a user asks for.

    Attributes:
        place: A folder, an S3 prefix or a list file.
        folds: K; None: by the number of clips.
        budget_sec: For the whole run.
        seed: Of the sample and of splits.
        trains: Whether the recipe trains on one split, and wants val and test; None: by the number of clips.
    """

    place: str
    folds: int | None
    budget_sec: float
    seed: int = 1
    trains: bool | None = None


@dataclass(frozen=True)
class Surveyed:
    """All that is known of a set.

    Attributes:
        wanted: What was asked.
        found: Where the clips are, and as what they are listed.
        clips: That can be used, with split and group.
        groups: Which of them stay together, and why.
        odd: Files that somebody should look at.
        motion: Of a sample.
        folds: K; 0 where the clips are parted into train, val and test.
        choices: Parameters and estimate.
        machine: This one.
        warnings: For people.
    """

    wanted: Wanted
    found: FoundClips
    clips: tuple[SeenClip, ...]
    groups: tuple[Together, ...]
    odd: tuple[Odd, ...]
    motion: Motion
    folds: int
    choices: Choices
    machine: Machine
    warnings: tuple[str, ...]


def survey_videos(wanted: Wanted) -> Surveyed:
    """Look at the videos of a place.

    Raises:
        KineflowError: There is no layout that is known, no clip can be used, S3 does not answer, or there are fewer
            groups than folds.
    """
    found, machine = find_clips(wanted.place), this_machine()
    listed = found.listing.clips
    sample = sampled(range(len(listed)), SAMPLE, seed=wanted.seed)
    headers = read_headers([listed[n] for n in sorted(sample)], found.source)
    if not headers:
        raise KineflowError(
            "none of the files that were tried is a video that can be read",
            where=found.source.root,
            remedy="look at one of them with a player; `kineflow init` reads what FFmpeg reads",
        )
    lengths = [header.seconds for header in headers if header.seconds > 0]
    trains = _trains(wanted, found)
    shortest = float(np.quantile(lengths, 0.1)) if lengths else 0.0
    fps = rules.target_fps([header.fps for header in headers], shortest, trains=trains)
    crop = rules.network(machine, len(listed), 256).value.crop if trains else 0
    side = _side(headers, len(listed), fps.value, wanted.budget_sec, machine, crop)

    tasks = tasks_of(listed, sample=sample, pair_fps=fps.value or _median([h.fps for h in headers]), pair_px=side.value)
    looks = look_at_all(tasks, found.source, workers=machine.cores)
    seen = [
        SeenClip(n, in_seconds(clip, look.header.fps), look)
        for n, (clip, look) in enumerate(zip(listed, looks, strict=True))
        if look.is_usable and look.header is not None
    ]
    if not seen:
        raise KineflowError("no clip can be used", where=found.source.root, remedy=looks[0].problem)
    motion = measure_motion(looks)

    groups = given_groups(seen) if found.has_groups else find_groups(seen)
    seen = with_groups(seen, groups)
    if not labelled(seen):
        raise KineflowError("no clip has a label", where=found.source.root, remedy="label some, in a column label")
    folds = 0 if trains else _folds(wanted, labelled(seen), found.source.root)
    seen, warnings = _with_splits(seen, folds=folds, seed=wanted.seed)
    counts = {split: sum(clip.listed.split is split for clip in seen) for split in Split}
    choices = choose(
        seen,
        motion,
        classes=found.listing.classes,
        fps=fps,
        side=side,
        root=found.source.root,
        train_clips=counts[Split.TRAIN],
        val_clips=counts[Split.VAL],
        folds=folds,
        budget_sec=wanted.budget_sec,
        machine=machine,
    )
    odd = odd_clips(listed, looks)
    if choices.estimate.seconds > _OVER * wanted.budget_sec:
        warnings.append(
            f"a run will take about {in_words(choices.estimate.seconds)}, more than the budget of "
            f"{in_words(wanted.budget_sec)}: the least that is of use does not fit"
        )
    if choices.costs.is_busy:
        warnings.append("other programs are at work here; times are of this machine without them")
    return Surveyed(
        wanted,
        found,
        tuple(seen),
        tuple(groups),
        tuple(odd),
        motion,
        folds,
        choices,
        machine,
        (*found.notes, *warnings),
    )


def _side(
    headers: Sequence[Header], clips: int, fps: float, budget_sec: float, machine: Machine, crop: int
) -> rules.Choice[int]:
    seconds = sum(header.seconds for header in headers) / len(headers)
    rate = fps or _median([header.fps for header in headers])
    sides = [header.short_side for header in headers]
    aspect = _median([aspect_of(header) for header in headers])
    return rules.short_side(sides, aspect, seconds * rate * clips, budget_sec, machine, _USUAL_FLOW_CPU_SEC, crop)


def _trains(wanted: Wanted, found: FoundClips) -> bool:
    """Whether one split is trained on: as asked, or for many clips, or where the lists have splits of their own."""
    if wanted.folds is not None:
        return wanted.folds == 0
    if wanted.trains is not None:
        return wanted.trains
    return found.has_splits or sum(clip.label is not None for clip in found.listing.clips) >= rules.FEW_CLIPS


def _folds(wanted: Wanted, clips: Sequence[SeenClip], where: str) -> int:
    """K of the folds: as asked, else five or what the groups of the rarest class allow."""
    groups: dict[str, set[str]] = {}
    for clip in clips:
        groups.setdefault(label_of(clip.listed), set()).add(clip.listed.group)
    most = len(set().union(*groups.values()))
    folds = wanted.folds or min(_DEFAULT_FOLDS, most, max(2, min(map(len, groups.values()))))
    if folds > most or folds < 2:
        raise KineflowError(
            f"{max(folds, 2)} folds of {most} group{'' if most == 1 else 's'}",
            where=where,
            remedy="ask for fewer by --folds: each fold tests whole groups; or give the groups in a column group",
        )
    return folds


def _with_splits(seen: Sequence[SeenClip], *, folds: int, seed: int) -> tuple[list[SeenClip], list[str]]:
    """The clips with their splits, and what a reader should know of them.

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
    clips = [
        dataclasses.replace(
            clip, listed=dataclasses.replace(clip.listed, split=split_of.get(clip.number, clip.listed.split))
        )
        for clip in seen
    ]
    kept = [clip for clip in clips if clip.number in split_of]
    missing = absences([label_of(clip.listed) for clip in kept], [clip.listed.split for clip in kept])
    return clips, (_thin(kept, folds) if folds else missing) + _crossing(kept)


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
    return [
        f"{label} comes from {len(names)} group{'s' if len(names) > 1 else ''}, fewer than {folds} folds: "
        "what it looks like elsewhere cannot be measured"
        for label, names in sorted(groups.items())
        if len(names) < folds
    ]


def _crossing(clips: Sequence[SeenClip]) -> list[str]:
    """That groups lie in several splits, as lists may have it."""
    splits: dict[str, set[Split]] = {}
    for clip in clips:
        splits.setdefault(clip.listed.group, set()).add(clip.listed.split)
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


def _median(values: Sequence[float]) -> float:
    known = sorted(value for value in values if value > 0)
    return known[len(known) // 2] if known else 25.0
