"""The fan-out of a data set: work, start, and the shards to ask for."""

from __future__ import annotations

from dataclasses import dataclass

from scale_model.assumptions import Assumptions
from scale_model.compute import flow_hours
from scale_model.fan_out import Fleet, best_shards, run_fails, start_share, wall_seconds, young_seconds
from scale_model.figures import Figures
from scale_model.video_sets import VideoSet

_HOUR = 3600.0


@dataclass(frozen=True)
class Plan:
    """How flow is fanned out on GPUs.

    Attributes:
        fleet: Start of a shard, failures, pods; no more of them than shards are allowed.
        work_s: Of all shards together.
        kept, anew: ``flow_shards`` where finished clips survive a failure, and where they do not.
        retries: Of a shard.
    """

    fleet: Fleet
    work_s: float
    kept: int
    anew: int
    retries: int

    @property
    def young_s(self) -> float:
        """Best length of a shard that begins anew."""
        return young_seconds(self.fleet)

    def share(self, shards: int) -> float:
        """Of the pods' time that is start."""
        return start_share(self.work_s, shards, self.fleet)

    def wall_s(self, shards: int, *, kept: bool) -> float:
        """Until all are done."""
        return wall_seconds(self.work_s, shards, self.fleet, kept=kept)

    def fails(self, shards: int, *, kept: bool) -> float:
        """Chance that a run fails: that one of its shards does, at every try."""
        return run_fails(self.work_s, shards, self.fleet, retries=self.retries, kept=kept)


def plan(data: VideoSet, figures: Figures, given: Assumptions) -> Plan:
    """Shards of one GPU each; every one of them reads the whole manifest and deals the clips out anew."""
    at_once = min(given.pods_at_once, given.most_shards)
    fleet = Fleet(start_seconds(data, figures, given), given.failures_an_hour / _HOUR, at_once)
    work_s = flow_hours(data, figures, given).gpu * _HOUR
    kept, anew = (best_shards(work_s, fleet, kept=kept, most=given.most_shards) for kept in (True, False))
    return Plan(fleet, work_s, kept, anew, given.retries)


def start_seconds(data: VideoSet, figures: Figures, given: Assumptions) -> float:
    """Pod, interpreter, manifest."""
    index = figures.index
    manifest_us = data.clips * (index.manifest_load_cpu_us + index.shard_cpu_us)
    return given.pod_start_s + figures.starts.flow_step_cpu_s + manifest_us / 1e6
