"""In how many bits convolutions and products are computed."""

from __future__ import annotations

import logging

import torch

_LOG = logging.getLogger(__name__)


def reduced_precision(precision: str, device: torch.device) -> torch.dtype | None:
    """What is computed in by :class:`~kineflow.training.settings.RunSettings`'s ``precision``; None: all in float32.

    CPUs have bfloat16 in place of float16. One that cannot multiply it is warned of: it imitates that.
    """
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else None
    if precision == "32":
        return None
    if device.type == "cuda":
        return torch.float16 if precision == "16" else torch.bfloat16
    if not multiplies_bf16():
        _LOG.warning(
            "precision %s: this CPU cannot multiply bfloat16 and imitates it, 2 to 20 times slower than in float32; "
            "precision: 32 avoids that",
            precision,
        )
    return torch.bfloat16


def multiplies_bf16() -> bool:
    """Whether this CPU has instructions for products of bfloat16: AVX512-BF16 or AMX."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
