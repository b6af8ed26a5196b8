"""TV-L1 optical flow (Zach, Pock and Bischof, DAGM 2007; Sánchez, Meinhardt-Llopis and Facciolo, IPOL 2013).

Between two frames I0 and I1 it looks for the flow u that minimises

    ∫ |∇u1| + |∇u2| + λ |ρ(u)| dx      with  ρ(u) = I1(x + u0) + ∇I1(x + u0)·(u - u0) - I0(x),

where u0 is the last estimate. Coarse to fine, each level warps I1 a few times and between warps alternates a
pointwise threshold on ρ with a step on the dual p of the total variation. All pairs of a batch run in lockstep; one
that has met the stop rule leaves the batch, so its result does not depend on its neighbours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from kineflow.errors import KineflowError
from kineflow.flow.cubic import OPENCV_SHARPNESS, Border, CubicSampler
from kineflow.flow.imaging import central_gradient, gaussian_blur, median_filter, resize_bilinear

_LEAST_SIDE = 16  # a level with a shorter side is left out
_LEAST_SQUARED_GRADIENT = torch.finfo(torch.float32).eps
_CPU_CHUNK_PIXELS = 1 << 17  # pairs of one lockstep batch on a CPU: few enough to stay near its caches


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
iterations a warp, for whole data sets (end-point error on film within 4 % of the full rule's, at a fraction of the cost
where motion is fast). ``fast``: a fixed 8 iterations, for small frames that move by up to 4 px."""


def tvl1_flow(
    first: Tensor, second: Tensor, params: TVL1Params | None = None, *, device: torch.device | str | None = None
) -> Tensor:
    """Flow from ``first`` to ``second``: first(x) = second(x + flow(x)), so content that moves right has u > 0.

    Args:
        first, second: Grey frames, uint8 or float in 0..255, [N, H, W]; never changed.
        params: By default OpenCV's on the CPU.
        device: Where to compute and to leave the result; by default where ``first`` is.

    Returns:
        float32 [N, 2, H, W] in pixels: channel 0 is u (right), channel 1 is v (down).

    Raises:
        KineflowError: The frames differ in shape, are not [N, H, W], or a side is 0.
    """
    if first.dim() != 3 or first.shape != second.shape or 0 in first.shape[1:]:
        raise KineflowError(
            f"two stacks of grey frames [N, H, W] were expected, not {list(first.shape)} and {list(second.shape)}"
        )
    params = params or TVL1Params()
    device = torch.device(device or first.device)
    count, height, width = first.shape
    chunk = max(1, _CPU_CHUNK_PIXELS // (height * width)) if device.type == "cpu" else max(1, count)
    flow = torch.empty(count, 2, height, width, dtype=torch.float32, device=device)
    for start in range(0, count, chunk):
        part = slice(start, start + chunk)
        with torch.inference_mode():
            solved = _coarse_to_fine(_as_float(first[part], device), _as_float(second[part], device), params)
        flow[part] = solved[:, :2]
    return flow


def _as_float(frames: Tensor, device: torch.device) -> Tensor:
    return frames.to(device=device, dtype=torch.float32)[:, None]


def _coarse_to_fine(first: Tensor, second: Tensor, params: TVL1Params) -> Tensor:
    """Solve every level of the pyramid: frames [N, 1, H, W] give fields [N, 2 or 3, H, W]."""
    if params.presmoothing:
        first, second = gaussian_blur(first, params.presmoothing), gaussian_blur(second, params.presmoothing)
    levels = _pyramid(first, second, params)
    coarsest = levels[-1][0]
    fields = coarsest.new_zeros(coarsest.shape[0], 3 if params.gamma else 2, *coarsest.shape[2:])
    for level, (first, second) in reversed(list(enumerate(levels))):
        fields = _solve_level(first, second, fields, params)
        if level:
            height, width = levels[level - 1][0].shape[2:]
            fields = resize_bilinear(fields, (height, width))
            fields[:, :2].mul_(1 / params.scale_step)
    return fields


def _pyramid(first: Tensor, second: Tensor, params: TVL1Params) -> list[tuple[Tensor, Tensor]]:
    """Both frames at each level, finest first."""
    levels = [(first, second)]
    step = 1 / params.scale_step
    while len(levels) < params.scales:
        height, width = (round(side * params.scale_step) for side in levels[-1][0].shape[2:])
        if min(height, width) < _LEAST_SIDE:
            break
        first, second = (resize_bilinear(frame, (height, width), step_px=(step, step)) for frame in levels[-1])
        levels.append((first, second))
    return levels


class _Linearised(NamedTuple):
    """The data term around u0, divided by the squared gradient of I1: ρ(u)/|∇I1|² = constant + Σ slope·u.

    With a brightness field, ρ has a third slope γ, which OpenCV leaves out of the divisor; so do we.

    Attributes:
        constant: [N, 1, H, W].
        slope: [N, C, H, W].
        gradient: [N, C, H, W], of ρ.
    """

    constant: Tensor
    slope: Tensor
    gradient: Tensor

    def first(self, count: int) -> _Linearised:
        return _Linearised(*(values[:count] for values in self))


def _solve_level(first: Tensor, second: Tensor, fields: Tensor, params: TVL1Params) -> Tensor:
    """Improve ``fields`` [N, C, H, W] in place on one level."""
    sampler = CubicSampler(
        torch.cat((second, *central_gradient(second)), dim=1),
        sharpness=params.cubic_sharpness,
        border=params.border,
    )
    count, components, height, width = fields.shape
    dual = fields.new_zeros(count, 2, components, height, width)  # θ·p: derivative along x or y, of each field
    for _ in range(params.warps):
        problem = _linearise(first, sampler.at(fields), fields, params)
        _minimise(fields, dual, problem, params)
    return fields


def _linearise(first: Tensor, warped: Tensor, fields: Tensor, params: TVL1Params) -> _Linearised:
    image, gradient = warped[:, :1], warped[:, 1:]
    residual = image - first - (gradient * fields[:, :2]).sum(1, keepdim=True)
    inverse = (gradient * gradient).sum(1, keepdim=True).clamp_(min=_LEAST_SQUARED_GRADIENT).reciprocal_()
    if params.gamma:
        gradient = torch.cat((gradient, torch.full_like(image, params.gamma)), dim=1)
    return _Linearised(residual * inverse, gradient * inverse, gradient.contiguous())


def _minimise(fields: Tensor, dual: Tensor, problem: _Linearised, params: TVL1Params) -> None:
    """Iterate until every pair has met the stop rule or the iterations are spent, in place.

    The pairs still at work are always the first ones: a pair that is done changes places with one that is not.
    """
    count = fields.shape[0]
    order = torch.arange(count, device=fields.device)
    settled = params.epsilon * (fields[0, 0].numel() ** 0.5)
    active, since_check = count, 0
    for _ in range(params.outer_iterations):
        if params.median > 1:
            fields[:active] = median_filter(fields[:active], params.median)
        iterate = _iteration(fields[:active], dual[:active], problem.first(active), params)
        for _ in range(params.inner_iterations):
            update = iterate()
            since_check += 1
            if not params.epsilon or since_check < params.check_every:
                continue
            since_check = 0
            going_on = torch.linalg.vector_norm(update, dim=(1, 2, 3)) > settled
            remaining = int(going_on.sum())
            if remaining == 0:
                active = 0
                break
            if remaining < active:
                _move_to_front(going_on, remaining, moved=(*problem,), swapped=(fields, dual, order))
                active = remaining
                iterate = _iteration(fields[:active], dual[:active], problem.first(active), params)
        if active == 0:
            break
    if params.epsilon:
        _restore_order(order, fields, dual)


def _iteration(fields: Tensor, dual: Tensor, problem: _Linearised, params: TVL1Params) -> Callable[[], Tensor]:
    """One iteration on fields [N, C, H, W] and their dual [N, 2, C, H, W], in place.

    Views and buffers are made once; the function returned may be called often. It returns the update of the fields,
    which the next call overwrites.
    """
    limit, slope_of_norm = params.lambda_ * params.theta, params.tau / params.theta
    constant, slope, gradient = problem
    residual, update, norm = torch.empty_like(constant), torch.empty_like(fields), torch.empty_like(fields)
    differences = torch.zeros_like(dual)  # the last column and row stay 0
    dual_x, dual_y = dual[:, 0], dual[:, 1]
    difference_x, difference_y = differences[:, 0], differences[:, 1]
    terms = [(slope[:, c : c + 1], fields[:, c : c + 1]) for c in range(fields.shape[1])]
    one = torch.ones((), device=fields.device)

    def iterate() -> Tensor:
        # Threshold on ρ: v = u - ∇ρ·clamp(ρ/|∇ρ|², ±λθ)
        torch.addcmul(constant, *terms[0], out=residual)
        for factor, field in terms[1:]:
            residual.addcmul_(factor, field)
        residual.clamp_(-limit, limit)
        # u = v + θ div p, backward differences
        torch.add(dual_x, dual_y, out=update)
        update[..., 1:].sub_(dual_x[..., :-1])
        update[..., 1:, :].sub_(dual_y[..., :-1, :])
        update.addcmul_(gradient, residual, value=-1)
        fields.add_(update)
        # p = (p + τ/θ ∇u) / (1 + τ/θ |∇u|), forward differences; the dual holds θ·p
        torch.sub(fields[..., 1:], fields[..., :-1], out=difference_x[..., :-1])
        torch.sub(fields[..., 1:, :], fields[..., :-1, :], out=difference_y[..., :-1, :])
        torch.mul(difference_x, difference_x, out=norm)
        norm.addcmul_(difference_y, difference_y).sqrt_()
        torch.add(one, norm, alpha=slope_of_norm, out=norm)
        dual.add_(differences, alpha=params.tau)
        dual.div_(norm[:, None])
        return update

    return iterate


def _move_to_front(going_on: Tensor, remaining: int, *, moved: tuple[Tensor, ...], swapped: tuple[Tensor, ...]) -> None:
    """Let pairs that go on change places with finished ones before them; those of ``moved`` need not be kept."""
    finished = (~going_on[:remaining]).nonzero().flatten()
    later = going_on[remaining:].nonzero().flatten() + remaining
    for values in moved:
        values[finished] = values[later]
    for values in swapped:
        kept = values[finished]
        values[finished] = values[later]
        values[later] = kept


def _restore_order(order: Tensor, *arrays: Tensor) -> None:
    """Undo the exchanges: row i of each array belongs to pair ``order[i]``."""
    places = order.argsort()
    if bool((places == torch.arange(len(order), device=order.device)).all()):
        return
    for values in arrays:
        values.copy_(values[places])
