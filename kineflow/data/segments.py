"""Which snippets of a video TSN sees: one from each of K segments of equal length. Pure functions, as in sampling.

Wang et al., "Temporal Segment Networks" (ECCV 2016), §3.1, with the index arithmetic of the released code::

    video        0 1 2 3 4 5 6 7 8 9 10 11 12     13 frames, K = 3 segments, snippets of L = 2 frames
    may start    0 1 2 3 4 5 6 7 8 9 10 11        12 places, 12 // 3 = 4 a segment
    segments     |------| |------| |-----|
    training         x x    x x      x  x         a place drawn in each segment
    validation       x x      x x        x  x     the middle of each segment

Snippets of neighbouring segments may overlap. A video with fewer places than segments has its places drawn freely and
put in order, so that some repeat; one shorter than a snippet follows the policy of its
:class:`~kineflow.spec.sampling.ClipSpec`. At test time snippets are spread evenly over the video:
:func:`kineflow.spec.sampling.uniform_clips` with windows of one snippet, of which the paper takes 25. (Its Caffe code
rounds their distance down, and so leaves out up to 24 frames at the end, or all but the first snippet of a short
video; here the last snippet always ends at the end.)
"""

from __future__ import annotations

import numpy as np

from kineflow.spec.arrays import Indices
from kineflow.spec.sampling import ClipSpec, last_start, windows_at


def random_snippets(n_frames: int, spec: ClipSpec, segments: int, rng: np.random.Generator) -> Indices:
    """A snippet from a random place of each segment.

    Args:
        n_frames: Frames of the video, at least 1.
        spec: Shape of a snippet.
        segments: K, at least 1.
        rng: Drawn from K times whatever the length, so that later draws do not depend on it.

    Returns:
        int64 ``[K, L]`` in the order of time, each in ``[0, n_frames)``.

    Raises:
        KineflowError: The video has no frames, or is shorter than a snippet and ``spec.short`` is ``error``.
    """
    places = last_start(n_frames, spec) + 1
    draws = rng.random(segments)
    length = places // segments
    if length:
        starts = np.arange(segments) * length + (draws * length).astype(np.int64)
    else:
        starts = np.sort((draws * places).astype(np.int64))
    return windows_at(n_frames, spec, starts)


def middle_snippets(n_frames: int, spec: ClipSpec, segments: int) -> Indices:
    """The snippet in the middle of each segment.

    Returns:
        int64 ``[K, L]`` in the order of time, each in ``[0, n_frames)``.

    Raises:
        KineflowError: As :func:`random_snippets`.
    """
    places = last_start(n_frames, spec) + 1
    return windows_at(n_frames, spec, (2 * np.arange(segments, dtype=np.int64) + 1) * places // (2 * segments))
