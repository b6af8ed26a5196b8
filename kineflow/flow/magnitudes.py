"""How fast stored flow is, and how well its bound fits: what is faster was clipped, what is far slower rounded away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kineflow.sets.flow_file import read_flow
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.quantise import LARGEST_VALUE, dequantise
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError

_MOST_CLIPS = 60
_FIELDS_EACH = 4
_PIXELS_EACH = 20_000
# x264 moves a value by a level or two; zero lies between 127 and 128.
_AT_BOUND_LEVELS = 2
_STILL = (127, 128)
_MUCH_CLIPPED, _MUCH_STILL = 0.01, 0.5
_ROOM = 2.0  # a new bound above the 99.9 % quantile


@dataclass(frozen=True)
class FlowMagnitudes:
    """Of pixels drawn from some clips of a flow set.

    Attributes:
        median_px, p99_px, p999_px: Quantiles of \\|flow\\|, px from a frame to the next, as it was stored.
        clipped_share: Of pixels of which u or v is at the bound.
        still_share: Of pixels of which u and v both are less than a step of the 8 bits from 0.
        bound_px: The bound.
    """

    median_px: float
    p99_px: float
    p999_px: float
    clipped_share: float
    still_share: float
    bound_px: float

    @property
    def metrics(self) -> dict[str, float]:
        """Figures of a step."""
        return {
            "flow_median_px": self.median_px,
            "flow_p99_px": self.p99_px,
            "clipped_share": self.clipped_share,
            "still_share": self.still_share,
        }

    def __str__(self) -> str:
        words = (
            f"|flow| median {self.median_px:.2g} px, 99 % below {self.p99_px:.2g} px, {self.clipped_share:.1%} clipped "
            f"at {self.bound_px:g} px, {self.still_share:.0%} under a step of the 8 bits"
        )
        if self.clipped_share > _MUCH_CLIPPED:
            return f"{words}: raise bound_px"
        fitting = _ROOM * self.p999_px
        if self.still_share > _MUCH_STILL and fitting < self.bound_px / 2:
            return f"{words}: bound_px {fitting:.2g} would keep slow motion"
        return words


def flow_magnitudes(flow_set: FlowSet, *, seed: int = 0) -> FlowMagnitudes | None:
    """Look at a few fields of up to 60 clips; None where no flow can be read.

    Args:
        flow_set: Whose flow.
        seed: Of the draw of clips, fields and pixels.
    """
    rng = np.random.default_rng(seed)
    usable = sorted(clip_id for clip_id, entry in flow_set.entries.items() if entry.status is Status.OK)
    drawn: list[np.ndarray] = []
    for place in np.sort(rng.permutation(len(usable))[:_MOST_CLIPS]):
        fields = flow_set.entries[usable[place]].fields
        wanted = np.unique(np.linspace(0, max(0, fields - 1), _FIELDS_EACH + 2).round().astype(int)[1:-1])
        try:
            levels = read_flow(flow_set.locate(usable[place]), wanted.tolist()).reshape(-1, 2)
        except (KineflowError, OSError):
            continue
        drawn.append(levels[rng.integers(len(levels), size=min(len(levels), _PIXELS_EACH))])
    if not drawn:
        return None
    pixels = np.concatenate(drawn)  # uint8 [pixels, 2]
    speeds = np.linalg.norm(dequantise(pixels, flow_set.bound_px), axis=-1)
    median, p99, p999 = np.quantile(speeds, [0.5, 0.99, 0.999])
    at_bound = (pixels <= _AT_BOUND_LEVELS) | (pixels >= LARGEST_VALUE - _AT_BOUND_LEVELS)
    return FlowMagnitudes(
        median_px=float(median),
        p99_px=float(p99),
        p999_px=float(p999),
        clipped_share=float(at_bound.any(axis=-1).mean()),
        still_share=float(np.isin(pixels, _STILL).all(axis=-1).mean()),
        bound_px=flow_set.bound_px,
    )
