"""What motion probes say: the end-point error of decoded flow, beside the errors that tell what it is worth.

A probe is compared, clip by clip, with the answer that nothing moves, whose error is the mean magnitude of the flow,
and with a decoder that has learnt from an untrained network: what is decoded there is due to the decoder and to the
layout of the network. All intervals are normal approximations over clips, taken as independent; clips of one group
resemble each other, so that true uncertainty is larger.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from kineflow.data.dataset import Sample
from kineflow.evaluation.intervals import CONFIDENCE
from kineflow.storage.errors import KineflowError
from kineflow.training.motion_probe import MotionProbe, end_point_errors, features_for
from kineflow.training.tasks import on_device

Errors = NDArray[np.float64]


@dataclass(frozen=True)
class Mean:
    """A mean over clips, px, with its 95 % interval; of a single clip the interval is unbounded."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ProbeErrors:
    """End-point error of each clip, px, float64 [N]: the mean over its cells.

    Attributes:
        decoded: Of the probe's answer.
        still: Of the answer that nothing moves, at the same resolution.
    """

    decoded: Errors
    still: Errors


@dataclass(frozen=True)
class ProbeSummary:
    """The figures of one probe, px.

    Attributes:
        clips: How many were decoded.
        error: End-point error; lower is more motion in the features.
        still: That of predicting no motion, which is the mean magnitude of the flow.
        gain_over_still: ``still`` less ``error``, paired by clip: above 0, motion is decoded.
        gain_over_untrained: Error of a decoder on an untrained network less ``error``, paired; None without one.
        gain_over_baseline: The same of another network, a student's plain twin; None without one.
    """

    clips: int
    error: Mean
    still: Mean
    gain_over_still: Mean
    gain_over_untrained: Mean | None = None
    gain_over_baseline: Mean | None = None


def errors_of_each(
    probes: Sequence[MotionProbe],
    clips: Dataset[Sample],
    *,
    batch_size: int,
    device: torch.device | str = "cpu",
    workers: int = 0,
) -> list[ProbeErrors]:
    """Decode the flow of every clip by each of some probes of one network, and measure it.

    Args:
        probes: Are moved to ``device`` and set to evaluation mode.
        clips: Samples that hold the probes' modality and ``flow``, as :class:`~kineflow.data.dataset.ClipDataset` does.
        batch_size: Clips a forward pass.
        device: Where the probes run.
        workers: Decoding processes beside this one. Makes no difference to the errors.

    Returns:
        Errors of each probe, in the order of ``clips``.

    Raises:
        KineflowError: A clip or its flow cannot be read, or the probes are of several networks.
    """
    for probe in probes:
        probe.to(device).eval()
    decoded_errors: list[list[torch.Tensor]] = [[] for _ in probes]
    still_errors: list[list[torch.Tensor]] = [[] for _ in probes]
    with torch.inference_mode():
        for batch in DataLoader(clips, batch_size=batch_size, num_workers=workers):
            moved = on_device(batch, torch.device(device))
            for number, features in enumerate(features_for(probes, moved)):
                decoded, target = probes[number].decode(moved, features)
                decoded_errors[number].append(end_point_errors(decoded, target).mean(dim=(1, 2, 3)).cpu())
                still_errors[number].append(
                    end_point_errors(torch.zeros_like(target), target).mean(dim=(1, 2, 3)).cpu()
                )
    return [
        ProbeErrors(_per_clip(decoded), _per_clip(still))
        for decoded, still in zip(decoded_errors, still_errors, strict=True)
    ]


def summarise_probe(
    errors: ProbeErrors, untrained: ProbeErrors | None = None, baseline: ProbeErrors | None = None
) -> ProbeSummary:
    """Headline figures of a probe.

    Args:
        errors: Of the probe.
        untrained: On the same clips, of the same decoder and stage, trained on a network with random weights.
        baseline: The same of another trained network.

    Raises:
        KineflowError: There is no clip, or the errors are not of the same clips.
    """
    return ProbeSummary(
        clips=len(errors.decoded),
        error=mean_over_clips(errors.decoded),
        still=mean_over_clips(errors.still),
        gain_over_still=mean_over_clips(errors.still - errors.decoded),
        gain_over_untrained=None if untrained is None else _gain(errors, untrained),
        gain_over_baseline=None if baseline is None else _gain(errors, baseline),
    )


def _gain(errors: ProbeErrors, other: ProbeErrors) -> Mean:
    if not np.array_equal(other.still, errors.still):
        raise KineflowError(
            "two motion probes were measured on different clips, or at different resolutions",
            remedy="measure both on the same clips, and at the same stage",
        )
    return mean_over_clips(other.decoded - errors.decoded)


def mean_over_clips(values: Errors) -> Mean:
    """Mean ± z · s.e. of values [N], of differences of paired clips as well.

    Raises:
        KineflowError: There is no clip.
    """
    if not len(values):
        raise KineflowError("a motion probe was measured on no clip", remedy="choose another split")
    value = float(values.mean())
    if len(values) == 1:
        return Mean(value, -math.inf, math.inf)
    half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * float(values.std(ddof=1)) / len(values) ** 0.5
    return Mean(value, value - half, value + half)


def _per_clip(parts: list[torch.Tensor]) -> Errors:
    return torch.cat(parts).double().numpy() if parts else np.zeros(0)
