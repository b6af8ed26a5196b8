"""What a network of another clip and crop sees of the same moment and place: pure functions, tested without a video.

A teacher looks on while a student learns. Where their clips differ, each has its own frames of the same moment::

    video      0 1 2 3 4 5 6 7 8 9 10 11        n_frames = 12
    student            x x x x                  4 frames, in the middle between 5 and 6
    teacher        x   x   x   x                4 frames of stride 2: as close to the same middle as they fit

and its own pixels of the same region: the student's crop, taken from frames of the teacher's size.
"""

from __future__ import annotations

import numpy as np

from kineflow.data.segments import middle_snippets
from kineflow.data.transforms import View
from kineflow.spec.arrays import Indices
from kineflow.spec.sampling import ClipSpec, windows_at


def window_beside(seen: Indices, n_frames: int, spec: ClipSpec, segments: int = 0) -> Indices:
    """The window, or the snippets, of another network for what a network sees.

    Args:
        seen: int64 ``[snippets, frames]``; one row for a single window.
        n_frames: Frames of the video, at least 1.
        spec: Shape of the other's window, or of each snippet.
        segments: How many snippets the other sees; 0: one window.

    Returns:
        int64 ``[snippets, frames]``, each in ``[0, n_frames)``. As many snippets as rows have the same middles as
        those; otherwise the snippets stand in the middle of equal parts of all that is seen, and a window in the middle
        of it. Windows that would leave the video are moved inwards.

    Raises:
        KineflowError: The video is too short and ``spec.short`` is ``error``.
    """
    first, last = int(seen.min()), int(seen.max())
    if segments in (0, 1) or segments == len(seen):
        rows = seen if max(segments, 1) == len(seen) else np.array([[first, last]])
        return windows_at(n_frames, spec, _starts(rows.min(axis=1), rows.max(axis=1), n_frames, spec))
    span = min(max(last - first + 1, spec.span_frames), n_frames)
    (start,) = _starts(np.array([first]), np.array([last]), n_frames, ClipSpec(span))
    middles = middle_snippets(span, ClipSpec(1), segments) + start
    return windows_at(n_frames, spec, _starts(middles.min(axis=1), middles.max(axis=1), n_frames, spec))


def view_beside(view: View, frame: tuple[int, int], own_frame: tuple[int, int], size: int) -> View:
    """The same region in frames of another size, resized to a square of ``size`` px, and mirrored alike.

    Args:
        view: Where a network looks.
        frame: Height and width of the frames that it looks at, px.
        own_frame: Those of the other's frames.
        size: Side of the other's square, px.
    """
    if view.squash:
        return View(0, 0, size, view.flip, squash=True)
    cut = view.cut or (view.size, view.size)
    top, height = _scaled(view.top, cut[0], frame[0], own_frame[0])
    left, width = _scaled(view.left, cut[1], frame[1], own_frame[1])
    return View(top, left, size, view.flip, cut=(height, width))


def _starts(first: Indices, last: Indices, n_frames: int, spec: ClipSpec) -> Indices:
    """Where windows start that have the middles of those from ``first`` to ``last``, both counted."""
    covered = min(spec.span_frames, n_frames)
    starts: Indices = np.clip((first + last - (covered - 1)) // 2, 0, n_frames - covered)
    return starts


def _scaled(start: int, length: int, side: int, own_side: int) -> tuple[int, int]:
    """Start and length in a side of ``own_side`` px that has the same middle and the same share of the side."""
    own_length = max(1, round(length * own_side / side))
    middle = (2 * start + length) * own_side / (2 * side)
    return min(max(0, round(middle - own_length / 2)), own_side - own_length), own_length
