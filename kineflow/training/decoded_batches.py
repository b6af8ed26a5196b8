"""Batches whose clips are decoded where they are learnt from, a batch ahead of the one that is learnt from."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch

from kineflow.data.collate import collate
from kineflow.data.device_decoding import UnfitForDeviceError, decode_on, why_no_decoder
from kineflow.data.frame_view import FrameView
from kineflow.training.settings import Decoding
from kineflow.training.tasks import Batch

_LOG = logging.getLogger(__name__)
_THREADS = 8  # no GPU has more decoders, and each takes one stream at a time


class DecodedBatches:
    """The same batches with ``rgb`` in place of ``rgb_view``; others pass as they are.

    Clips that the device cannot decode are decoded on the CPU, by the same threads, which a warning says once.

    Args:
        batches: Iterated anew each time that this is.
        device: Where to decode.
    """

    def __init__(self, batches: Iterable[Batch], device: torch.device) -> None:
        self._batches, self._device = batches, device
        self._has_warned, self._lock = False, Lock()

    def __iter__(self) -> Iterator[Batch]:
        pool = ThreadPoolExecutor(_THREADS, "decode", initializer=self._take_own_stream)
        under_way: deque[tuple[dict[str, Any], list[Future[_Decoded]]]] = deque()
        try:
            for batch in self._batches:
                if "rgb_view" not in batch:
                    yield batch
                    continue
                others: dict[str, Any] = dict(batch)
                views = others.pop("rgb_view")
                under_way.append((others, [pool.submit(self._decode, view) for view in views]))
                if len(under_way) > 1:
                    yield _joined(*under_way.popleft())
            while under_way:
                yield _joined(*under_way.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _take_own_stream(self) -> None:
        """A thread's work does not wait for the step that the GPU is busy with."""
        if self._device.type == "cuda":
            torch.cuda.set_stream(torch.cuda.Stream(self._device))  # type: ignore[no-untyped-call]

    def _decode(self, view: FrameView) -> _Decoded:
        try:
            pixels = decode_on(self._device, view)
        except UnfitForDeviceError as reason:
            self._warn_once(view, reason)
            pixels = torch.from_numpy(np.ascontiguousarray(view.read())).to(self._device)
        is_on_gpu = pixels.device.type == "cuda"
        return _Decoded(pixels, torch.cuda.current_stream(self._device).record_event() if is_on_gpu else None)

    def _warn_once(self, view: FrameView, reason: UnfitForDeviceError) -> None:
        with self._lock:
            if not self._has_warned:
                self._has_warned = True
                _LOG.warning("decoded on the CPU: %s, for %s; others like it are not named", view.path, reason)


class _Decoded(NamedTuple):
    """uint8 [T, S, S, 3], and on a GPU what is to be waited for before it is read."""

    pixels: torch.Tensor
    done: torch.cuda.Event | None


def _joined(batch: dict[str, Any], clips: list[Future[_Decoded]]) -> Batch:
    decoded = [clip.result() for clip in clips]
    for pixels, done in decoded:
        if done is not None:
            reading = torch.cuda.current_stream(pixels.device)
            reading.wait_event(done)
            pixels.record_stream(reading)  # or its memory would be given to a next clip while it is read
    joined: Any = batch | collate([{"rgb": pixels.permute(3, 0, 1, 2)} for pixels, _ in decoded])
    return joined  # type: ignore[no-any-return]


def decoding_here(wanted: Decoding, device: torch.device) -> Decoding:
    """``wanted``, or ``cpu`` where nothing here decodes on a GPU, which a warning says."""
    if wanted == "cpu":
        return "cpu"
    reason = "there is no GPU" if device.type == "cpu" else why_no_decoder()
    if reason:
        remedy = "" if device.type == "cpu" else "; docs/speed.md says what to install"
        _LOG.warning("decoding: cuda cannot be had, and clips are decoded on the CPU: %s%s", reason, remedy)
        return "cpu"
    return "cuda"
