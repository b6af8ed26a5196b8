"""What a GPU can do at most, measured by kernels that do nothing else: copies in memory and in L2, fp32 arithmetic."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
import triton
import triton.language as tl

_BLOCK = 1024
_CHAINS = 8  # independent sums a thread, enough to hide the latency of an addition


@dataclass(frozen=True)
class Ceilings:
    """Bytes are counted read and written, flops with two for a fused multiply-add."""

    memory_bytes_per_s: float
    l2_bytes_per_s: float
    flops_per_s: float


def ceilings(repeats: int = 20) -> Ceilings:
    """Of the current GPU: the median of repeats."""
    gpu = torch.cuda.get_device_properties(torch.cuda.current_device())
    large = torch.empty(1 << 28, device="cuda")
    into = torch.empty_like(large)
    memory = seconds(lambda: into.copy_(large), repeats)

    blocks = gpu.L2_cache_size // 8 // (4 * _BLOCK)  # a quarter of the cache for both arrays
    small, to, rounds = large[: blocks * _BLOCK], into[: blocks * _BLOCK], 64
    l2 = seconds(lambda: copy_again[(blocks,)](small, to, blocks, rounds, BLOCK=_BLOCK, num_warps=4), repeats)

    programs, steps = 16 * gpu.multi_processor_count, 4096
    arithmetic = seconds(
        lambda: multiply_add[(programs,)](
            to, steps, 0.999, BLOCK=256, CHAINS=_CHAINS, num_warps=8, enable_fp_fusion=True
        ),
        repeats,
    )
    return Ceilings(
        memory_bytes_per_s=2 * 4 * large.numel() / memory,
        l2_bytes_per_s=2 * 4 * small.numel() * rounds / l2,
        flops_per_s=2.0 * programs * 256 * _CHAINS * steps / arithmetic,
    )


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median GPU time of some work, after one run that does not count."""
    work()
    spent = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        spent.append(start.elapsed_time(end) / 1000)
    return statistics.median(spent)


@triton.jit
def copy_again(source, target, blocks, rounds, BLOCK: tl.constexpr):
    """Copy an array ``rounds`` times; each program another block each time, past L1."""
    for turn in range(rounds):
        at = ((tl.program_id(0) + turn * 7) % blocks) * BLOCK + tl.arange(0, BLOCK)
        tl.store(target + at, tl.load(source + at, cache_modifier=".cg"), cache_modifier=".cg")


@triton.jit
def multiply_add(target, steps, factor, BLOCK: tl.constexpr, CHAINS: tl.constexpr):
    """``steps`` fused multiply-adds on each of BLOCK × CHAINS values a program."""
    values = tl.arange(0, BLOCK * CHAINS).to(tl.float32)
    for _step in range(steps):
        values = values * factor + 1.0
    tl.store(target + tl.arange(0, BLOCK * CHAINS), values)
