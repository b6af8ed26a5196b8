"""TV-L1 in plain PyTorch: the portable reference, on any device and with every parameter.

All pairs of a batch run in lockstep; one that has met the stop rule leaves the batch, so its result does not depend on
its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from kineflow.flow.solvers.cubic import CubicSampler
from kineflow.flow.solvers.imaging import central_gradient, median_filter, resize_bilinear
from kineflow.flow.solvers.pyramid import pyramid
from kineflow.spec.tvl1 import TVL1Params

_LEAST_SQUARED_GRADIENT = torch.finfo(torch.float32).eps
_CPU_CHUNK_PIXELS = 1 << 17  # pairs of one lockstep batch on a CPU: few enough to stay near its caches


def why_not(params: TVL1Params, device: torch.device) -> str:  # noqa: ARG001 (every solver is asked this)
    """Empty: this solver does everything everywhere."""
    return ""


def solve(first: Tensor, second: Tensor, params: TVL1Params) -> Tensor:
    """Flow from ``first`` to ``second``, grey frames [N, H, W] on one device: float32 [N, 2, H, W] there."""
    device, (count, height, width) = first.device, first.shape
    chunk = max(1, _CPU_CHUNK_PIXELS // (height * width)) if device.type == "cpu" else max(1, count)
    flow = torch.empty(count, 2, height, width, dtype=torch.float32, device=device)
    for start in range(0, count, chunk):
        part = slice(start, start + chunk)
        with torch.inference_mode():
            flow[part] = _coarse_to_fine(first[part].float()[:, None], second[part].float()[:, None], params)[:, :2]
    return flow


def _coarse_to_fine(first: Tensor, second: Tensor, params: TVL1Params) -> Tensor:
    """Solve every level of the pyramid: frames [N, 1, H, W] give fields [N, 2 or 3, H, W]."""
    levels = pyramid(first, second, params)
    coarsest = levels[-1][0]
    fields = coarsest.new_zeros(coarsest.shape[0], 3 if params.gamma else 2, *coarsest.shape[2:])
    for level, (first, second) in reversed(list(enumerate(levels))):
        fields = _solve_level(first, second, fields, params)
        if level:
            height, width = levels[level - 1][0].shape[2:]
            fields = resize_bilinear(fields, (height, width))
            fields[:, :2].mul_(1 / params.scale_step)
    return fields


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
