"""The arithmetic of docs/scale.md: laws that hold whatever was measured, and the document itself."""

from __future__ import annotations

import dataclasses
import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scale_model import requests
from scale_model.assumptions import Assumptions
from scale_model.compute import d3d_hours, flow_hours, tsn_hours
from scale_model.fan_out import Fleet, best_shards, run_fails, shard_seconds, start_share, wall_seconds, young_seconds
from scale_model.figures import Figures
from scale_model.limits import strains
from scale_model.measuring.package import compiled
from scale_model.shards import plan
from scale_model.shown import count, duration, size
from scale_model.stored import stored
from scale_model.tables import tables
from scale_model.tracking import database_bytes, database_rows
from scale_model.versions import dvc_hours
from scale_model.video_sets import ALL, KINETICS400, THOUSANDFOLD, UCF101, VideoSet

from pipelines.dag.cluster_settings import StepResources
from tests.pipelines.clusters import cluster

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
FIGURES = Figures.load()
GIVEN = Assumptions()

FLEETS = st.builds(
    Fleet,
    start_s=st.floats(5, 600),
    failures_a_s=st.floats(1e-6, 1e-3),
    at_once=st.integers(1, 64),
)
WORK = st.floats(60, 1e6)


@pytest.mark.parametrize("data", [UCF101, KINETICS400], ids=lambda data: data.name)
def test_twice_the_clips_take_twice_the_bytes_of_all_that_is_kept_for_each_clip(data: VideoSet) -> None:
    once, twice = (stored(data.times(factor, ""), FIGURES, shards=8) for factor in (1, 2))

    grows = ("raw", "clips", "flow", "warped", "features", "manifest", "flow_index")
    assert all(getattr(twice, name) == pytest.approx(2 * getattr(once, name)) for name in grows)
    assert twice.models == once.models


def test_every_shard_downloads_the_manifest_once_more() -> None:
    few, many = (stored(KINETICS400, FIGURES, shards=shards) for shards in (8, 9))

    assert many.artifacts_moved - few.artifacts_moved == pytest.approx(few.manifest)


def test_twice_the_clips_take_twice_the_hours_of_flow() -> None:
    once, twice = (flow_hours(KINETICS400.times(factor, ""), FIGURES, GIVEN) for factor in (1, 2))

    assert (twice.cpu, twice.gpu) == pytest.approx((2 * once.cpu, 2 * once.gpu))
    assert twice.cores_a_gpu == once.cores_a_gpu


@pytest.mark.parametrize("hours", [d3d_hours, tsn_hours])
@pytest.mark.parametrize("data", ALL, ids=lambda data: data.name)
def test_a_gpu_that_is_better_used_trains_in_less_time_until_it_waits_for_the_decoders(
    hours: Any, data: VideoSet
) -> None:
    slow, fast = (hours(data, FIGURES, dataclasses.replace(GIVEN, gpu_utilisation=used)) for used in (0.2, 0.4))

    assert fast.gpu == pytest.approx(slow.gpu / 2)
    assert fast.gpu_as_fed == max(fast.gpu, fast.decode_cpu / GIVEN.cores_a_gpu)
    assert fast.gpu_as_fed <= slow.gpu_as_fed


@pytest.mark.parametrize("stream", ["s3d_rgb", "s3d_flow", "tsn_rgb", "tsn_flow"])
def test_an_epoch_asks_for_every_training_clip_at_least_once_and_reads_no_more_than_all_of_it(stream: Any) -> None:
    for data in (UCF101, KINETICS400):
        kept = stored(data, FIGURES, shards=1)
        asked = requests.epoch(data, FIGURES, kept, stream)
        whole = (kept.flow if stream.endswith("flow") else kept.clips) * data.train_clips / data.clips

        assert asked.requests >= data.train_clips
        assert 0 < asked.egress_bytes <= whole * (1 + 1e-9)


@given(work_s=WORK, fleet=FLEETS, most_waves=st.integers(1, 2999))
@settings(deadline=None, max_examples=150)
def test_no_other_allowed_count_of_whole_waves_ends_before_the_best_one(
    work_s: float, fleet: Fleet, most_waves: int
) -> None:
    best = best_shards(work_s, fleet, kept=False, most=most_waves * fleet.at_once + fleet.at_once - 1)
    tried = [wall_seconds(work_s, waves * fleet.at_once, fleet, kept=False) for waves in range(1, most_waves + 1)]

    assert best % fleet.at_once == 0
    assert best // fleet.at_once <= most_waves
    assert wall_seconds(work_s, best, fleet, kept=False) == min(tried)


@given(work_s=WORK, fleet=FLEETS, shards=st.integers(1, 500))
@settings(deadline=None)
def test_where_finished_clips_are_kept_one_shard_a_pod_is_best(work_s: float, fleet: Fleet, shards: int) -> None:
    best = wall_seconds(work_s, best_shards(work_s, fleet, kept=True, most=64), fleet, kept=True)

    assert best <= wall_seconds(work_s, shards, fleet, kept=True) * (1 + 1e-12)


@given(work_s=WORK, fleet=FLEETS)
def test_a_failure_costs_more_where_the_work_begins_anew(work_s: float, fleet: Fleet) -> None:
    assert shard_seconds(work_s, fleet, kept=False) >= fleet.start_s + work_s


def test_a_shard_that_never_fails_takes_its_start_and_its_work() -> None:
    assert shard_seconds(100, Fleet(10, 0, 1), kept=False) == shard_seconds(100, Fleet(10, 0, 1), kept=True) == 110


def test_a_shard_that_hardly_ever_ends_takes_for_ever() -> None:
    assert shard_seconds(1e9, Fleet(10, 1e-3, 1), kept=False) == math.inf


def test_youngs_length_is_the_best_where_failures_are_rare() -> None:
    fleet, work_s = Fleet(start_s=50, failures_a_s=1e-6, at_once=1), 1e7
    young = round(work_s / young_seconds(fleet))

    assert best_shards(work_s, fleet, kept=False, most=10**6) == pytest.approx(young, rel=0.02)


def test_more_pods_than_shards_are_refused() -> None:
    with pytest.raises(ValueError, match="more pods"):
        best_shards(100, Fleet(10, 1e-6, 17), kept=True, most=16)


@given(work_s=WORK, fleet=FLEETS, shards=st.integers(1, 16), retries=st.integers(0, 5))
def test_a_run_fails_less_often_the_more_a_shard_is_tried(
    work_s: float, fleet: Fleet, shards: int, retries: int
) -> None:
    for kept in (True, False):
        often, seldom = (run_fails(work_s, shards, fleet, retries=more, kept=kept) for more in (retries, retries + 1))

        assert 0 <= seldom <= often * (1 + 1e-9)
        assert often <= 1


@given(work_s=WORK, fleet=FLEETS, shards=st.integers(1, 16))
def test_without_retries_a_run_fails_as_soon_as_any_pod_does(work_s: float, fleet: Fleet, shards: int) -> None:
    any_pod = -math.expm1(-fleet.failures_a_s * (shards * fleet.start_s + work_s))

    for kept in (True, False):
        assert run_fails(work_s, shards, fleet, retries=0, kept=kept) == pytest.approx(any_pod, rel=1e-6)


def test_shards_fail_for_the_third_time_as_often_as_in_drawn_runs() -> None:
    """Times between failures are drawn, exponential, and the runs that fail counted."""
    fleet, work_s, runs = Fleet(start_s=0, failures_a_s=1e-3, at_once=4), 4000.0, 4000
    draw = random.Random(0)

    def third_failure_s() -> float:
        return sum(draw.expovariate(fleet.failures_a_s) for _ in range(3))

    failed = sum(min(third_failure_s() for _ in range(4)) < work_s / 4 for _ in range(runs))
    assert failed / runs == pytest.approx(run_fails(work_s, 4, fleet, retries=2, kept=True), abs=0.02)


def test_a_run_of_a_thousand_times_kinetics_fails_and_one_of_kinetics_hardly_ever() -> None:
    once, thousand = (plan(data, FIGURES, GIVEN) for data in (KINETICS400, THOUSANDFOLD))

    assert once.fails(8, kept=True) < 0.001
    assert thousand.fails(16, kept=True) == pytest.approx(1)


@pytest.mark.parametrize("data", ALL, ids=lambda data: data.name)
def test_no_more_shards_are_advised_than_a_parameter_file_may_name(data: VideoSet) -> None:
    advised = plan(data, FIGURES, dataclasses.replace(GIVEN, pods_at_once=512))

    assert max(advised.kept, advised.anew) <= GIVEN.most_shards
    with pytest.raises(ValidationError, match="flow_shards"):
        cluster(flow_shards=GIVEN.most_shards + 1)
    assert cluster(flow_shards=GIVEN.most_shards).flow_shards == 16


def test_the_assumed_retries_are_those_of_the_cluster() -> None:
    assert GIVEN.retries == StepResources().retries


@pytest.mark.parametrize("shards", [1, 2, 3, 8, 16])
def test_the_package_is_as_large_as_the_figures_say(shards: int) -> None:
    assert len(compiled(shards).encode()) == pytest.approx(FIGURES.package.bytes_with(shards), rel=0.1)


def test_the_share_of_start_up_is_half_where_a_start_takes_as_long_as_the_work() -> None:
    assert start_share(800, 8, Fleet(100, 0, 8)) == 0.5


def test_a_shard_of_a_larger_set_starts_later_because_it_reads_the_whole_manifest() -> None:
    starts = [plan(data, FIGURES, GIVEN).fleet.start_s for data in ALL]

    assert starts == sorted(starts)
    assert starts[2] - starts[1] > 100 * (starts[1] - starts[0])


def test_dvc_reads_the_bytes_only_to_add_them() -> None:
    small, large = (dvc_hours(1000, total, FIGURES) for total in (1e6, 1e12))

    assert large.add > small.add
    assert (large.status, large.push, large.checkout) == (small.status, small.push, small.checkout)


def test_tracking_grows_with_runs_and_shards_and_not_with_clips() -> None:
    assert database_rows(2, 8, FIGURES) == 2 * database_rows(1, 8, FIGURES)
    assert database_rows(1, 9, FIGURES) - database_rows(1, 8, FIGURES) == pytest.approx(FIGURES.tracking.shard_rows)
    assert database_bytes(0, 8, FIGURES) == FIGURES.tracking.empty_database_bytes


def test_what_strains_a_set_strains_a_larger_one_more() -> None:
    def ratios(data: VideoSet) -> dict[str, float]:
        return {s.what: s.ratio for s in strains(data, FIGURES, stored(data, FIGURES, 8), 8, GIVEN)}

    small, large = ratios(KINETICS400), ratios(THOUSANDFOLD)
    assert small.keys() == large.keys()
    rows = "clips of one set"
    assert large[rows] == pytest.approx(1000 * small[rows])
    assert small[rows] < 1 < large[rows]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (size(1.234e9), "1.23 GB"),
        (size(12), "12 B"),
        (count(306_245), "306 k"),
        (count(13.4), "13.4"),
        (duration(45), "45 s"),
        (duration(600), "10 min"),
        (duration(3 * 86_400), "3 days"),
        (duration(math.inf), "never"),
    ],
)
def test_numbers_are_shown_in_units_that_people_read(shown: str, expected: str) -> None:
    assert shown == expected


def test_figures_survive_a_round_trip(tmp_path: Any) -> None:
    FIGURES.save(tmp_path / "figures.json")

    assert Figures.load(tmp_path / "figures.json") == FIGURES


def test_the_document_holds_the_tables_that_the_recorded_figures_give() -> None:
    """`python benchmarks/scale.py --recorded` prints them again; whoever records new figures renews the document."""
    written = (ROOT / "docs" / "scale.md").read_text()
    rows = [line for line in tables(FIGURES).splitlines() if line.startswith("|")]

    missing = [row for row in rows if _squeezed(row) not in {_squeezed(line) for line in written.splitlines()}]
    assert not missing


def _squeezed(row: str) -> str:
    return "".join(row.replace("-", "").split())
