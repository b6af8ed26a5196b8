"""From a survey to ``data.html``: words and numbers here, layout in ``page.html.j2``, looks in ``page.css``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kineflow.spec.split import Split
from kineflow.storage.files import atomic_file
from kineflow.storage.page_policy import PAGE_POLICY, page_template
from kineflow.survey.estimate import in_words
from kineflow.survey.groups import Together
from kineflow.survey.histogram import SERIES, histogram
from kineflow.survey.motion import QUANTILES
from kineflow.survey.shortcuts import separation
from kineflow.survey.survey import Surveyed
from kineflow.survey.survey_set import SeenClip, labelled

Row = tuple[str, str, str, str]
"""Section, key, value as it stands in the file, and reason of a parameter."""

_CLASSES_WITH_PICTURES = 24
_PICTURES_A_CLASS = 8
_GROUPS = 40
_PICTURES_A_GROUP = 6
_REASONS = 4
_ODD = 200
_TELLING = 0.7


def write_page(path: Path, surveyed: Surveyed, settings: Sequence[Row], *, recipe: str) -> None:
    """Write the page as one HTML file, whole or not at all.

    Args:
        path: Of the file.
        surveyed: What is known of the set.
        settings: The parameters that were chosen.
        recipe: They are for.
    """
    html = render(surveyed, settings, recipe=recipe)
    with atomic_file(path) as partial:
        partial.write_text(html, encoding="utf-8")


def render(surveyed: Surveyed, settings: Sequence[Row], *, recipe: str) -> str:
    """The page of :func:`write_page` as text."""
    here = Path(__file__).parent
    classes = [str(name) for name in surveyed.found.listing.classes]
    shown_groups = _shown_groups(surveyed)
    return page_template(here / "page.html.j2", {"words": in_words}).render(
        policy=PAGE_POLICY,
        style=(here / "page.css").read_text(encoding="utf-8"),
        surveyed=surveyed,
        recipe=recipe,
        classes=classes,
        series=SERIES,
        counts=_counts(surveyed),
        hours=sum(clip.header.seconds for clip in surveyed.clips) / 3600,
        group_count=len({clip.listed.group for clip in surveyed.clips}),
        plots=_plots(surveyed, classes),
        facts=_facts(surveyed, classes),
        telling=_TELLING,
        quantiles=list(zip(QUANTILES, surveyed.motion.quantiles_px, strict=True)),
        flow_step=2 * surveyed.choices.bound_px.value / 255,
        strips=_strips(surveyed, classes),
        groups=shown_groups,
        most_reasons=_REASONS,
        groups_of_several=sum(len(group.members) > 1 for group in surveyed.groups),
        odd=surveyed.odd[:_ODD],
        odd_more=max(0, len(surveyed.odd) - _ODD),
        settings=settings,
        estimate=surveyed.choices.estimate,
    )


def _counts(surveyed: Surveyed) -> dict[str, Any]:
    """Clips by class and split; unlabelled ones in a row of their own."""
    counts = Counter((clip.listed.label or "", clip.listed.split) for clip in surveyed.clips)
    splits = [split for split in Split if any(clip.listed.split is split for clip in surveyed.clips)]
    names = [*surveyed.found.listing.classes, *([""] if any(not label for label, _ in counts) else [])]
    groups: dict[str, set[str]] = {}
    for clip in surveyed.clips:
        groups.setdefault(clip.listed.label or "", set()).add(clip.listed.group)
    return {
        "splits": [str(split) for split in splits],
        "rows": [(name, [counts[name, split] for split in splits], len(groups.get(name, ()))) for name in names],
        "most": max(counts.values(), default=1),
    }


_Value = Callable[[SeenClip], float]
_FACTS: tuple[tuple[str, str, _Value], ...] = (
    ("length", "s", lambda clip: clip.header.seconds),
    ("frame rate", "fps", lambda clip: clip.header.fps),
    ("shorter side", "px", lambda clip: float(clip.header.short_side)),
    ("brightness", "of 255", lambda clip: clip.look.brightness),
    ("contrast", "of 255", lambda clip: clip.look.contrast),
    ("change", "of 255", lambda clip: clip.look.change),
)


def _plots(surveyed: Surveyed, classes: Sequence[str]) -> list[tuple[str, str]]:
    """Histograms by their titles."""
    plots = [
        (name, _by_class(surveyed.clips, classes, value, unit)) for name, unit, value in _FACTS if name != "contrast"
    ]
    moved = surveyed.motion.of_clip_px
    sample = [clip for clip in surveyed.clips if moved.get(clip.number, 0) > 0]
    title = f"motion: 99th percentile of |flow|, {len(sample):,} clips"
    marks = {"bound": surveyed.choices.bound_px.value, "8-bit step": 2 * surveyed.choices.bound_px.value / 255}
    plot = _by_class(sample, classes, lambda clip: moved[clip.number], "px", marks) if sample else ""
    return [(name, svg) for name, svg in [*plots, (title, plot)] if svg]


def _by_class(
    clips: Sequence[SeenClip],
    classes: Sequence[str],
    value: _Value,
    unit: str,
    marks: dict[str, float] | None = None,
) -> str:
    series: dict[str, list[float]] = {}
    for name in (*classes[:SERIES], "others"):
        series[name] = []
    for clip in clips:
        label = clip.listed.label or ""
        series[label if label in classes[:SERIES] else "others"].append(value(clip))
    return histogram(series, unit=unit, marks=marks)


def _facts(surveyed: Surveyed, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Medians of each class, and how well each fact alone tells the classes apart."""
    clips, moved = labelled(surveyed.clips), surveyed.motion.of_clip_px
    sampled = [clip for clip in clips if clip.number in moved]
    rows = [(name, unit, clips, value) for name, unit, value in _FACTS]
    rows.append(("motion", "px", sampled, lambda clip: moved[clip.number]))
    return [
        {
            "name": name,
            "unit": unit,
            "medians": [_median([value(clip) for clip in some if clip.listed.label == label]) for label in classes[:8]],
            "tells": separation([value(clip) for clip in some], [clip.listed.label or "" for clip in some]),
        }
        for name, unit, some, value in rows
        if some
    ]


def _strips(surveyed: Surveyed, classes: Sequence[str]) -> list[tuple[str, list[SeenClip]]]:
    """A few clips of each class with a picture, of as many groups as there are."""
    strips = []
    for label in classes[:_CLASSES_WITH_PICTURES]:
        clips = [clip for clip in surveyed.clips if clip.listed.label == label and clip.look.picture]
        rank: Counter[str] = Counter()
        order = []
        for clip in clips:
            order.append((rank[clip.listed.group], clip.number))
            rank[clip.listed.group] += 1
        by_number = {clip.number: clip for clip in clips}
        strips.append((label, [by_number[number] for _, number in sorted(order)[:_PICTURES_A_CLASS]]))
    return [(label, clips) for label, clips in strips if clips]


def _shown_groups(surveyed: Surveyed) -> list[tuple[Together, list[SeenClip], list[tuple[str, int]]]]:
    """The largest groups with a few of their clips, and their classes."""
    several = sorted((g for g in surveyed.groups if len(g.members) > 1), key=lambda group: -len(group.members))
    shown = []
    for group in several[:_GROUPS]:
        members = [surveyed.clips[place] for place in group.members]
        labels = Counter(clip.listed.label or "unlabelled" for clip in members)
        shown.append((group, members[:_PICTURES_A_GROUP], sorted(labels.items())))
    return shown


def _median(values: Sequence[float]) -> str:
    return f"{np.median(values):.3g}" if values else "–"
