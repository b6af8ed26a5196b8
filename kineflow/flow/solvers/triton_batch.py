"""TV-L1 on a GPU, in Triton: a batch of pairs at once, one fused kernel an iteration.

An iteration moves 60 bytes a pixel (64 when 1/|∇I1|² is stored) and computes little, so what counts is where they come
from. The pairs of a batch are solved level by level, and on each level as many of them together as leave what an
iteration touches (5.4 MB a pair at 340×256) in the L2 cache: few on the fine levels, many on the coarse ones, so that
every launch has about the same work. A pair stops by itself, on the iteration of the stop rule, and the host learns of
it late or never (:mod:`kineflow.flow.solvers.triton_level`); its programs then return at once.

Same algorithm as :mod:`kineflow.flow.solvers.portable`, to rounding; the same on every run, since nothing is summed in
an order that varies; and a pair's flow does not depend on its batch.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from kineflow.flow.solvers.imaging import resize_bilinear
from kineflow.flow.solvers.pyramid import pyramid
from kineflow.spec.tvl1 import TVL1Params

_MEDIANS = (1, 3, 5)
_L2_SHARE = 0.75  # of the cache for the pairs at work; not yet tuned on a GPU
_STRIPS_A_PROCESSOR = 4  # at least, also where the cache is too small for so many pairs; not yet tuned either
_INTERPRETED_PAIRS = 3
_PIXELS_AT_ONCE = 1 << 25  # of the pairs whose pyramids are held together: about 1.5 GB


def why_not(params: TVL1Params, device: torch.device) -> str:
    """Why this solver cannot do ``params`` on ``device``; empty when it can."""
    if params.gamma:
        return "it does not estimate a change of brightness (gamma is not 0)"
    if params.median not in _MEDIANS:
        return f"its median windows are {', '.join(map(str, _MEDIANS))}, not {params.median}"
    if device.type == "cuda":
        return ""
    from kineflow.flow.solvers.triton_kernels import interpreted

    return "" if device.type == "cpu" and interpreted() else f"it needs a CUDA device, not {device}"


def solve(first: Tensor, second: Tensor, params: TVL1Params) -> Tensor:
    """Flow from ``first`` to ``second``, grey frames [N, H, W] on one device: float32 [N, 2, H, W] there."""
    flow, _ = solve_counted(first, second, params)
    return flow


def solve_counted(
    first: Tensor, second: Tensor, params: TVL1Params, *, working_set_bytes: int | None = None
) -> tuple[Tensor, Tensor]:
    """Flow as of :func:`solve`, and the work that each pair was.

    Args:
        first, second: Grey frames [N, H, W] on one device.
        params: What :func:`why_not` has no objection to.
        working_set_bytes: Of the pairs solved together; by default what the L2 cache holds.

    Returns:
        Flow float32 [N, 2, H, W], and pixel-iterations int64 [N]: pixels × iterations, over all levels and warps.
    """
    count, height, width = first.shape
    flow = torch.empty(count, 2, height, width, dtype=torch.float32, device=first.device)
    work = torch.zeros(count, dtype=torch.int64, device=first.device)
    chunk = max(1, _PIXELS_AT_ONCE // (height * width))
    with torch.inference_mode(), _current(first.device):
        for start in range(0, count, chunk):
            part = slice(start, start + chunk)
            flow[part], work[part] = _coarse_to_fine(
                first[part].float()[:, None], second[part].float()[:, None], params, working_set_bytes
            )
    return flow, work


def _coarse_to_fine(
    first: Tensor, second: Tensor, params: TVL1Params, working_set_bytes: int | None
) -> tuple[Tensor, Tensor]:
    """Solve every level of the pyramid: frames [N, 1, H, W] give flow [N, 2, H, W] and pixel-iterations [N]."""
    levels = pyramid(first, second, params)
    coarsest = levels[-1][0]
    flow = coarsest.new_zeros(len(coarsest), 2, *coarsest.shape[2:])
    work = torch.zeros(len(coarsest), dtype=torch.int64, device=coarsest.device)
    for index, (first, second) in reversed(list(enumerate(levels))):
        work += _solve_level(first[:, 0], second[:, 0], flow, params, working_set_bytes) * flow[0, 0].numel()
        if index:
            height, width = levels[index - 1][0].shape[2:]
            flow = resize_bilinear(flow, (height, width)).mul_(1 / params.scale_step)
    return flow, work


def _solve_level(
    first: Tensor, second: Tensor, flow: Tensor, params: TVL1Params, working_set_bytes: int | None
) -> Tensor:
    """Improve ``flow`` [N, 2, H, W] in place, some pairs at a time; the iterations that each made, int32 [N]."""
    from kineflow.flow.solvers.triton_level import Tiling, level

    count, height, width = first.shape
    tiling = Tiling.of(height, width)
    # A power of two for few pairs, so that batches of many sizes need few graphs; an empty slot costs next to nothing.
    slots = min(_slots(tiling.bytes_in_use, tiling.strips, first.device, working_set_bytes), _power_of_two(count))
    stream = torch.cuda.current_stream(first.device).cuda_stream if first.is_cuda else 0
    room = level(tiling, slots, params, first.device, stream)
    parts = [slice(start, start + slots) for start in range(0, count, slots)]
    return torch.cat([room.solve(first[part], second[part], flow[part]) for part in parts])


def _slots(bytes_a_pair: int, strips_a_pair: int, device: torch.device, working_set_bytes: int | None) -> int:
    """Pairs to solve together."""
    if device.type != "cuda":
        return _INTERPRETED_PAIRS
    gpu = torch.cuda.get_device_properties(device)
    if working_set_bytes is None:
        working_set_bytes = int(_L2_SHARE * gpu.L2_cache_size)
    busy = -(-_STRIPS_A_PROCESSOR * gpu.multi_processor_count // strips_a_pair)
    return max(1, busy, working_set_bytes // bytes_a_pair)


def _power_of_two(at_least: int) -> int:
    return 1 << (at_least - 1).bit_length()


def _current(device: torch.device) -> AbstractContextManager[None]:
    """Triton launches on the current GPU."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
