"""From a place of videos to all that a project needs: clips with splits and groups, choices, an estimate, odd files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.survey import rules
from kineflow.survey.choices import Choices, aspect_of, choose
from kineflow.survey.estimate import in_words
from kineflow.survey.facts import Header
from kineflow.survey.found import FoundClips, find_clips
from kineflow.survey.groups import Together
from kineflow.survey.look import read_headers, sampled, tasks_of
from kineflow.survey.look_at_all import look_at_all
from kineflow.survey.machine import Machine, this_machine
from kineflow.survey.motion import Motion, measure_motion
from kineflow.survey.parting import Parted, part_clips
from kineflow.survey.survey_set import Odd, SeenClip, labelled, odd_clips

SAMPLE = 200
_USUAL_FLOW_CPU_SEC = 1e-6  # per pixel, until it is measured
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
    found = find_clips(wanted.place)
    trains = _trains(wanted, found)
    part = partial(part_clips, found=found, folds=0 if trains else wanted.folds, seed=wanted.seed)
    return survey_clips(found, wanted, trains=trains, part=part)


def survey_clips(
    found: FoundClips, wanted: Wanted, *, trains: bool, part: Callable[[Sequence[SeenClip]], Parted]
) -> Surveyed:
    """Look at clips.

    Args:
        found: The clips.
        wanted: What was asked.
        trains: Whether the recipe trains on one split.
        part: Settles groups and splits of those that can be used.

    Raises:
        KineflowError: No clip can be used or none has a label, S3 does not answer, or as ``part`` says.
    """
    machine = this_machine()
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
    shortest = float(np.quantile(lengths, 0.1)) if lengths else 0.0
    fps = rules.target_fps([header.fps for header in headers], shortest, trains=trains)
    crop = rules.network(machine, len(listed), 256).value.crop if trains else 0
    side = _side(headers, len(listed), fps.value, wanted.budget_sec, machine, crop)

    tasks = tasks_of(listed, sample=sample, pair_fps=fps.value or _median([h.fps for h in headers]), pair_px=side.value)
    looks = look_at_all(tasks, found.source, workers=machine.cores)
    usable = [
        SeenClip(n, clip, look)
        for n, (clip, look) in enumerate(zip(listed, looks, strict=True))
        if look.is_usable and look.header is not None
    ]
    if not usable:
        raise KineflowError("no clip can be used", where=found.source.root, remedy=looks[0].problem)
    if not labelled(usable):
        raise KineflowError("no clip has a label", where=found.source.root, remedy="label some, in a column label")
    motion = measure_motion(looks)

    parted = part(usable)
    seen, warnings = parted.clips, list(parted.warnings)
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
        folds=parted.folds,
        budget_sec=wanted.budget_sec,
        machine=machine,
    )
    if choices.estimate.seconds > _OVER * wanted.budget_sec:
        warnings.append(
            f"a run will take about {in_words(choices.estimate.seconds)}, more than the budget of "
            f"{in_words(wanted.budget_sec)}: the least that is of use does not fit"
        )
    if machine.is_busy or choices.costs.is_busy:
        warnings.append("other programs are at work here; times are of this machine without them")
    return Surveyed(
        wanted=wanted,
        found=found,
        clips=seen,
        groups=parted.groups,
        odd=tuple(odd_clips(listed, looks)),
        motion=motion,
        folds=parted.folds,
        choices=choices,
        machine=machine,
        warnings=(*found.notes, *warnings),
    )


def _side(
    headers: Sequence[Header], clips: int, fps: float, budget_sec: float, machine: Machine, crop: int
) -> rules.Chosen[int]:
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
    return found.has_splits or sum(clip.label is not None for clip in found.listing.clips) >= rules.FEWEST_FOR_A_SPLIT


def _median(values: Sequence[float]) -> float:
    known = sorted(value for value in values if value > 0)
    return known[len(known) // 2] if known else 25.0
