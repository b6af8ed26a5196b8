"""Which clips a rehearsal takes: few of the run's own, of two classes and of all splits that there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kineflow.data.ingest_settings import CLIP_SETS, IngestSettings
from kineflow.data.layouts.rows import ListedClip
from kineflow.selection.settings import BlendSettings, SelectSettings
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from pipelines.plan import Listed, Plan
from pipelines.rehearsed_params import with_absolute_paths

_CLASSES = 2
_FEWEST_TO_FOLD = 2  # as kineflow.selection.groups.require_groups
_SHOWN = 3


@dataclass(frozen=True)
class _Groups:
    """How many groups of a class are wanted, and of which splits together."""

    fewest: int
    most: int
    splits: tuple[Split, ...]


def choose_clips(plan: Plan) -> list[ListedClip]:
    """Clips of two classes and of all splits that there are; of each class and split those of middling size.

    What the lists say is kept in ``plan.listed``.

    Raises:
        KineflowError: The source is no source of videos, or has too few that can be opened.
    """
    from kineflow.survey.look import read_headers

    listed = plan.listed = _list_source(plan)
    sizes = listed.source.sizes()
    groups = _groups_wanted(plan)
    chosen: list[ListedClip] = []

    def candidates(split: Split, label: str | None) -> list[ListedClip]:
        return [clip for clip in listed.clips if clip.split is split and _is_of(clip, label) and clip not in chosen]

    def take(split: Split, label: str | None, count: int) -> list[ListedClip]:
        found: dict[str, ListedClip] = {}
        by_size = sorted(candidates(split, label), key=lambda clip: (sizes[clip.source], clip.source))
        middle = len(by_size) // 2
        for clip in (*by_size[middle:], *reversed(by_size[:middle])):
            if len(found) == count:
                break
            if clip.group not in found and read_headers([clip], listed.source):
                found[clip.group] = clip
        return list(found.values())

    judged = [split for split in (Split.VAL, Split.TEST) if any(clip.split is split for clip in listed.clips)]
    classes, lacking = 0, list[str]()
    for label in sorted({label for clip in listed.clips for label in clip.labels}):
        needed = [] if classes else judged  # one clip is enough for it
        splits = [Split.TRAIN, *(split for split in judged if split in needed or split in groups.splits)]
        taken = {split: take(split, label, groups.most if split is Split.TRAIN else 1) for split in splits}
        learnt_from = {clip.group for split in splits if split in groups.splits for clip in taken[split]}
        too_few = list(groups.splits) if len(learnt_from) < groups.fewest else []
        lacks = [split for split in splits if split in too_few or (split in needed and not taken[split])]
        if taken[Split.TRAIN] and not lacks:
            chosen += [clip for split in splits for clip in taken[split]]
            classes += 1
        elif len(lacking) < _SHOWN:
            there = {split: len({clip.group for clip in candidates(split, label)}) for split in lacks}
            counts = [f"{len(taken[split])} of {there[split]} in {split}" for split in lacks]
            lacking.append(f"{label!r} {', '.join(counts)}")
        if classes == _CLASSES:
            return [*chosen, *take(Split.UNLABELLED, None, _CLASSES)]
    raise _too_few(listed, groups, judged, classes, lacking)


def _list_source(plan: Plan) -> Listed:
    from kineflow.data.layouts import hold_out
    from kineflow.data.listing import list_source

    key = next(key for _, key, _ in plan.sections(IngestSettings))
    settings = IngestSettings.model_validate(with_absolute_paths(IngestSettings, plan.values[key], plan.project))
    if settings.layout == CLIP_SETS:
        raise KineflowError(
            "clip sets of other runs are joined as they are, and no few of their clips can be taken for a rehearsal",
            where=f"{key}.layout",
            remedy="rehearse with a parameter file whose source holds videos",
        )
    found = list_source(settings)
    clips = hold_out(found.listing.clips, val_share=settings.val_share, seed=plan.values.get("seed", 0))
    sizes = found.source.sizes()
    there = [clip for clip in clips if not clip.missing and clip.source in sizes]
    return Listed(settings, found.source, there, found.listing.multi_label)


def _groups_wanted(plan: Plan) -> _Groups:
    """One of train; where folds of whole groups are made, as many as they are, and never less than can be parted."""
    blends = {key: kind for _, key, kind in plan.sections(BlendSettings)}
    if not blends:
        return _Groups(1, 1, (Split.TRAIN,))
    most = max(_FEWEST_TO_FOLD, *(plan.values[key]["folds"] for key in blends))
    is_all_selected = all(issubclass(kind, SelectSettings) for kind in blends.values())
    return _Groups(_FEWEST_TO_FOLD, most, (Split.TRAIN, Split.VAL) if is_all_selected else (Split.TRAIN,))


def _is_of(clip: ListedClip, label: str | None) -> bool:
    return not clip.labels if label is None else label in clip.labels


def _too_few(
    listed: Listed, groups: _Groups, judged: Sequence[Split], classes: int, lacking: Sequence[str]
) -> KineflowError:
    wanted = f"{groups.fewest} group{'s' if groups.fewest > 1 else ''} or more of {' or '.join(groups.splits)}"
    also = f" and, of one of them, a clip of {' and of '.join(judged)}" if judged else ""
    found = f"; groups that could be taken: {'; '.join(lacking)}" if lacking else ""
    return KineflowError(
        f"a rehearsal takes clips of {_CLASSES} classes that can be opened, of each {wanted}{also}; "
        f"classes that have these: {classes}{found}",
        where=listed.source.root,
        remedy="give each class clips of as many groups (column group), or replace videos that cannot be opened",
    )
