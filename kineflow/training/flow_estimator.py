"""PWC-Net taught by a flow set, for a stream that finds its own flow where no published weights are at hand.

The loss is PWC-Net's (§3): the distance from the true flow at each level of the pyramid, the finest counting most. Its
weights (.32, .08, .02, .01, .005 from coarse to fine, of sums over cells) are written for means over cells here, each
level having four times the cells of the one before.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kineflow.models.pwc_net import PWCNet
from kineflow.storage.errors import KineflowError
from kineflow.training.motion_probe import flow_px
from kineflow.training.optimisers import build_optimiser, build_schedule
from kineflow.training.settings import OptimiserSettings
from kineflow.training.tasks import Batch, on_device

_LEVEL_WEIGHTS = (1 / 9, 1 / 9, 1 / 9, 2 / 9, 4 / 9)


def fit_estimator(
    estimator: PWCNet, batches: Iterable[Batch], *, steps: int, settings: OptimiserSettings, bound_px: float
) -> list[float]:
    """Train an estimator in place from pairs of frames and the flow between them, and leave it in evaluation mode.

    Args:
        estimator: On the device where it is to learn.
        batches: At least ``steps`` of them; each has ``rgb`` [B,3,2,S,S] and ``flow`` levels [B,2,2,S,S], of whose
            frames the first leads from the one frame to the other.
        steps: Of the optimiser.
        settings: The optimiser and its schedule.
        bound_px: Of the flow set.

    Returns:
        End-point error of each step's batch before the step, px, at the finest level.

    Raises:
        KineflowError: The loss became infinite or NaN.
    """
    device = next(estimator.parameters()).device
    optimiser = build_optimiser(estimator, settings)
    schedule = build_schedule(optimiser, settings, steps=steps)
    estimator.train()
    course: list[float] = []
    for batch in islice(batches, steps):
        errors = level_errors(estimator, on_device(batch, device), bound_px=bound_px)
        loss = sum(weight * error for weight, error in zip(_LEVEL_WEIGHTS, errors, strict=True))
        assert isinstance(loss, Tensor)
        if not torch.isfinite(loss):
            raise KineflowError(
                f"the loss of the flow estimator became {loss.item()} at step {len(course)}",
                remedy="lower the learning rate, or set clip_gradient_norm",
            )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if settings.clip_gradient_norm:
            nn.utils.clip_grad_norm_(estimator.parameters(), settings.clip_gradient_norm)
        optimiser.step()
        schedule.step()
        course.append(errors[-1].item())
    estimator.eval()
    return course


def level_errors(estimator: PWCNet, batch: Batch, *, bound_px: float) -> list[Tensor]:
    """Mean end-point error of each level of the estimator, coarse to fine, px; see :func:`fit_estimator`."""
    frames = batch["rgb"].float()
    target = flow_px(batch["flow"][:, :, 0], bound_px)
    return [
        torch.linalg.vector_norm(flow - F.adaptive_avg_pool2d(target, (flow.shape[2], flow.shape[3])), dim=1).mean()
        for flow in estimator.estimates(frames[:, :, 0], frames[:, :, 1])
    ]
