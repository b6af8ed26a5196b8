"""A window that slides over frames as they come: what it needs is held, and no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kineflow.data.crops import Crops
from kineflow.data.windows import WindowViews, needed_of, sized, window_views
from kineflow.spec.arrays import Indices
from kineflow.spec.sampling import ClipSpec, last_start, windows_at
from kineflow.video.forward import TimedFrame

if TYPE_CHECKING:
    from kineflow.spec.preprocessing import Preprocessing


class Window(NamedTuple):
    """What a network is asked about, and when it is.

    Attributes:
        first: Number of its first frame, at the network's rate.
        stop: Number of the frame after its last time step.
        start_sec, end_sec: From its first frame to the end of its last time step, seconds from the video's first frame.
        views: Its crops.
    """

    first: int
    stop: int
    start_sec: float
    end_sec: float
    views: WindowViews


def clip_spec(wanted: Preprocessing) -> ClipSpec:
    """The shape of a network's window in time."""
    return ClipSpec(wanted.frames, wanted.stride_frames, wanted.short)


def window_starts(n_frames: int, spec: ClipSpec, step_frames: int) -> list[int]:
    """Where windows begin: every ``step_frames`` frames, and last of all where one ends with the video.

    ::

        video of 12 frames, 11 time steps     0 1 2 3 4 5 6 7 8 9 10
        frames = 4, step_frames = 3           x x x x
                                                    x x x x
                                                          x x x x
                                                            x x x x      the last one ends with the video
    """
    last = last_start(max(1, n_frames - 1), spec)
    return [*range(0, last, step_frames), last]


def sliding_windows(
    frames: Iterable[TimedFrame], wanted: Preprocessing, *, step_frames: int, last_sec: float, crops: Crops = 1
) -> Iterator[Window]:
    """The windows at :func:`window_starts`, each as soon as its frames have come.

    Every window is prepared as a clip of its own frames is; for a video of one window that is what the test protocol
    does. At most the frames of a window and one more are held, at the network's size.

    Args:
        frames: At the network's rate.
        wanted: Of the network, which takes no flow.
        step_frames: From one window to the next, at least 1.
        last_sec: How long the last frame is shown.
        crops: Of each window, see :func:`kineflow.data.crops.fixed_views`.

    Raises:
        KineflowError: The video is shorter than a window, and the network's windows are not filled up.
    """
    spec = clip_spec(wanted)
    span = spec.span_frames
    held: deque[TimedFrame] = deque(maxlen=span + 1)
    count = following = 0
    for frame in frames:
        held.append(TimedFrame(frame.sec, _sized(frame.image, wanted)))
        count += 1
        if count == following + span + 1:  # the frame after its last time step has come
            yield _window(list(held), following, held[-1].sec, wanted, crops)
            following += step_frames
    if not count:
        return
    last = last_start(max(1, count - 1), spec)
    if following == 0 or following - step_frames < last:
        end_sec = held[-1].sec + (last_sec if count <= span else 0.0)
        yield _window(list(held), last, end_sec, wanted, crops)


def _window(frames: list[TimedFrame], first: int, end_sec: float, wanted: Preprocessing, crops: Crops) -> Window:
    spec, n_frames = clip_spec(wanted), len(frames)
    window: Indices = windows_at(max(1, n_frames - 1), spec, np.zeros(1, dtype=np.int64))
    needed = needed_of(window, wanted, n_frames=n_frames)
    images = np.stack([frames[number].image for number in needed.frames])
    views = window_views(window, needed, images, None, wanted, n_frames=n_frames, crops=crops)
    return Window(first, first + max(1, n_frames - 1), frames[0].sec, end_sec, views)


def _sized(image: np.ndarray, wanted: Preprocessing) -> np.ndarray:
    if wanted.fit == "squash":
        return image
    resized: np.ndarray = sized(image[None], wanted)[0]
    return resized
