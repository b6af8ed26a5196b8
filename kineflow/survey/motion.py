"""How far things move from one frame to the next: TV-L1 on a sample of pairs, as an extraction would compute it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kineflow.spec.tvl1 import PRESETS, Preset
from kineflow.storage.progress import track
from kineflow.survey.facts import Look

if TYPE_CHECKING:
    from torch import Tensor

QUANTILES = (0.5, 0.9, 0.99, 0.999)
_EVERY_PIXEL = 7  # is kept of a field, to bound memory; prime, so that no column is always left out
_BATCH = 32


@dataclass(frozen=True)
class Motion:
    """|flow| of the sample, in pixels from one frame of the target rate to the next.

    Attributes:
        quantiles_px: At :data:`QUANTILES`, of all pixels of all pairs; zeros where no pair could be seen.
        rms_px: Root mean square of one component.
        centre_share: Of the motion, in the square in the middle of the frame; median over pairs.
        of_clip_px: Median over a clip's pairs of the 99th percentile of |flow|, by the clip's number.
        pairs: How many were looked at.
        cpu_sec_per_pixel: That TV-L1 took, of all threads together; 0 where nothing was solved.
    """

    quantiles_px: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    rms_px: float = 0.0
    centre_share: float = 1.0
    of_clip_px: dict[int, float] = field(default_factory=dict)
    pairs: int = 0
    cpu_sec_per_pixel: float = 0.0

    def at(self, quantile: float) -> float:
        """|flow| in px at one of :data:`QUANTILES`."""
        return self.quantiles_px[QUANTILES.index(quantile)]


def measure_motion(looks: Sequence[Look], *, preset: Preset = "fast") -> Motion:
    """Flow between the frames of every pair.

    Args:
        looks: Those with pairs are the sample.
        preset: Of TV-L1.
    """
    import torch

    from kineflow.flow.tvl1 import tvl1_flow

    by_shape: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = {}
    for number, look in enumerate(looks):
        for pair in look.pairs:
            by_shape.setdefault(pair.shape, []).append((number, pair))
    work = [some[n : n + _BATCH] for some in by_shape.values() for n in range(0, len(some), _BATCH)]
    if not work:
        return Motion()
    warm = torch.zeros(1, 16, 16, dtype=torch.uint8)
    tvl1_flow(warm, warm, PRESETS[preset])  # compiling is no part of what a pair costs
    magnitudes: list[np.ndarray] = []
    shares: list[float] = []
    fast_parts: dict[int, list[float]] = {}
    started, pixels = time.process_time(), 0
    for batch in track(work, total=sum(map(len, work)), what="motion", unit="pair", size=len):
        first, second = (torch.from_numpy(np.stack([pair[n] for _, pair in batch])) for n in (0, 1))
        flow = tvl1_flow(first, second, PRESETS[preset])
        pixels += first.numel()
        lengths = torch.linalg.vector_norm(flow, dim=1)
        shares += _centre_shares(lengths)
        size = lengths.flatten(1)[:, ::_EVERY_PIXEL].numpy()
        magnitudes.append(size.ravel())
        for (number, _), row in zip(batch, size, strict=True):
            fast_parts.setdefault(number, []).append(float(np.quantile(row, 0.99)))
    spent = time.process_time() - started
    together = np.concatenate(magnitudes)
    return Motion(
        tuple(float(value) for value in np.quantile(together, QUANTILES)),
        float(np.sqrt(np.square(together).mean() / 2)),
        float(np.median(shares)) if shares else 1.0,
        {number: float(np.median(values)) for number, values in fast_parts.items()},
        sum(map(len, work)),
        spent / pixels,
    )


def _centre_shares(lengths: Tensor) -> list[float]:
    """Share of |flow| [N, H, W] in the middle square of each field that has any motion."""
    height, width = lengths.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    inside = lengths[:, top : top + side, left : left + side].sum((1, 2))
    whole = lengths.sum((1, 2))
    return [float(share) for share in (inside / whole)[whole > 0]]
