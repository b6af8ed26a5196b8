"""Hand-made statistics of motion in a clip, as networks compute them: no weights, a few dozen numbers.

With a hundred clips a network that learns its features has too little to learn from, and numbers that say how much
moves, how unevenly and how abruptly are hard to beat. They are logarithms of quantiles and means, so that a linear
classifier on them compares ratios, which a nearer camera changes least.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MOTION_STATISTICS, FLOW_STATISTICS, DIRECTION_STATISTICS = 24, 22, 14
"""How many numbers the functions of these names give."""

_LEVELS = 255.0
_LAGS = (1, 2, 4)
_STEP = 1 / 255  # of stored flow, as a share of its bound: half of what one of its 8-bit levels is
_DIRECTIONS = 8


def motion_statistics(grey: Tensor) -> Tensor:
    """How brightness changes over one, two and four time steps: [B,24] of a grey clip [B,T,H,W] in [0, 1].

    Of the absolute differences at each distance: their mean, four quantiles, how much their mean varies over time, and
    of their mean over time the largest and the spread over the picture.
    """
    return torch.cat([_change_statistics(grey, lag) for lag in _LAGS], dim=1)


def _change_statistics(grey: Tensor, lag: int) -> Tensor:
    change = torch.zeros_like(grey)
    if grey.shape[1] > lag:
        change = (grey[:, lag:] - grey[:, :-lag]).abs() * _LEVELS  # [B,T-lag,H,W]
    over_time, over_picture = change.mean(dim=(2, 3)), change.mean(dim=1)
    columns = [
        _log(change.mean(dim=(1, 2, 3)), 1e-3),
        *_log(_quantiles(change.flatten(1), (0.5, 0.75, 0.9, 0.99)), 0.1),
        _log(over_time.std(dim=1, correction=0), 1e-3),
        _log(over_picture.flatten(1).amax(dim=1), 0.1),
        _log(over_picture.flatten(1).std(dim=1, correction=0), 0.1),
    ]
    return torch.stack(columns, dim=1)


def flow_statistics(flow: Tensor) -> Tensor:
    """How things move: [B,22] of the flow of a clip [B,2,T,H,W], as a share of its bound.

    What moves as a whole, the median of each frame, is taken away and counted by itself. Of the rest: quantiles of its
    speed, how much the fastest parts vary, how sharp its edges are and how fast it changes (each also by the amount of
    motion), how many ways it goes at once (entropy of its directions, and length of their mean), and how much comes in
    bursts.
    """
    whole = flow.flatten(3).median(dim=3).values[..., None, None]  # [B,2,T,1,1]
    rest = flow - whole
    speed = rest.norm(dim=1)  # [B,T,H,W]
    of_frames = speed.flatten(2)  # [B,T,H·W]
    amount, mean_speed = flow.norm(dim=1), speed.mean(dim=(2, 3))  # [B,T,H,W], [B,T]
    edges_x, edges_y = (_diff(flow, axis).abs().sum(dim=1) for axis in (4, 3))
    change = _diff(flow, 2).abs().sum(dim=1)
    fast, fastest = _quantiles(of_frames.flatten(0, 1), (0.9, 0.99)).reshape(2, *of_frames.shape[:2]).unbind()
    entropy, agreement = _directions(rest, speed)
    moved = amount.sum(dim=(1, 2, 3)) + _STEP
    columns = [
        *_log(_quantiles(speed.flatten(1), (0.5, 0.75, 0.9, 0.95, 0.99)), _STEP),
        _log(speed.mean(dim=(1, 2, 3)), _STEP),
        *(_log(part.mean(dim=1), _STEP) for part in (fast, fastest)),
        *(_log(part.std(dim=1, correction=0), _STEP) for part in (fast, fastest)),
        _log(edges_x.mean(dim=(1, 2, 3)), _STEP),
        _log((edges_x.sum(dim=(1, 2, 3)) + edges_y.sum(dim=(1, 2, 3))) / moved, 1e-3),
        _log(change.mean(dim=(1, 2, 3)), _STEP),
        _log(change.sum(dim=(1, 2, 3)) / moved, 1e-3),
        entropy.mean(dim=1),
        entropy.std(dim=1, correction=0),
        agreement.mean(dim=1),
        agreement.std(dim=1, correction=0),
        _log(whole.norm(dim=1).mean(dim=(1, 2, 3)), _STEP),
        _log(mean_speed.std(dim=1, correction=0), _STEP),
        _log((mean_speed.amax(dim=1) + _STEP) / (mean_speed.mean(dim=1) + _STEP), 0.0),
        _log((of_frames.amax(dim=2).mean(dim=1) + _STEP) / (speed.mean(dim=(1, 2, 3)) + _STEP), 0.0),
    ]
    return torch.stack(columns, dim=1)


def direction_statistics(flow: Tensor) -> Tensor:
    """Where things move: [B,14] of the flow of a clip [B,2,T,H,W], as a share of its bound.

    The share of motion in each of eight directions; how much it spreads apart or together and turns left or right
    (divergence and curl, by the amount of change over the picture); and its mean and spread over time along x and y, by
    the amount of motion. All change sign or place in a mirror, which the other statistics do not see.
    """
    speed = flow.norm(dim=1)  # [B,T,H,W]
    amount = speed.sum(dim=(1, 2, 3))[:, None] + _STEP
    sectors = torch.zeros(flow.shape[0], _DIRECTIONS, device=flow.device, dtype=flow.dtype)
    sectors.scatter_add_(1, _sectors(flow).flatten(1), speed.flatten(1))
    along_x, along_y = (_diff(part, axis) for part, axis in ((flow[..., :-1, :], 4), (flow[..., :-1], 3)))
    if 1 in flow.shape[3:]:  # nothing turns in a line
        along_x = along_y = torch.zeros_like(flow)
    turns = torch.stack([along_x[:, 0] + along_y[:, 1], along_x[:, 1] - along_y[:, 0]], dim=1)
    edges = (along_x.abs() + along_y.abs()).sum(dim=(1, 2, 3, 4))[:, None] + _STEP
    mean = flow.mean(dim=(3, 4))  # [B,2,T]
    size = speed.mean(dim=(1, 2, 3))[:, None] + _STEP
    columns = [
        sectors / amount,
        turns.sum(dim=(2, 3, 4)) / edges,
        mean.mean(dim=2) / size,
        mean.std(dim=2, correction=0) / size,
    ]
    return torch.cat(columns, dim=1)


def _diff(flow: Tensor, axis: int) -> Tensor:
    """Differences along an axis; zeros where it has one place only."""
    return flow.diff(dim=axis) if flow.shape[axis] > 1 else torch.zeros_like(flow)


def _sectors(flow: Tensor) -> Tensor:
    """Which of eight directions the flow [B,2,…] has, int64 [B,…]."""
    return ((torch.atan2(flow[:, 1], flow[:, 0]) + math.pi) * (_DIRECTIONS / (2 * math.pi))).long() % _DIRECTIONS


def _directions(rest: Tensor, speed: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy and length of the mean of the directions in each frame, weighted by speed; [B,T] each."""
    weights = torch.zeros(*speed.shape[:2], _DIRECTIONS, device=speed.device, dtype=speed.dtype)
    weights.scatter_add_(2, _sectors(rest).flatten(2), speed.flatten(2))
    total = speed.sum(dim=(2, 3)) + _STEP
    shares = weights / total[..., None]
    entropy = -(shares * (shares + 1e-6).log()).sum(dim=2)
    return entropy, rest.sum(dim=(3, 4)).norm(dim=1) / total


def _quantiles(values: Tensor, shares: tuple[float, ...]) -> Tensor:
    """Quantiles [Q,B] of each row of [B,N], without torch.quantile's limit of N: values at the nearest rank."""
    ordered = values.sort(dim=1).values
    places = [round(share * (values.shape[1] - 1)) for share in shares]
    return ordered[:, places].T


def _log(values: Tensor, least: float) -> Tensor:
    return (values + least).log()
