"""What TV-L1 can be asked for, and the named sets of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from kineflow.storage.config import Params, parse_params
from kineflow.storage.errors import KineflowError

Border = Literal["zeros", "clamp"]
Preset = Literal["opencv", "cuda", "capped", "deep", "fast"]
Solver = Literal["portable", "fused", "triton", "cluster"]
"""What computes it (:mod:`kineflow.flow.tvl1`); the result is the same, to rounding."""
SolverChoice = Literal["auto", "triton", "cluster", "fused", "portable"]

OPENCV_SHARPNESS = -0.75
LEAST_SIDE_PX = 16  # a level of the pyramid with a shorter side is left out


class TVL1Params(Params):
    """What TV-L1 can be asked for; the defaults are OpenCV's on the CPU."""

    tau: float = Field(default=0.25, gt=0, le=0.25)
    """Step on the dual variable; above 0.25 it does not converge."""

    lambda_: float = Field(default=0.15, gt=0)
    """Weight of the data term, for grey values in 0..255; smaller is smoother."""

    theta: float = Field(default=0.3, gt=0)
    """Tightness of the coupling between data term and smoothness."""

    scales: int = Field(default=5, ge=1, le=100)
    """Levels of the pyramid at most; levels with a side below 16 px are left out."""

    scale_step: float = Field(default=0.8, gt=0, lt=1)
    """Size of a level relative to the next finer one."""

    warps: int = Field(default=5, ge=1, le=100)
    """Times that the second frame is warped on each level."""

    epsilon: float = Field(default=0.01, ge=0)
    """A pair stops when its root mean square update, in pixels, falls to this; 0: never."""

    outer_iterations: int = Field(default=10, ge=1, le=1000)
    """Blocks of iterations a warp; each begins with the median filter."""

    inner_iterations: int = Field(default=30, ge=1, le=1000)
    """Iterations a block."""

    check_every: int = Field(default=1, ge=1)
    """Iterations between two looks at the stop rule; each costs a GPU a synchronisation."""

    median: int = Field(default=5, ge=1, le=15)
    """Side of the median window in pixels, odd; 1: no median."""

    gamma: float = Field(default=0.0, ge=0)
    """Weight of an additive change of brightness that is estimated beside the flow; 0: none."""

    presmoothing: float = Field(default=0.0, ge=0, le=10)
    """Sigma in pixels of a Gaussian applied to both frames; 0: none."""

    cubic_sharpness: float = Field(default=OPENCV_SHARPNESS, ge=-1, le=0)
    """Of the bicubic warp: -0.75 as OpenCV on the CPU, -0.5 for Catmull-Rom."""

    border: Border = "zeros"
    """What a warp sees outside of the frame: ``zeros``, or the nearest pixel (``clamp``)."""

    @field_validator("median")
    @classmethod
    def _is_odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd")
        return value


PRESETS: dict[str, TVL1Params] = {
    "opencv": TVL1Params(),
    "cuda": TVL1Params(outer_iterations=1, inner_iterations=300, median=1, cubic_sharpness=-0.5, border="clamp"),
    "capped": TVL1Params(outer_iterations=1, inner_iterations=30),
    "deep": TVL1Params(scales=20, scale_step=0.65, warps=2, outer_iterations=1, inner_iterations=30),
    "fast": TVL1Params(
        scales=4, scale_step=0.7, warps=4, epsilon=0.0, outer_iterations=1, inner_iterations=8, median=1
    ),
}
"""By :data:`Preset`.

``opencv``: OpenCV's DualTVL1 on the CPU. ``cuda``: its GPU version. ``capped``: the stop rule with at most 30
iterations a warp, for whole data sets: a tenth of the worst case, and on film of up to 512 px width an end-point error
within 5 % of the full rule's (motions of tens of pixels, in larger frames, need more iterations). ``deep``: a pyramid
down to 16 px, where OpenCV's five levels end at 41 % of the frame, and two warps a level in place of five: a third of
``capped``'s time, less error where motion is large, a little more where it is small. ``fast``: a fixed 8 iterations,
for small frames that move by up to 4 px."""


def tvl1_params(preset: str = "opencv", /, **changes: object) -> TVL1Params:
    """A preset with some values changed.

    Raises:
        KineflowError: There is no such preset or parameter, or a value is impossible.
    """
    if preset not in PRESETS:
        raise KineflowError(f"no TV-L1 preset {preset!r}", remedy=f"choose one of {', '.join(PRESETS)}")
    return parse_params(TVL1Params, {**PRESETS[preset].model_dump(), **changes}, where="TV-L1")
