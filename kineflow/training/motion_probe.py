"""Motion probes: how well optical flow can be decoded from a frozen network (D3D, Stroud et al., WACV 2020).

A decoder (:mod:`kineflow.models.flow_decoder`) learns TV-L1 flow from the features of one stage, at their resolution.
The network in front of it never changes, so that the decoder's end-point error tells what the network knows of motion.
Chosen here: the loss is the end-point error itself (or L1), a time step of features is compared with the mean of the
flow frames that it spans, and errors are in px of the stored clip, from a frame to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kineflow.models.flow_decoder import create_decoder
from kineflow.models.stage_names import DecoderName
from kineflow.models.stages import channels_of_stage, features_at, features_at_each
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.quantise import scale_to_px
from kineflow.storage.errors import KineflowError
from kineflow.training.optimisers import build_optimiser, build_schedule
from kineflow.training.settings import OptimiserSettings
from kineflow.training.tasks import Batch, Losses, network_input, on_device

ProbeLoss = Literal["end_point", "l1"]

_STILL_VALUES = (127, 128)  # the two around the middle of 0..255


class MotionProbe(nn.Module):
    """A task whose decoder learns flow from a frozen network's features.

    Batches hold the network's modality and ``flow``. As in every task, ``network`` is what learns and what is kept: the
    decoder, whose inputs are features.

    Args:
        backbone: S3D or S3D-G; it is frozen, and stays in evaluation mode.
        preprocessing: Of the clips that the backbone sees.
        stage: Whose features are decoded; see :data:`kineflow.models.stages.STAGES`.
        decoder: Which decoder, made anew.
        bound_px: Of the flow set.
        loss: ``end_point``, mean length of the error, or ``l1``, mean of |error in u| + |error in v|.

    Raises:
        KineflowError: The backbone has no such stage, or no decoder has this name.
    """

    def __init__(
        self,
        backbone: nn.Module,
        preprocessing: Preprocessing,
        *,
        stage: str,
        decoder: DecoderName,
        bound_px: float,
        loss: ProbeLoss = "end_point",
    ) -> None:
        super().__init__()
        self.backbone = backbone.eval().requires_grad_(False)
        self.network = create_decoder(decoder, channels_of_stage(backbone, stage))
        self.preprocessing, self.stage, self.bound_px, self.penalty = preprocessing, stage, bound_px, loss

    def train(self, mode: bool = True) -> Self:
        """Set the decoder's mode; the backbone's never changes."""
        super().train(mode)
        self.backbone.eval()
        return self

    def inputs(self, batch: Batch) -> Tensor:
        """Features [B,F,T',H',W'] of the clips, without a gradient."""
        with torch.no_grad():
            return features_at(self.backbone, network_input(batch, self.preprocessing), self.stage)

    def decode(self, batch: Batch, features: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Decoded and true flow, px, float32 [B,2,T',H',W'] each; ``features`` are :meth:`inputs` where at hand."""
        decoded = self.network(self.inputs(batch) if features is None else features).float()
        return decoded, flow_target(batch["flow"], decoded.shape[2:], bound_px=self.bound_px)

    def loss(self, batch: Batch, features: Tensor | None = None) -> Losses:
        """Scalar ``loss`` to be minimised, and the ``end_point_error`` in px; see :meth:`decode`."""
        decoded, target = self.decode(batch, features)
        errors = end_point_errors(decoded, target).mean()
        loss = errors if self.penalty == "end_point" else (decoded - target).abs().sum(dim=1).mean()
        return {"loss": loss, "end_point_error": errors.detach()}


def features_for(probes: Sequence[MotionProbe], batch: Batch) -> list[Tensor]:
    """What :meth:`MotionProbe.inputs` gives for each of some probes of one network, by one pass through it.

    Raises:
        KineflowError: They are of several networks.
    """
    first = probes[0]
    if any(probe.backbone is not first.backbone for probe in probes):
        raise KineflowError("motion probes of several networks share no features", remedy="probe networks one by one")
    with torch.no_grad():
        clips = network_input(batch, first.preprocessing)
        features = features_at_each(first.backbone, clips, {probe.stage for probe in probes})
    return [features[probe.stage] for probe in probes]


def fit_decoders(
    probes: Sequence[MotionProbe], batches: Iterable[Batch], *, steps: int, settings: OptimiserSettings
) -> list[list[float]]:
    """Train the decoders of probes of one network in place, and leave the probes in evaluation mode.

    All see the same batches, and the network sees each batch once; each decoder learns as it would alone. Decoders are
    small and their training short: there are no checkpoints, and the last weights are kept.

    Args:
        probes: On the device where they are to learn.
        batches: At least ``steps`` of them.
        steps: Of the optimiser.
        settings: The optimiser and its schedule.

    Returns:
        End-point error of each probe and each step's batch before the step, px.

    Raises:
        KineflowError: A loss became infinite or NaN, batches ran out, or the probes are of several networks.
    """
    device = next(probes[0].network.parameters()).device
    optimisers = [build_optimiser(probe.network, settings) for probe in probes]
    schedules = [build_schedule(optimiser, settings, steps=steps) for optimiser in optimisers]
    errors: list[list[float]] = [[] for _ in probes]
    done = 0
    for probe in probes:
        probe.train()
    for batch in islice(batches, steps):
        moved = on_device(batch, device)
        probe_features = features_for(probes, moved)
        for probe, features, optimiser, schedule, course in zip(
            probes, probe_features, optimisers, schedules, errors, strict=True
        ):
            losses = probe.loss(moved, features)
            if not torch.isfinite(losses["loss"]):
                raise KineflowError(
                    f"the loss of a motion probe became {losses['loss'].item()} at step {done}",
                    remedy="lower the learning rate, or set clip_gradient_norm",
                )
            optimiser.zero_grad()
            losses["loss"].backward()  # type: ignore[no-untyped-call]
            if settings.clip_gradient_norm:
                nn.utils.clip_grad_norm_(probe.network.parameters(), settings.clip_gradient_norm)
            optimiser.step()
            schedule.step()
            course.append(losses["end_point_error"].item())
        done += 1
    for probe in probes:
        probe.eval()
    if done < steps:
        raise KineflowError(f"{done} batches for {steps} steps", remedy="draw more batches, or take fewer steps")
    return errors


def flow_px(flow: Tensor, bound_px: float) -> Tensor:
    """Flow 0..255 to px, float32 of the same shape; the two values around the middle are no motion.

    255 is odd, so that no value means 0: still pixels are stored as 128, half a step off, and as 127 once a clip is
    mirrored. Taken literally, a step's worth of motion would be everywhere, and mirroring would turn it round.
    """
    px = scale_to_px(flow.float(), bound_px)
    still, mirrored = (flow == value for value in _STILL_VALUES)
    return px.masked_fill(still | mirrored, 0.0)


def flow_target(flow: Tensor, size: Iterable[int], *, bound_px: float) -> Tensor:
    """Flow at the resolution of features: resized bilinearly, averaged over the flow frames of each time step.

    Magnitudes stay those of the stored clip, px from a frame to the next, at whatever resolution.

    Args:
        flow: uint8 [B,2,T,H,W], as samples have it.
        size: T', H', W' of the features.
        bound_px: Of the flow set.

    Returns:
        float32 [B,2,T',H',W'].
    """
    steps, height, width = size
    px = flow_px(flow, bound_px)
    over_time = F.adaptive_avg_pool3d(px, (steps, px.shape[3], px.shape[4]))  # [B,2,T',H,W]
    return F.interpolate(over_time, size=(steps, height, width), mode="trilinear", align_corners=False)


def end_point_errors(decoded: Tensor, target: Tensor) -> Tensor:
    """√((u - u*)² + (v - v*)²) of each cell: [B,2,T,H,W] twice → [B,T,H,W]. A perfect cell has a gradient of 0."""
    errors: Tensor = torch.linalg.vector_norm(decoded - target, dim=1)
    return errors
