"""What was found and seen, put together: the clips of a set that can be used, and the odd ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kineflow.data.layouts.rows import ListedClip
from kineflow.spec.split import Split
from kineflow.survey.facts import Header, Look

_FAR = 8.0  # times as long, or as short, as the median
_SMALL_PX = 64


@dataclass(frozen=True)
class SeenClip:
    """One clip as it is listed, and what was seen of it.

    Attributes:
        number: Its place in the list.
        listed: Its row; ``split`` and ``group`` are those that were settled on.
        look: What was seen.
    """

    number: int
    listed: ListedClip
    look: Look

    @property
    def header(self) -> Header:
        """Of a clip that can be used."""
        assert self.look.header is not None
        return self.look.header


@dataclass(frozen=True)
class Odd:
    """A clip that somebody should look at.

    Attributes:
        name: Of its video.
        reason: What is odd.
        is_left_out: Whether it is left out of ``clips.csv``.
    """

    name: str
    reason: str
    is_left_out: bool


def quantile_of(clips: Sequence[SeenClip], value: Callable[[Header], float], share: float) -> float:
    """A quantile over those clips for which ``value`` is known (above 0); 0 where it is known of none."""
    known = [number for clip in clips if (number := value(clip.header)) > 0]
    return float(np.quantile(known, share)) if known else 0.0


def odd_clips(listed: Sequence[ListedClip], looks: Sequence[Look]) -> list[Odd]:
    """Clips that cannot be used, those with something odd in them, and those unlike the others; in this order."""
    left_out, odd = [], []
    lengths = [look.header.seconds for look in looks if look.header is not None and look.header.seconds > 0]
    median = float(np.median(lengths)) if lengths else 0.0
    for clip, look in zip(listed, looks, strict=True):
        if not look.is_usable:
            left_out.append(Odd(clip.source, clip.missing or look.problem, is_left_out=True))
            continue
        assert look.header is not None
        reasons = [look.remark] if look.remark else []
        seconds = look.header.seconds
        if median and seconds and not median / _FAR <= seconds <= median * _FAR:
            reasons.append(f"lasts {seconds:.1f} s, where the median is {median:.1f} s")
        if look.header.short_side < _SMALL_PX:
            reasons.append(f"is {look.header.width}×{look.header.height} px")
        if reasons:
            odd.append(Odd(clip.source, "; ".join(reasons), is_left_out=False))
    return left_out + odd


def labelled(clips: Sequence[SeenClip]) -> list[SeenClip]:
    """Those with a label that may be learnt from or scored."""
    return [clip for clip in clips if clip.listed.split is not Split.UNLABELLED and clip.listed.label is not None]
