"""One level of TV-L1's pyramid on a GPU: the memory of a few pairs, and the launches that solve them there.

The host decides nothing while it launches: how far a pair has come stands in device memory (see
:mod:`kineflow.flow.solvers.triton_kernels`). It looks once a segment of iterations whether any pair still moves, and
not at all where a warp is a single segment. A segment is recorded as a CUDA graph, since its launches would cost Python
more than they cost the GPU.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from kineflow.flow.solvers import triton_kernels as kernels
from kineflow.flow.solvers.imaging import central_gradient
from kineflow.spec.tvl1 import TVL1Params

_LOG = logging.getLogger(__name__)
_THREADS = 128  # a program, one pixel each
_ROWS = 8  # that a thread goes down: more of them share more between rows, fewer of them fill a GPU sooner
_SECTOR = 8  # floats that a GPU fetches together
_LINE = 32  # floats in a line of its caches
_MOST_STRIPS = 1024  # of a frame; every program adds up one number of each
_ITERATIONS_A_LOOK = 30
_LEVELS_KEPT = 16
_RECORDING = threading.Lock()  # PyTorch records one graph at a time in a process
_OPTIONS = {"num_warps": _THREADS // 32, "enable_fp_fusion": True}


@dataclass(frozen=True)
class Tiling:
    """How a frame is cut into strips: ``columns`` × (``lanes`` · ``rows``) pixels a program."""

    height: int
    width: int
    columns: int
    lanes: int
    rows: int

    @classmethod
    def of(cls, height: int, width: int) -> Tiling:
        """The widest strips that leave few threads idle; a strip also reads a sector of the next one."""
        columns = min((128, 64, 32), key=lambda columns: triton.cdiv(width, columns) * (columns + _SECTOR))
        tiling = cls(height, width, columns, _THREADS // columns, _ROWS)
        while tiling.strips > _MOST_STRIPS:
            tiling = cls(height, width, columns, tiling.lanes, 2 * tiling.rows)
        return tiling

    @property
    def grid(self) -> tuple[int, int]:
        """Strips over x and over y."""
        return triton.cdiv(self.width, self.columns), triton.cdiv(self.height, self.lanes * self.rows)

    @property
    def strips(self) -> int:
        """Of a frame."""
        return self.grid[0] * self.grid[1]

    @property
    def pitch(self) -> int:
        """Floats in a row of an array: whole lines of the cache, at least two of its floats beyond the frame."""
        return -(-(self.width + 2) // _LINE) * _LINE

    @property
    def lines(self) -> int:
        """Rows of an array: those of all strips, and one on either side."""
        return self.grid[1] * self.lanes * self.rows + 2

    @property
    def bytes_in_use(self) -> int:
        """Of one pair, that an iteration touches: both copies of the state and the problem."""
        return 4 * self.height * self.pitch * (2 * kernels.STATE_FIELDS + kernels.PROBLEM_FIELDS)


class LevelSolver:
    """Room for ``slots`` pairs of one size, to be solved together.

    The arrays are described in :mod:`kineflow.flow.solvers.triton_kernels`.
    """

    def __init__(self, tiling: Tiling, slots: int, params: TVL1Params, device: torch.device) -> None:
        self._tiling, self._slots, self._params = tiling, slots, params
        state = self._zeros(2 * slots, kernels.STATE_FIELDS, device)
        self._state = state.view(2, slots, *state.shape[1:])
        self._filtered = self._zeros(slots, kernels.FLOW_FIELDS, device)
        self._problem = self._zeros(slots, kernels.PROBLEM_FIELDS, device)
        self._frames = self._zeros(slots, kernels.FRAME_FIELDS, device)
        self._partials = torch.zeros(2, slots, triton.next_power_of_2(tiling.strips), device=device)
        self._made = torch.full((slots,), -1, dtype=torch.int32, device=device)
        self._started = self._made.clone()
        self._segments = _segments(params)
        self._runs = self._recorded() if device.type == "cuda" else self._unrecorded()
        self._lock = threading.Lock()

    def solve(self, first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
        """Improve ``flow`` [n, 2, height, width] in place; frames [n, height, width], n at most ``slots``.

        Returns:
            int32 [n], the iterations that each pair made, over all warps.
        """
        with self._lock:
            self._load(first, second, flow)
            for _ in range(self._params.warps):
                self._warp()
            return self._unload(flow)

    def _zeros(self, slots: int, fields: int, device: torch.device) -> Tensor:
        """Zeros with a line before them: the pixel at (-1, -1) of the first slot is looked at."""
        lines, pitch = self._tiling.lines, self._tiling.pitch
        flat = torch.zeros(_LINE + slots * lines * fields * pitch, device=device)
        return flat[_LINE:].view(slots, lines, fields, pitch)

    def _pixels(self, array: Tensor) -> Tensor:
        """Of [..., lines, fields, pitch] those in the frame: [..., height, fields, width]."""
        return array[..., 1 : 1 + self._tiling.height, :, : self._tiling.width]

    def _load(self, first: Tensor, second: Tensor, flow: Tensor) -> None:
        count = len(first)
        frames = self._pixels(self._frames)[:count]
        for field, image in enumerate((second, *central_gradient(second), first)):
            frames[:, :, field] = image
        self._state[0, :, :, kernels.FLOW_FIELDS :].zero_()  # the dual; the other copy is written before it is read
        self._pixels(self._state)[0, :count, :, : kernels.FLOW_FIELDS] = flow.transpose(1, 2)
        self._made.fill_(-1)[:count] = 0

    def _unload(self, flow: Tensor) -> Tensor:
        count = len(flow)
        made = self._made[:count].clone()
        copy, pair = (made % 2).to(torch.int64), torch.arange(count, device=flow.device)
        flow.copy_(self._pixels(self._state)[:, :, :, : kernels.FLOW_FIELDS][copy, pair].transpose(1, 2))
        return made

    def _warp(self) -> None:
        for (_, last), run in zip(self._segments, self._runs, strict=True):
            run()
            undecided = self._params.epsilon > 0 and last < self._segments[-1][1]
            if undecided and not bool((self._made - self._started == last).any()):
                return

    def _unrecorded(self) -> list[Callable[[], None]]:
        return [functools.partial(self._launch, first, last) for first, last in self._segments]

    def _recorded(self) -> list[Callable[[], None]]:
        """The segments as CUDA graphs; if they cannot be recorded, as plain launches."""
        plain = self._unrecorded()
        for run in plain:
            run()  # compiles and loads the kernels, which a recording must not; all slots are empty
        graphs = [torch.cuda.CUDAGraph() for _ in plain]
        try:
            for graph, run in zip(graphs, plain, strict=True):
                # Other threads of the process, which decode or copy, need not wait for the recording.
                with _RECORDING, torch.cuda.graph(graph, capture_error_mode="thread_local"):
                    run()
        except RuntimeError as error:
            _LOG.warning("TV-L1 runs without CUDA graphs: %s", error)
            return plain
        return [graph.replay for graph in graphs]

    def _launch(self, first: int, last: int) -> None:
        """Iterations ``first`` to ``last`` of a warp; the first begins it, the first of a block filters u."""
        params, tiling = self._params, self._tiling
        if first == 1:
            self._launch_linearise()
        for iteration in range(first, last + 1):
            look = _is_measured(iteration - 1, params)
            after_median = params.median > 1 and (iteration - 1) % params.inner_iterations == 0
            if after_median:
                self._launch_median(iteration, look)
            kernels.iterate[(*tiling.grid, self._slots)](
                self._state,
                self._filtered,
                self._problem,
                self._started,
                self._made,
                self._partials,
                iteration,
                tiling.height,
                tiling.width,
                tiling.lines,
                self._slots,
                params.lambda_ * params.theta,
                params.tau,
                params.tau / params.theta,
                self._settled,
                PITCH=tiling.pitch,
                PARTIALS=self._partials.shape[-1],
                COLUMNS=tiling.columns,
                LANES=tiling.lanes,
                ROWS=tiling.rows,
                AFTER_MEDIAN=after_median,
                LOOK=look,
                MEASURE=_is_measured(iteration, params),
                **_OPTIONS,
            )

    def _launch_linearise(self) -> None:
        tiling = self._tiling
        kernels.linearise[self._grid_of_pixels](
            self._state,
            self._frames,
            self._problem,
            self._started,
            self._made,
            tiling.height,
            tiling.width,
            tiling.lines,
            self._slots,
            1 if self._params.border == "zeros" else 0,
            self._params.cubic_sharpness,
            PITCH=tiling.pitch,
            COLUMNS=tiling.columns,
            ROWS=tiling.lanes,
            **_OPTIONS,
        )

    def _launch_median(self, iteration: int, look: bool) -> None:
        tiling = self._tiling
        kernels.filter_flow[self._grid_of_pixels](
            self._state,
            self._filtered,
            self._started,
            self._made,
            self._partials,
            iteration,
            tiling.height,
            tiling.width,
            tiling.lines,
            self._slots,
            self._settled,
            PITCH=tiling.pitch,
            PARTIALS=self._partials.shape[-1],
            COLUMNS=tiling.columns,
            ROWS=tiling.lanes,
            SIZE=self._params.median,
            LOOK=look,
            **_OPTIONS,
        )

    @property
    def _grid_of_pixels(self) -> tuple[int, int, int]:
        return self._tiling.grid[0], triton.cdiv(self._tiling.height, self._tiling.lanes), self._slots

    @property
    def _settled(self) -> float:
        summed = self._params.epsilon**2 * self._tiling.height * self._tiling.width
        return min(summed, torch.finfo(torch.float32).max)


@functools.lru_cache(maxsize=_LEVELS_KEPT)
def level(tiling: Tiling, slots: int, params: TVL1Params, device: torch.device, stream: int) -> LevelSolver:  # noqa: ARG001
    """A level with its memory and its graphs, kept for the next pairs that are like these.

    Each takes about the share of the L2 cache that its pairs are meant to fill, and half as much again. Work on one
    stream is done in order; another stream, whose work is not, gets a level of its own.
    """
    return LevelSolver(tiling, slots, params, device)


def _segments(params: TVL1Params) -> list[tuple[int, int]]:
    """First and last iteration of what is launched without a look at the pairs; none reaches over two blocks."""
    segments = []
    for block in range(params.outer_iterations):
        start, stop = block * params.inner_iterations, (block + 1) * params.inner_iterations
        for first in range(start, stop, _ITERATIONS_A_LOOK):
            segments.append((first + 1, min(first + _ITERATIONS_A_LOOK, stop)))
    return segments


def _is_measured(iteration: int, params: TVL1Params) -> bool:
    return params.epsilon > 0 and iteration > 0 and iteration % params.check_every == 0
