"""TV-L1 optical flow (Zach, Pock and Bischof, DAGM 2007; Sánchez, Meinhardt-Llopis and Facciolo, IPOL 2013).

Between two frames I0 and I1 it looks for the flow u that minimises

    ∫ |∇u1| + |∇u2| + λ |ρ(u)| dx      with  ρ(u) = I1(x + u0) + ∇I1(x + u0)·(u - u0) - I0(x),

where u0 is the last estimate. Coarse to fine, each level warps I1 a few times and between warps alternates a
pointwise threshold on ρ with a step on the dual p of the total variation, until the flow settles.

There is one algorithm and several solvers of it, each for a kind of machine; they agree to rounding.
"""

from __future__ import annotations

import importlib.util
from typing import Protocol, get_args

import torch
from torch import Tensor

from kineflow.spec.tvl1 import Solver, SolverChoice, TVL1Params
from kineflow.storage.errors import KineflowError


def tvl1_flow(
    first: Tensor,
    second: Tensor,
    params: TVL1Params | None = None,
    *,
    device: torch.device | str | None = None,
    solver: SolverChoice = "auto",
) -> Tensor:
    """Flow from ``first`` to ``second``: first(x) = second(x + flow(x)), so content that moves right has u > 0.

    Args:
        first, second: Grey frames, uint8 or float in 0..255, [N, H, W]; never changed.
        params: By default OpenCV's on the CPU.
        device: Where to compute and to leave the result; by default where ``first`` is.
        solver: ``portable`` (PyTorch, anywhere), ``fused`` (compiled for a CPU), ``triton`` or ``cluster`` (GPU);
            ``auto`` for what :func:`choose_solver` chooses.

    Returns:
        float32 [N, 2, H, W] in pixels: channel 0 is u (right), channel 1 is v (down).

    Raises:
        KineflowError: The frames differ in shape, are not [N, H, W], or a side is 0; or the solver named cannot.
    """
    if first.dim() != 3 or first.shape != second.shape or 0 in first.shape[1:]:
        raise KineflowError(
            f"two stacks of grey frames [N, H, W] were expected, not {list(first.shape)} and {list(second.shape)}"
        )
    params = params or TVL1Params()
    device = torch.device(device or first.device)
    check_solver(solver, params, device)
    chosen = choose_solver(params, device) if solver == "auto" else solver
    return _module(chosen).solve(first.to(device), second.to(device), params)


def choose_solver(params: TVL1Params, device: torch.device) -> Solver:
    """The fastest solver that can do ``params`` on ``device``."""
    fastest: Solver = "triton" if device.type == "cuda" else "fused"
    return "portable" if why_not(fastest, params, device) else fastest


def check_solver(
    solver: SolverChoice, params: TVL1Params, device: torch.device | str, *, where: str | None = None
) -> None:
    """See that a solver can do ``params`` on ``device``.

    Raises:
        KineflowError: It cannot; the message says why.
    """
    if solver != "auto" and (reason := why_not(solver, params, torch.device(device))):
        raise KineflowError(f"the solver {solver!r} cannot: {reason}", where=where, remedy="choose 'auto'")


def why_not(solver: Solver, params: TVL1Params, device: torch.device) -> str:
    """Why a solver cannot do ``params`` on ``device``; empty when it can."""
    if solver not in get_args(Solver):
        return f"there are {', '.join(get_args(Solver))}"
    package = _NEEDS.get(solver)
    if package and importlib.util.find_spec(package) is None:
        return f"{package} is not installed"
    return _module(solver).why_not(params, device)


_NEEDS = {"fused": "numba", "triton": "triton"}


class _SolverModule(Protocol):
    def why_not(self, params: TVL1Params, device: torch.device, /) -> str:
        """Why this solver cannot do ``params`` on ``device``; empty when it can."""

    def solve(self, first: Tensor, second: Tensor, params: TVL1Params, /) -> Tensor:
        """Flow [N, 2, H, W] float32 between frames [N, H, W], uint8 or float, on the device they are on."""


def _module(solver: Solver) -> _SolverModule:
    if solver == "fused":
        from kineflow.flow.solvers import fused

        return fused
    if solver == "triton":
        from kineflow.flow.solvers import triton_batch

        return triton_batch
    if solver == "cluster":
        from kineflow.flow.solvers import cluster

        return cluster
    from kineflow.flow.solvers import portable

    return portable
