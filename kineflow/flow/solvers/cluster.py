"""TV-L1 on a GPU with thread-block clusters (compute capability 9.0): a pair is solved on chip, in one launch.

The kernel is ``cluster.cu``, which begins with what lives where. A cluster of up to 16 blocks, each on a multiprocessor
of its own, holds a level in the shared memory of all its blocks and takes one pair from the coarsest level to the
finest; a batch is as many clusters, which know nothing of each other. The stop rule is decided inside the cluster, so
the host never waits.

Roof on an H200 at 340×256 and 2×10⁷ pixel-iterations a pair, all of it ESTIMATED, nothing measured (132
multiprocessors at 1.8 GHz, 128 B of shared memory and 128 fp32 lanes a clock each; 8 clusters of 16 at a time):

==============================  =============================================  =============================
a pixel-iteration               116 B of shared memory, none elsewhere         0.91 clocks
                                106 instructions (counted in SASS), 128 lanes  0.83 clocks
                                of these 5 sqrt and reciprocals, 16 lanes      0.31 clocks
an iteration of a block         finest level, 16 rows of 340 and a ghost row   5,000 clocks, shared memory
                                coarsest of five levels, 7 rows of 139         900 clocks
its barriers                    1 of the cluster, half hidden; 2 of the block  300 to 600 clocks
its mail                        6 rows of 340 values                           8 kB
a pair: iterations              2×10⁷ pixels over 16 blocks, 0.91 to 1.3       1.1 to 1.6×10⁶ clocks, 0.6 to 0.9 ms
a pair: barriers                500 iterations                                 0.1 to 0.2 ms
a pair: medians                 2.2×10⁶ of 250 comparisons, 64 lanes           0.3 ms
a pair: warps                   1.1×10⁶ pixels of 16 taps of 16 B              0.1 ms
==============================  =============================================  =============================

That is 1.1 to 1.5 ms a pair and, with 8 clusters at a time, 5,300 to 7,300 pairs/s, less PyTorch's pyramid (5 to 10 %).
What to try first, should barriers cost more: ``st.async`` to the mailboxes, whose arrival the receiver counts, in place
of the cluster's barrier, whose release is a fence of the whole device (MEMBAR.ALL.GPU in SASS). Should shared memory or
the issue of instructions be the limit: each thread's own pixels in registers. The median could share sorted columns.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kineflow.flow.solvers import runtime_compile
from kineflow.flow.solvers.imaging import central_gradient
from kineflow.flow.solvers.pyramid import pyramid
from kineflow.spec.tvl1 import TVL1Params
from kineflow.storage.errors import KineflowError

SOURCE = Path(__file__).with_name("cluster.cu")
THREADS = 1024  # of a block: all 64 registers that each then has are used, and hardly any is missing
CLUSTER_SIZES = (1, 2, 4, 8, 16)  # 16 needs the driver's consent, and 16 free multiprocessors side by side
LARGEST_MEDIAN = 5
_WARP = 32
_MAIL_ROWS = 12
_CHUNK_PIXELS = 1 << 25  # of a launch: the packed frames of a pixel take 40 bytes over all levels


def why_not(params: TVL1Params, device: torch.device) -> str:
    """Why this solver cannot do ``params`` on ``device``; empty when it can."""
    if params.gamma:
        return "it has no brightness field (gamma)"
    if params.median > LARGEST_MEDIAN:
        return f"its median reaches to {LARGEST_MEDIAN} px, not {params.median}"
    if device.type != "cuda" or torch.version.cuda is None:
        return "it needs an NVIDIA GPU"
    if torch.cuda.get_device_capability(device) < (9, 0):
        return "it needs thread-block clusters, compute capability 9.0 or newer"
    return runtime_compile.why_not()


def solve(first: Tensor, second: Tensor, params: TVL1Params) -> Tensor:
    """Flow from ``first`` to ``second``, grey frames [N, H, W] on one GPU: float32 [N, 2, H, W] there.

    Raises:
        KineflowError: The frames are so wide that not even the rows that blocks exchange fit on the chip.
    """
    device, (count, height, width) = first.device, first.shape
    flow = torch.empty(count, 2, height, width, dtype=torch.float32, device=device)
    chunk = max(1, _CHUNK_PIXELS // (height * width))
    with torch.cuda.device(device), torch.inference_mode():
        for start in range(0, count, chunk):
            part = slice(start, start + chunk)
            _solve_chunk(first[part], second[part], flow[part], params)
    return flow


def _solve_chunk(first: Tensor, second: Tensor, flow: Tensor, params: TVL1Params) -> None:
    device, (count, height, width) = first.device, first.shape
    kernel, layout = _kernel_for(height, width, params.median, torch.cuda.current_device())
    levels, frames = pack(first, second, params)
    levels = levels.to(device)
    workspace = torch.empty(count * layout.cluster, layout.workspace_floats, dtype=torch.float32, device=device)
    kernel.launch(
        settings(params, levels=len(levels)),
        ctypes.c_void_p(levels.data_ptr()),
        ctypes.c_void_p(frames.data_ptr()),
        ctypes.c_longlong(frames.shape[1]),
        ctypes.c_void_p(flow.data_ptr()),
        ctypes.c_void_p(workspace.data_ptr()),
        ctypes.c_longlong(layout.workspace_floats),
        blocks=count * layout.cluster,
        threads=THREADS,
        shared_bytes=layout.shared_bytes,
    )


@dataclass(frozen=True)
class BlockLayout:
    """Where a block keeps its part of the finest level; the coarser ones need less.

    Attributes:
        cluster: Blocks that share a pair.
        on_chip: How many of dual, flow and data term, in this order, are in shared memory: 0 to 3.
        shared_bytes: Shared memory of a block.
        workspace_floats: What it keeps in global memory instead.
    """

    cluster: int
    on_chip: int
    shared_bytes: int
    workspace_floats: int


def layout_of(
    height: int, width: int, *, cluster: int, on_chip: int, threads: int = THREADS, warp: int = _WARP
) -> BlockLayout:
    """What a block of ``cluster.cu`` needs for frames of this size; ``band_of_block`` there takes the same."""
    rows = -(-height // cluster)
    dual, flow, data_term = 4 * rows * width, 2 * (rows + 1) * width, 3 * (rows + 1) * width
    parts = [dual, flow, data_term]
    sums = _round_up(threads // warp + 2 * cluster + 1, 4)
    shared_floats = sums + _MAIL_ROWS * width + sum(parts[:on_chip])
    return BlockLayout(cluster, on_chip, 4 * shared_floats, _round_up(sum(parts[on_chip:]), 4))


def _round_up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def layouts(height: int, width: int, *, shared_bytes: int) -> Iterator[BlockLayout]:
    """Layouts that fit into the shared memory of a block, best first.

    As much on chip as possible comes first. With everything there, few blocks a pair: they wait less for each other.
    Otherwise many: the fewer pairs at a time, the more of the L2 cache each has.
    """
    for on_chip in (3, 2, 1, 0):
        for cluster in CLUSTER_SIZES if on_chip == 3 else reversed(CLUSTER_SIZES):
            layout = layout_of(height, width, cluster=cluster, on_chip=on_chip)
            if layout.shared_bytes <= shared_bytes:
                yield layout


@functools.lru_cache(maxsize=256)
def _kernel_for(height: int, width: int, median: int, device_index: int) -> tuple[runtime_compile.Kernel, BlockLayout]:
    """The kernel in the best layout that this device, the current one, can run."""
    for layout in layouts(height, width, shared_bytes=runtime_compile.shared_bytes_per_block()):
        macros = definitions(layout, median=median)
        kernel = runtime_compile.load_kernel(SOURCE, "tvl1", macros, device_index)
        if kernel.clusters_at_once(cluster=layout.cluster, threads=THREADS, shared_bytes=layout.shared_bytes):
            return kernel, layout
    raise KineflowError(
        f"frames of {width}×{height} px do not fit on {torch.cuda.get_device_name(device_index)}",
        remedy="choose the solver 'triton'",
    )


def definitions(layout: BlockLayout, *, median: int, threads: int = THREADS) -> runtime_compile.Definitions:
    """The macros that ``cluster.cu`` is compiled with."""
    return ("THREADS", threads), ("CLUSTER", layout.cluster), ("ON_CHIP", layout.on_chip), ("MEDIAN", median)


class _Settings(ctypes.Structure):
    """``Settings`` of ``cluster.cu``."""

    _fields_ = (
        ("levels", ctypes.c_int),
        ("warps", ctypes.c_int),
        ("outer_iterations", ctypes.c_int),
        ("inner_iterations", ctypes.c_int),
        ("check_every", ctypes.c_int),
        ("clamp", ctypes.c_int),
        ("sharpness", ctypes.c_float),
        ("limit", ctypes.c_float),
        ("tau", ctypes.c_float),
        ("tau_over_theta", ctypes.c_float),
        ("settled", ctypes.c_float),
        ("step_up", ctypes.c_float),
    )


def settings(params: TVL1Params, *, levels: int) -> ctypes.Structure:
    """The parameters as the kernel takes them."""
    return _Settings(
        levels=levels,
        warps=params.warps,
        outer_iterations=params.outer_iterations,
        inner_iterations=params.inner_iterations,
        check_every=params.check_every,
        clamp=params.border == "clamp",
        sharpness=params.cubic_sharpness,
        limit=params.lambda_ * params.theta,
        tau=params.tau,
        tau_over_theta=params.tau / params.theta,
        settled=params.epsilon**2,
        step_up=1 / params.scale_step,
    )


def pack(first: Tensor, second: Tensor, params: TVL1Params) -> tuple[Tensor, Tensor]:
    """All that the kernel reads of a batch of pairs, grey frames [N, H, W].

    Returns:
        levels: int32 [levels, 3] on the CPU, finest first: height, width, and first pixel in ``frames``.
        frames: float32 [N, pixels of all levels, 4]: I1, its derivatives along x and y, and I0.
    """
    sizes, packed, start = [], [], 0
    for coarse_first, coarse_second in pyramid(first.float()[:, None], second.float()[:, None], params):
        height, width = coarse_first.shape[-2:]
        sizes.append((height, width, start))
        start += height * width
        channels = (coarse_second, *central_gradient(coarse_second), coarse_first)
        packed.append(torch.stack(channels, dim=-1).view(-1, height * width, 4))
    return torch.tensor(sizes, dtype=torch.int32), torch.cat(packed, dim=1)
