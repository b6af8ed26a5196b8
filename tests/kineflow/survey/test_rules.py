"""Choices: what each rule says at its edges."""

from __future__ import annotations

import pytest

from kineflow.survey import rules
from kineflow.survey.machine import Machine
from kineflow.survey.motion import Motion

CPU = Machine(2, 16_000)
GPU = Machine(16, 64_000, "a GPU", 80_000)


def moving(fastest: float, **others: float) -> Motion:
    return Motion((0.03, 0.5, fastest / 2, fastest), pairs=100, **others)


@pytest.mark.parametrize(
    ("rates", "fps"),
    [
        ([10.0] * 20, 0.0),
        ([30.0] * 20, 15.0),
        ([10.0] * 3 + [30.0] * 17, 10.0),
        ([10.0] + [25.0] * 19, 15.0),
        ([0.0], 15),
    ],
)
def test_one_rate_for_slow_and_fast_films(rates: list[float], fps: float) -> None:
    assert rules.target_fps(rates, 2.0, trains=True).value == fps


def test_short_clips_keep_their_frames() -> None:
    assert rules.target_fps([25.0] * 20, 0.5, trains=True).value == 0
    assert rules.target_fps([25.0] * 10 + [50.0] * 10, 0.5, trains=True).value == 25


@pytest.mark.parametrize(("fastest", "bound"), [(0.3, 1.0), (1.3, 1.5), (8.4, 10.0), (500.0, 60.0)])
def test_the_bound_covers_the_fastest_pixel_of_a_thousand(fastest: float, bound: float) -> None:
    assert rules.flow_bound(moving(fastest), trains=True).value == bound


def test_without_motion_the_default_bound_stays() -> None:
    assert rules.flow_bound(Motion(), trains=True).value == 20.0


def test_small_motion_wants_fewer_iterations() -> None:
    assert rules.preset(moving(3.9)).value == "fast"
    assert rules.preset(moving(4.1)).value == "deep"


def test_the_whole_frame_is_seen_where_the_middle_misses_motion() -> None:
    assert rules.fit(moving(1.0, centre_share=0.6), 1.8).value == "squash"
    assert rules.fit(moving(1.0, centre_share=0.9), 1.8).value == "crop"


@pytest.mark.parametrize("budget_sec", [1.0, 600.0, 1e6])
def test_the_short_side_is_what_the_budget_allows_and_the_videos_have(budget_sec: float) -> None:
    sides = [
        rules.short_side([height] * 5, 1.5, 20_000, budget_sec, CPU, 5e-7, crop).value
        for height in (100, 1080) for crop in (0, 64)
    ]  # fmt: skip
    assert sides == {1.0: [64] * 4, 600.0: [64, 64, 64, 64], 1e6: [96, 64, 128, 64]}[budget_sec]


@pytest.mark.parametrize("machine", [CPU, GPU])
@pytest.mark.parametrize(("seconds", "fps"), [(0.2, 30.0), (2.0, 15.0), (60.0, 15.0), (3.0, 2.0)])
def test_a_window_lasts_as_long_as_most_clips(seconds: float, fps: float, machine: Machine) -> None:
    window = rules.window(seconds, fps, machine).value
    assert window.frames % 2 == 0
    assert 4 <= window.frames <= (64 if machine.gpu else 16)
    lasts = ((window.frames - 1) * window.stride_frames + 1) / fps
    assert lasts <= max(2.0, 4 / fps) + 1 / fps
    if seconds >= 2 and fps > 4:
        assert lasts > 1.4


def test_steps_keep_to_the_budget_and_to_their_rounds() -> None:
    few, many = (rules.steps(100, 16, seconds, 0.2, taught=2).value for seconds in (600.0, 1e6))
    assert few.teacher < many.teacher
    assert many.teacher == 625
    for steps in (few, many):
        assert steps.teacher % steps.rounds == steps.student % steps.rounds == 0
    assert few.teacher * 0.2 + few.student * 0.2 * 3.6 <= 600 * 1.05


def test_classes_of_sides_are_not_mirrored() -> None:
    assert not rules.flip(["turn_left", "turn_right"]).value
    assert rules.flip(["rightful", "copyright", "wave"]).value


@pytest.mark.parametrize(
    ("groups", "seconds", "is_there"), [("abcd", 100.0, True), ("abcc", 100.0, False), ("abcd", 400.0, False)]
)
def test_networks_have_a_linear_rival_where_folds_can_choose_one_in_time(
    groups: str, seconds: float, is_there: bool
) -> None:
    train = [(label, group) for label, group in zip(["run", "run", "sit", "sit"], groups, strict=True)]
    assert rules.blend(train, seconds, 1800).value is is_there


def test_a_batch_fits_into_memory() -> None:
    assert rules.batch(CPU, 24.0, 100).value == 16
    assert rules.batch(Machine(2, 500), 60.0, 100).value == 4
    assert rules.batch(GPU, 24.0, 5000).value == 32


@pytest.mark.parametrize(("speedup", "precision"), [(0.0, "auto"), (0.8, "auto"), (1.1, "auto"), (3.0, "bf16")])
def test_bfloat16_is_for_cpus_that_are_faster_in_it(speedup: float, precision: str) -> None:
    assert rules.precision(speedup).value == precision
