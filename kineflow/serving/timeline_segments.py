"""A timeline told in segments: from when to when one thing happens.

Windows overlap, so each answers for the moments that are nearest to its middle::

    windows       [---- a ----]
                        [---- a ----]
                              [---- b ----]
    answers for   aaaaaaaaaaaaaaaaaabbbbbbb

A window whose best class has less than ``threshold`` answers for nothing. Neighbours with the same best class are one
segment; its score is their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Labelled(NamedTuple):
    """What happens from when to when, seconds; of a window, or of several.

    Attributes:
        label: The likeliest class.
        score: Its probability; of several windows their mean.
    """

    label: str
    score: float
    start_sec: float
    end_sec: float


def answered_parts(windows: Sequence[Labelled]) -> list[Labelled]:
    """The part of the video that each window answers for: they follow each other, and none meets the next.

    Where windows are further apart than they are long, a part does not go beyond its window.
    """
    middles = [(window.start_sec + window.end_sec) / 2 for window in windows]
    parts = []
    for number, window in enumerate(windows):
        start, end = window.start_sec, window.end_sec
        if number:
            start = max(start, (middles[number - 1] + middles[number]) / 2)
        if number + 1 < len(windows):
            end = min(end, (middles[number] + middles[number + 1]) / 2)
        parts.append(window._replace(start_sec=start, end_sec=end))
    return parts


def merged_segments(windows: Sequence[Labelled], threshold: float) -> list[Labelled]:
    """Segments of one class.

    Args:
        windows: In order.
        threshold: Least probability of a window's best class, 0 to 1.
    """
    groups: list[list[Labelled]] = []
    before_counts = False
    for part in answered_parts(windows):
        counts = part.score >= threshold
        joins = before_counts and groups[-1][-1].label == part.label and part.start_sec <= groups[-1][-1].end_sec
        if counts and joins:
            groups[-1].append(part)
        elif counts:
            groups.append([part])
        before_counts = counts
    return [
        Labelled(group[0].label, sum(part.score for part in group) / len(group), group[0].start_sec, group[-1].end_sec)
        for group in groups
    ]
