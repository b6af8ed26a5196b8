"""Flow in shards: what a start costs beside the work, how many shards are best, and whether their run succeeds.

A shard of ``work_s`` seconds has ``start_s`` seconds before it. A pod fails at a rate of ``failures_a_s``. Where its
finished clips are kept (``flow.media_root`` on a shared volume) it goes on after a failure and loses its start and the
clip in hand. Where they are not, it begins anew, and one shard takes on average

    E(work) = (exp(failures_a_s · (start + work)) - 1) / failures_a_s

(Poisson failures), so that there is a best length: near sqrt(2 · start / failures_a_s), as Young has for checkpoints.

A shard is a task that is tried ``retries`` times again, by itself; one that fails more often than that fails the run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Fleet:
    """Who works on the shards.

    Attributes:
        start_s: Before a shard's work begins: the pod, the interpreter, the manifest.
        failures_a_s: Of one pod.
        at_once: Pods that work together.
    """

    start_s: float
    failures_a_s: float
    at_once: int


def shard_seconds(work_s: float, fleet: Fleet, *, kept: bool) -> float:
    """Expected seconds of one shard, failures included; ``kept``: finished clips survive a failure."""
    rate, whole = fleet.failures_a_s, fleet.start_s + work_s
    if not rate:
        return whole
    if kept:
        return fleet.start_s + work_s * (1 + rate * fleet.start_s)
    exponent = rate * whole
    return math.expm1(exponent) / rate if exponent < 700 else math.inf


def wall_seconds(total_work_s: float, shards: int, fleet: Fleet, *, kept: bool) -> float:
    """Expected seconds until all shards are done: in waves of ``at_once``."""
    return math.ceil(shards / fleet.at_once) * shard_seconds(total_work_s / shards, fleet, kept=kept)


def start_share(total_work_s: float, shards: int, fleet: Fleet) -> float:
    """Share of the pods' time that is start."""
    starts = shards * fleet.start_s
    return starts / (starts + total_work_s)


def run_fails(total_work_s: float, shards: int, fleet: Fleet, *, retries: int, kept: bool) -> float:
    """Chance that some shard fails more than ``retries`` times.

    Where clips are kept, failures of a shard are as many as fall into its start and its work (a Poisson number; the
    starts after a failure, short beside the work, are left out); where they are not, each try fails by itself.
    """
    expected = fleet.failures_a_s * (fleet.start_s + total_work_s / shards)
    if kept:
        one = _more_than(retries, expected)
    else:
        one = (-math.expm1(-expected)) ** (retries + 1)
    return 1.0 if one >= 1 else -math.expm1(shards * math.log1p(-one))


def _more_than(number: int, expected: float) -> float:
    """Chance that a Poisson number of that mean is larger than ``number``."""
    if expected > number + 1:
        return 1 - sum(_exactly(count, expected) for count in range(number + 1))
    # The tail itself, where one less the rest would leave rounding only.
    return sum(_exactly(count, expected) for count in range(number + 1, number + 100))


def _exactly(number: int, expected: float) -> float:
    if expected == 0:
        return float(number == 0)
    return math.exp(number * math.log(expected) - expected - math.lgamma(number + 1))


def young_seconds(fleet: Fleet) -> float:
    """Best length of a shard that begins anew when it fails."""
    return math.sqrt(2 * fleet.start_s / fleet.failures_a_s)


def best_shards(total_work_s: float, fleet: Fleet, *, kept: bool, most: int) -> int:
    """The count of shards, a multiple of ``at_once`` and at most ``most``, that ends first.

    Where work is kept there is nothing to gain by more than one shard a pod.

    Raises:
        ValueError: More pods than shards are allowed.
    """
    if fleet.at_once > most:
        raise ValueError("more pods than shards")
    if kept or not fleet.failures_a_s:
        return fleet.at_once
    waves, most_waves = total_work_s / fleet.at_once / young_seconds(fleet), most // fleet.at_once
    # Young's length is where shards are short beside the time between failures; its neighbours are tried.
    first, last = (min(count, most_waves) for count in (max(1, math.floor(waves / 2)), max(2, math.ceil(2 * waves))))
    near = range(first, last + 1)
    best = min(near, key=lambda count: wall_seconds(total_work_s, count * fleet.at_once, fleet, kept=False))
    return best * fleet.at_once
