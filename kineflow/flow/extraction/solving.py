"""Solving batches on a CPU or a GPU, and how long that took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kineflow.flow.extraction.settings import ExtractSettings
from kineflow.flow.tvl1 import tvl1_flow
from kineflow.spec.quantise import quantise_tensor
from kineflow.storage.errors import KineflowError

_cuda: Any = torch.cuda  # typed in some versions of torch and not in others
_GPU_FEEDERS = 2  # while the batch of one is solved, that of the other is copied


class BatchSolver:
    """Solves batches on one device.

    On a GPU several threads feed it: each has a stream of its own, on which it copies its batch in, solves and copies
    the result out. Solves follow one another; copies run beside them.

    Attributes:
        feeders: Threads that should call :meth:`solve`.
        busy_seconds: Wall time of the device spent solving, copies left out.
    """

    def __init__(self, device: str, settings: ExtractSettings) -> None:
        self._device, self._settings = torch.device(device), settings
        self._turns = _GpuTurns(self._device) if self._device.type == "cuda" else _CpuTurns()
        self._lock = threading.Lock()
        self.feeders = _GPU_FEEDERS if self._device.type == "cuda" else 1
        self.busy_seconds = 0.0

    def solve(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Flow uint8 [N, H, W, 2] between frames uint8 [N, H, W].

        Raises:
            KineflowError: The device has too little memory for the batch.
        """
        try:
            with torch.inference_mode(), self._turns.own_stream():
                frames = [_upload(stack, self._device) for stack in (first, second)]
                with self._turns.turn() as turn:
                    flow = _uint8_flow(frames[0], frames[1], self._settings)
                downloaded = _download(flow)
        except torch.OutOfMemoryError:
            raise KineflowError(
                f"{len(first)} pairs of {first.shape[2]}x{first.shape[1]} do not fit into the memory of {self._device}",
                remedy="lower batch_pairs",
            ) from None
        with self._lock:
            self.busy_seconds += turn.seconds()
        return downloaded


def solvers_of(settings: ExtractSettings) -> list[BatchSolver]:
    """One solver a GPU; on a CPU one a worker."""
    devices = settings.devices * settings.workers if settings.on_cpu else settings.devices
    return [BatchSolver(device, settings) for device in devices]


def _uint8_flow(first: Tensor, second: Tensor, settings: ExtractSettings) -> Tensor:
    """Flow uint8 [N, H, W, 2], on the device of the frames."""
    return quantise_tensor(_flow(first, second, settings), settings.bound_px).permute(0, 2, 3, 1).contiguous()


def _flow(first: Tensor, second: Tensor, settings: ExtractSettings) -> Tensor:
    """Flow float32 [N, 2, H, W], px."""
    if settings.camera_motion == "kept":
        return tvl1_flow(first, second, settings.tvl1, device=first.device, solver=settings.solver)
    from kineflow.flow.warped import warped_flow

    threads = 1 if settings.on_cpu else settings.workers  # they look for the camera's motion, on the CPU in any case
    return warped_flow(
        first, second, settings.tvl1, device=first.device, solver=settings.solver, threads=threads
    ).warped


def _upload(frames: np.ndarray, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(frames)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def _download(flow: Tensor) -> np.ndarray:
    """Copy to the host; only the calling thread waits for it, and with it for all that its stream was given."""
    if flow.device.type == "cpu":
        return flow.numpy()
    host = torch.empty(flow.shape, dtype=flow.dtype, pin_memory=True)
    host.copy_(flow, non_blocking=True)
    _cuda.current_stream(flow.device).synchronize()
    return host.numpy()


class _CpuTurn:
    def __init__(self) -> None:
        self.start, self.stop = time.monotonic(), 0.0

    def seconds(self) -> float:
        return self.stop - self.start


class _CpuTurns:
    def own_stream(self) -> Any:
        return nullcontext()

    @contextmanager
    def turn(self) -> Iterator[_CpuTurn]:
        turn = _CpuTurn()
        yield turn
        turn.stop = time.monotonic()


class _GpuTurn:
    def __init__(self) -> None:
        self.start, self.stop = (_cuda.Event(enable_timing=True) for _ in range(2))

    def seconds(self) -> float:
        """Once the stream has been waited for."""
        return float(self.start.elapsed_time(self.stop)) / 1000


class _GpuTurns:
    """Turns follow one another on the device; the host runs ahead, so that it never waits for orders."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._launching = threading.Lock()
        self._before: _GpuTurn | None = None
        self._streams = threading.local()

    @contextmanager
    def own_stream(self) -> Iterator[None]:
        with _cuda.device(self._device):
            if not hasattr(self._streams, "own"):
                self._streams.own = _cuda.Stream(self._device)
            with _cuda.stream(self._streams.own):
                yield

    @contextmanager
    def turn(self) -> Iterator[_GpuTurn]:
        with self._launching:
            stream, turn = _cuda.current_stream(self._device), _GpuTurn()
            if self._before is not None:
                stream.wait_event(self._before.stop)
            turn.start.record(stream)
            yield turn
            turn.stop.record(stream)
            self._before = turn
