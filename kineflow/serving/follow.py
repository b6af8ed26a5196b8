"""What happens in a video that goes on: an answer a window, soon after its last frame has come.

One thread reads and decodes, and hands windows over; the other asks the network. At most one window waits. Where the
network is slower than the video, a newer window takes the place of the one that waits, which is never answered: so an
answer is late by no more than two passes of the network, whatever happens, and what was dropped is counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from kineflow.data.crops import Crops
from kineflow.evaluation.view_protocol import ViewProtocol
from kineflow.serving.predict import flow_source, require_classes
from kineflow.serving.tested import UNTESTED
from kineflow.serving.timeline import Scored, scored, windows_of_stream
from kineflow.serving.windows import Window
from kineflow.storage.credentials import mask_uri
from kineflow.storage.errors import KineflowError
from kineflow.video.live import is_stream, open_live

if TYPE_CHECKING:
    from torch import nn

    from kineflow.models.card import ModelCard

IDLE_SEC = 10.0
RECONNECTS = 5
_LONGEST_WAIT_SEC = 30.0
_POLL_SEC = 0.1


class Followed(NamedTuple):
    """An answer.

    Attributes:
        window: Its times are seconds from the first frame, or from the first connection of a stream.
        late_sec: From when its last frame had come until the answer.
        dropped_windows: How many were dropped since the answer before.
        dropped_frames: How many frames of those, at the network's rate, no answer is about.
    """

    window: Scored
    late_sec: float
    dropped_windows: int
    dropped_frames: int


class _Waiting(NamedTuple):
    window: Window
    came: float
    dropped_windows: int
    first_dropped: int


class Handover:
    """A place for one window: a newer one takes the place of one that waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: _Waiting | None = None
        self._closed = False
        self.failure: BaseException | None = None

    def put(self, window: Window) -> None:
        """Hand a window over, in place of the one that waits."""
        with self._changed:
            before = self._waiting
            dropped, first = (before.dropped_windows + 1, before.first_dropped) if before else (0, window.first)
            self._waiting = _Waiting(window, time.monotonic(), dropped, first)
            self._changed.notify()

    def close(self, failure: BaseException | None = None) -> None:
        """Nothing more comes."""
        with self._changed:
            self._closed, self.failure = True, failure
            self._changed.notify()

    def take(self) -> _Waiting | None:
        """The window that waits, or the next; None where nothing more comes."""
        with self._changed:
            while self._waiting is None and not self._closed:
                self._changed.wait(_POLL_SEC)  # so that a Ctrl-C is heard
            taken, self._waiting = self._waiting, None
            return taken


def follow(
    name: str,
    network: nn.Module,
    card: ModelCard,
    *,
    step_sec: float | None = None,
    views: ViewProtocol = UNTESTED,
    idle_sec: float = IDLE_SEC,
    reconnects: int = RECONNECTS,
    say: Callable[[str], None],
) -> Iterator[Followed]:
    """Answer to windows of what goes on until it ends; see :func:`kineflow.video.live.open_live` for what that may be.

    Args:
        name: Of the video.
        network: As of :func:`kineflow.serving.timeline.timeline`; one that takes no flow.
        card: Its classes and preprocessing.
        step_sec: From one window to the next; None: half a window.
        views: As of :func:`kineflow.serving.timeline.timeline`.
        idle_sec: See :func:`kineflow.video.live.open_live`.
        reconnects: How often in a row a stream is opened again that has broken off, after 1, 2, 4 … 30 s.
        say: Takes notes about the connection.

    Raises:
        KineflowError: The network takes flow; or the video cannot be opened, or is broken off for good.
    """
    require_classes(card)
    if flow_source(card) is not None:
        raise KineflowError(
            "the network takes flow, which is computed from whole files",
            where=f"model {card.name!r}",
            remedy="follow with an RGB network, such as its student; or use --timeline on a file",
        )
    handover, over = Handover(), threading.Event()

    def read() -> None:
        try:
            _read(
                name, card, handover, over,
                step_sec=step_sec, crops=views.crops, idle_sec=idle_sec, reconnects=reconnects, say=say,
            )  # fmt: skip
        except BaseException as error:  # told where the answers are asked for
            handover.close(error)
        else:
            handover.close()

    reader = threading.Thread(target=read, name="kineflow-follow", daemon=True)
    reader.start()
    answered_until = 0
    try:
        while (taken := handover.take()) is not None:
            window = taken.window
            lost = max(0, window.first - max(answered_until, taken.first_dropped)) if taken.dropped_windows else 0
            answer = scored(window, network, card, views)
            answered_until = window.stop
            yield Followed(answer, time.monotonic() - taken.came, taken.dropped_windows, lost)
        if handover.failure is not None:
            raise handover.failure
    finally:
        over.set()
        reader.join(2.0)


def _read(
    name: str,
    card: ModelCard,
    handover: Handover,
    over: threading.Event,
    *,
    step_sec: float | None,
    crops: Crops,
    idle_sec: float,
    reconnects: int,
    say: Callable[[str], None],
) -> None:
    begun, failures, frames_before = time.monotonic(), 0, 0
    while not over.is_set():
        offset_sec = time.monotonic() - begun if frames_before else 0.0
        first = frames_before
        try:
            with open_live(name, is_over=over.is_set, idle_sec=idle_sec) as (container, stream):
                for window in windows_of_stream(container, stream, card.preprocessing, step_sec, crops):
                    if over.is_set():
                        return
                    failures = 0
                    frames_before = first + window.stop
                    handover.put(_moved(window, first, offset_sec))
            problem = "it has ended"
        except KineflowError as error:
            if not is_stream(name):
                raise
            problem = error.problem
        if not is_stream(name):
            return
        failures += 1
        if failures > reconnects:
            raise KineflowError(
                f"{problem}; opened again {reconnects} times in vain",
                where=mask_uri(name),
                remedy="check that it plays: ffplay ADDRESS",
            )
        wait_sec = min(2.0 ** (failures - 1), _LONGEST_WAIT_SEC)
        say(f"{mask_uri(name)}: {problem}; opened again in {wait_sec:g} s ({failures} of {reconnects})")
        over.wait(wait_sec)


def _moved(window: Window, frames: int, sec: float) -> Window:
    return window._replace(
        first=window.first + frames,
        stop=window.stop + frames,
        start_sec=window.start_sec + sec,
        end_sec=window.end_sec + sec,
    )
