"""What TV-L1 can be asked for, and the named sets of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from kineflow.storage.errors import KineflowError

Border = Literal["zeros", "clamp"]
OPENCV_SHARPNESS = -0.75
LEAST_SIDE_PX = 16  # a level of the pyramid with a shorter side is left out


@dataclass(frozen=True, kw_only=True)
class TVL1Params:
    """What TV-L1 can be asked for; the defaults are OpenCV's on the CPU.

    Attributes:
        tau: Step on the dual variable, stable up to 0.25.
        lambda_: Weight of the data term, for grey values in 0..255; smaller is smoother.
        theta: Tightness of the coupling between both halves of the problem.
        scales: Levels of the pyramid at most; levels with a side below 16 px are left out.
        scale_step: Size of a level relative to the next finer one, in (0, 1).
        warps: Times that I1 is warped on each level.
        epsilon: A pair stops when its root mean square update, in px, falls to this; 0 runs every iteration.
        outer_iterations: Blocks of iterations a warp; each begins with the median filter.
        inner_iterations: Iterations a block.
        check_every: Iterations between two looks at the stop rule; each costs a GPU a synchronisation.
        median: Side of the median window, px (odd); 1 filters nothing.
        gamma: Weight of an additive change of brightness that is estimated beside the flow; 0 estimates none.
        presmoothing: Sigma of a Gaussian applied to both frames, px; 0 applies none.
        cubic_sharpness: Of the bicubic warp: -0.75 as OpenCV on the CPU, -0.5 for Catmull-Rom.
        border: What a warp sees outside of I1: ``zeros`` or the nearest pixel (``clamp``).
    """

    tau: float = 0.25
    lambda_: float = 0.15
    theta: float = 0.3
    scales: int = 5
    scale_step: float = 0.8
    warps: int = 5
    epsilon: float = 0.01
    outer_iterations: int = 10
    inner_iterations: int = 30
    check_every: int = 1
    median: int = 5
    gamma: float = 0.0
    presmoothing: float = 0.0
    cubic_sharpness: float = OPENCV_SHARPNESS
    border: Border = "zeros"

    def __post_init__(self) -> None:
        least = {"scales": 1, "warps": 1, "outer_iterations": 1, "inner_iterations": 1, "check_every": 1, "median": 1}
        faults = [f"{name} must be at least {low}" for name, low in least.items() if getattr(self, name) < low]
        faults += [f"{name} must be above 0" for name in ("tau", "lambda_", "theta") if not getattr(self, name) > 0]
        not_negative = ("epsilon", "gamma", "presmoothing")
        faults += [f"{name} must not be negative" for name in not_negative if not getattr(self, name) >= 0]
        if not 0 < self.scale_step < 1:
            faults.append("scale_step must lie between 0 and 1")
        if self.median % 2 == 0:
            faults.append("median must be odd")
        if self.border not in ("zeros", "clamp"):
            faults.append("border must be 'zeros' or 'clamp'")
        if faults:
            raise KineflowError("; ".join(faults), where="TV-L1 parameters", remedy="correct these values")

    @classmethod
    def preset(cls, name: str, **changes: object) -> TVL1Params:
        """A named preset (see :data:`PRESETS`), with some values changed."""
        if name not in PRESETS:
            raise KineflowError(f"no TV-L1 preset {name!r}", remedy=f"choose one of {', '.join(PRESETS)}")
        return dataclasses.replace(PRESETS[name], **changes)  # type: ignore[arg-type]


PRESETS: dict[str, TVL1Params] = {
    "opencv": TVL1Params(),
    "cuda": TVL1Params(outer_iterations=1, inner_iterations=300, median=1, cubic_sharpness=-0.5, border="clamp"),
    "capped": TVL1Params(outer_iterations=1, inner_iterations=30),
    "fast": TVL1Params(
        scales=4, scale_step=0.7, warps=4, epsilon=0.0, outer_iterations=1, inner_iterations=8, median=1
    ),
}
"""``opencv``: OpenCV's DualTVL1 on the CPU. ``cuda``: its GPU version. ``capped``: the stop rule with at most 30
iterations a warp, for whole data sets: a tenth of the worst case, and on film of up to 512 px width an end-point error
within 5 % of the full rule's (motions of tens of pixels, in larger frames, need more iterations). ``fast``: a fixed 8
iterations, for small frames that move by up to 4 px."""
