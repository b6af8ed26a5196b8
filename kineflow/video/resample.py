"""Which frames a video has at another rate: at each moment the one that is shown nearest to it.

::

    source, 5 fps     0       1       2       3       4
    moments, 10 fps   0   .1  .2  .3  .4  .5  .6  .7  .8  .9
    frames            0   0   1   1   2   2   3   3   4   4     repeated where the source is slower
    moments, 2.5 fps  0               .4              .8
    frames            0               2               4         left out where it is faster

Moments are counted from the first frame that is taken, by time stamps, so a motion in a clip of varying rate takes as
long as it took. Of two frames equally near, it is the earlier one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kineflow.spec.arrays import Indices
from kineflow.video.timeline import Timeline

_SLACK_SEC = 1e-6  # time stamps are kept in microseconds


class Span(NamedTuple):
    """Frames ``first`` to ``stop`` (exclusive) of a video at a rate."""

    first: int
    stop: int

    @property
    def frames(self) -> int:
        """How many there are, at least one."""
        return self.stop - self.first


def span_at(timeline: Timeline, first: int, stop: int, fps: float) -> Span:
    """Where the frames ``first`` to ``stop`` (exclusive) of a video lie among its frames at ``fps``.

    Parts that follow each other in the video do so here too, and none meets the next. It is told without laying out the
    frames, of which there may be any number.
    """
    times = timeline.times(first, stop)
    begin = round(float(times[0]) * fps)
    return Span(begin, max(begin + 1, round(timeline.end_of(stop) * fps)))


def numbers_at(timeline: Timeline, first: int, stop: int, fps: float) -> Indices:
    """The source's frame at each multiple of 1/``fps`` seconds from frame ``first`` on.

    Returns:
        int64 ``[span_at(…).frames]``, ascending, from ``first`` to ``stop`` - 1; repeated where it is slower.
    """
    times = timeline.times(first, stop)
    moments = times[0] + np.arange(span_at(timeline, first, stop, fps).frames) / fps
    between = (times[1:] + times[:-1]) / 2
    numbers: Indices = first + np.searchsorted(between, moments - _SLACK_SEC).astype(np.int64)
    return numbers
