"""Features of any layer of S3D and S3D-G: run a clip up to a named stage, and from there on.

A network is a row of stages (:data:`STAGES`), so that what lies between two of them is had by stopping there: nothing
is hooked, and what no one asked for is not computed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, get_args

from torch import Tensor, nn

from kineflow.models.s3d import S3D, Mixed
from kineflow.models.stage_names import S3D_NETWORKS, StageName
from kineflow.storage.errors import KineflowError

STAGES: tuple[StageName, ...] = get_args(StageName)  # in the order in which a clip passes them


def stages_of(network: nn.Module) -> tuple[str, ...]:
    """Names of the stages that ``network`` has: all of :data:`STAGES`, or those up to its ``last_stage``.

    Raises:
        KineflowError: It is neither S3D nor S3D-G.
    """
    return STAGES[: len(_s3d(network).features)]


def features_at(network: nn.Module, clips: Tensor, stage: str) -> Tensor:
    """Run normalised clips [B,C,T,H,W] up to and through ``stage``: [B,F,T',H',W'].

    Raises:
        KineflowError: The network is not S3D, or ends before ``stage``.
    """
    return _s3d(network).through(clips, last=_depth(network, stage))


def features_at_each(network: nn.Module, clips: Tensor, stages: Collection[str]) -> dict[str, Tensor]:
    """:func:`features_at` of several stages by one pass through the network, in the order of the stages.

    Raises:
        KineflowError: As :func:`features_at`.
    """
    wanted = {_depth(network, stage): stage for stage in stages}
    features_by_stage: dict[str, Tensor] = {}
    features = clips
    for depth in range(1, max(wanted, default=0) + 1):
        features = _s3d(network).through(features, depth - 1, depth)
        if depth in wanted:
            features_by_stage[wanted[depth]] = features
    return features_by_stage


def features_from(network: nn.Module, features: Tensor, stage: str) -> Tensor:
    """Run what :func:`features_at` gave for ``stage`` to the end: what ``forward_features`` gives, [B,F,T',H',W'].

    Raises:
        KineflowError: As :func:`features_at`.
    """
    return _s3d(network).through(features, _depth(network, stage))


def channels_of_stage(network: nn.Module, stage: str) -> int:
    """F, the channels of :func:`features_at`.

    Raises:
        KineflowError: As :func:`features_at`.
    """
    channels = 0
    for layer in list(_s3d(network).features)[: _depth(network, stage)]:
        norms = [norm for norm in layer.modules() if isinstance(norm, nn.BatchNorm3d)]  # pools have none
        if norms:
            channels = layer.channels if isinstance(layer, Mixed) else norms[-1].num_features
    return channels


def _depth(network: nn.Module, stage: str) -> int:
    known = stages_of(network)
    if stage not in known:
        raise KineflowError(f"the network has no stage {stage!r}", remedy=f"choose one of: {', '.join(known)}")
    return known.index(stage) + 1


def _s3d(network: Any) -> S3D:
    if not isinstance(network, S3D):
        raise KineflowError(
            f"{type(network).__name__} has no named stages",
            remedy=f"take features of S3D or S3D-G ({', '.join(S3D_NETWORKS)})",
        )
    return network
