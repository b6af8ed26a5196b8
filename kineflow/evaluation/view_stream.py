"""Videos on their way to a network that is tested: a few windows at a time, so that memory is bounded.

A video's windows are split into parts, each of as many as lie within 32 MiB (or of one that is larger by itself). What
decoding processes have prepared lies in shared memory: no more parts are under way than fit into 768 MiB, however long
the videos and however many the processes. The views of successive parts, be they of one video or of several, fill
batches together.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from kineflow.data.crops import Crops
from kineflow.data.windows import WindowViews, needed_of, sized, step_bytes, window_views
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import read_flow
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.arrays import Indices, Pixels
from kineflow.spec.preprocessing import Preprocessing
from kineflow.video.decode import read_frames

PART_BYTES = 2**25
"""Of the windows that are read and handed over together."""

SHARED_BYTES = 3 * 2**28
"""Of all parts that are under way: containers are given a GiB of shared memory, or more."""

BATCH_BYTES = 2**29
"""Of a batch's input."""

_IN_USE = 2  # parts that wait nowhere: one is being handed over, one is looked at
_MOST_AHEAD = 2  # parts that a process prepares ahead

WindowsOf = Callable[[Clip], Indices]
"""From a clip to the windows [V,T] that are asked about."""


class Part(NamedTuple):
    """Some windows of a clip, time steps [V,T]."""

    clip: Clip
    windows: Indices


class ReadViews(Protocol):
    """Reads the views of windows."""

    def __call__(self, part: Part) -> WindowViews:
        """The views of a part's windows."""

    def step_bytes(self, clip: Clip) -> int:
        """Of each time step that is read."""


@dataclass(frozen=True)
class ViewReader:
    """Reads what windows of a clip need, each frame and flow frame once, resized as it is decoded.

    Attributes:
        clip_set: Where the clips are.
        flow_set: Where their flow is; needed by modalities that read it.
        wanted: Modality, size and normalisation.
        crops: Of each window.
    """

    clip_set: ClipSet
    flow_set: FlowSet | None
    wanted: Preprocessing
    crops: Crops = 1

    def __call__(self, part: Part) -> WindowViews:
        """The views of a part's windows."""
        clip, windows = part
        needed = needed_of(windows, self.wanted, n_frames=clip.frames)
        frames = flow_frames = None
        if len(needed.frames):
            frames = read_frames(self.clip_set.locate(clip), needed.frames.tolist(), each=self._sized)
        if len(needed.flow_frames):
            assert self.flow_set is not None  # checked before the first clip is read
            path = self.flow_set.locate(clip.clip_id)
            flow_frames = read_flow(path, needed.flow_frames.tolist(), each=self._sized)
        return window_views(windows, needed, frames, flow_frames, self.wanted, n_frames=clip.frames, crops=self.crops)

    def step_bytes(self, clip: Clip) -> int:
        """Of each time step of a clip."""
        return step_bytes(clip.height, clip.width, self.wanted, self.crops)

    def _sized(self, image: Pixels) -> Pixels:
        resized: Pixels = sized(image[None], self.wanted)[0]
        return resized


def parts_of(clip: Clip, windows: Indices, read: ReadViews) -> list[Part]:
    """The windows [V,T] of a clip in their order, those together that share :data:`PART_BYTES`."""
    most = PART_BYTES // read.step_bytes(clip)
    if windows.size <= most:
        return [Part(clip, windows)]
    ends, held = [], np.unique(windows[0])
    for number, window in enumerate(windows[1:], 1):
        with_it = np.union1d(held, window)
        if len(with_it) > most:
            ends.append(number)
            with_it = np.unique(window)
        held = with_it
    return [Part(clip, some) for some in np.split(windows, ends)]


def load(parts: Iterable[Part], prepare: Callable[[Part], Any], *, largest_bytes: int, workers: int) -> Iterable[Any]:
    """What ``prepare`` makes of each part, in order, by processes beside this one.

    Args:
        parts: Taken as they are prepared.
        prepare: Runs in those processes.
        largest_bytes: Most that a part takes, see :func:`largest_part`.
        workers: Processes, at most; fewer where what they prepare would not fit into :data:`SHARED_BYTES`. 0 prepares
            parts in this process.
    """
    ahead = SHARED_BYTES // largest_bytes - _IN_USE
    workers = max(0, min(workers, ahead))
    loader: DataLoader[Any] = DataLoader(
        _Prepared(prepare),
        sampler=parts,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=min(_MOST_AHEAD, ahead // workers) if workers else None,
    )
    return loader


def largest_part(clips: Sequence[Clip], read: ReadViews, *, steps: int) -> int:
    """Bytes of the largest part of any clip, whose windows have so many steps; an upper bound."""
    step = max(map(read.step_bytes, clips))
    longest = max(max(1, clip.frames) * read.step_bytes(clip) for clip in clips)
    return max(steps * step, min(PART_BYTES, longest))


def outputs(
    network: nn.Module, parts: Iterable[WindowViews | str], batch_size: int, device: torch.device | str
) -> Iterator[Tensor | str]:
    """What a network gives for the views of each part, float32 [V·crops, K] on the CPU; a text stays as it is.

    Args:
        network: On ``device``, in evaluation mode.
        parts: Views, or why there are none.
        batch_size: Views a forward pass, at most: no more than lie within :data:`BATCH_BYTES`. Those of several parts
            share one, if they are of one size.
        device: Where the network runs.
    """
    waiting: deque[int | str] = deque()
    rows: Tensor | None = None

    def views() -> Iterator[WindowViews]:
        for part in parts:
            waiting.append(part if isinstance(part, str) else len(part))
            if not isinstance(part, str):
                yield part.to(device)

    for batch in _batches(views(), batch_size):
        answers = network(batch).float().cpu()
        del batch  # or two would be held while the next one is filled
        rows = answers if rows is None else torch.cat([rows, answers])
        while waiting and (isinstance(head := waiting[0], str) or len(rows) >= head):
            waiting.popleft()
            if isinstance(head, str):
                yield head
            else:
                yield rows[:head]
                rows = rows[head:]
    yield from (text for text in waiting if isinstance(text, str))


class _Prepared(Dataset[Any]):
    """What is made of parts, which are its keys."""

    def __init__(self, prepare: Callable[[Part], Any]) -> None:
        self.prepare = prepare

    def __getitem__(self, part: Part) -> Any:
        return self.prepare(part)


def _batches(parts: Iterable[WindowViews], batch_size: int) -> Iterator[Tensor]:
    """Network inputs of all views, ``batch_size`` at once; fewer of large ones, and before views of another size."""
    batch: Tensor | None = None
    filled = 0
    for views in parts:
        first = 0
        while first < len(views):
            if batch is not None and batch.shape[1:] != views.shape:
                yield batch[:filled]
                batch = None
            if batch is None:
                batch, filled = views.empty_inputs(_fitting(views, batch_size)), 0
            stop = min(len(views), first + len(batch) - filled)
            views.inputs(first, stop, out=batch[filled : filled + stop - first])
            first, filled = stop, filled + stop - first
            if filled == len(batch):
                yield batch
                batch = None
    if batch is not None:
        yield batch[:filled]


def _fitting(views: WindowViews, batch_size: int) -> int:
    return max(1, min(batch_size, BATCH_BYTES // (math.prod(views.shape) * torch.float32.itemsize)))
