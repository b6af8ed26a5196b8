"""Which round is kept."""

from __future__ import annotations

import math

import pytest

from kineflow.training.best_round import BestRound

# top-1 and loss of four rounds
ROUNDS = [(0.70, 0.50), (0.72, 0.60), (0.71, 0.45), (0.80, 1.40)]


def kept(monitor, clips, rounds=ROUNDS, resumed_after=None) -> int:
    best, chosen = BestRound(monitor, clips), -1
    for number, (top1, loss) in enumerate(rounds):
        if best.takes({"val/top1": top1, "val/loss": loss}):
            chosen = number
        if number == resumed_after:
            state, best = best.state_dict(), BestRound(monitor, clips)
            best.load_state_dict(state)
    return chosen


@pytest.mark.parametrize(
    ("monitor", "clips", "expected"),
    [
        ("top1", 36, 3),
        ("loss", 5000, 2),
        ("auto", 36, 2),  # few clips: by loss
        ("auto", 199, 2),
        ("auto", 5000, 3),  # .80 is far above the others
        ("auto", 220, 3),  # a standard error is .027
    ],
)
def test_each_way_of_choosing(monitor, clips, expected):
    assert kept(monitor, clips) == expected


def test_clips_of_several_classes_go_by_loss() -> None:
    best = BestRound("auto", 5000, multi_label=True)
    assert [best.takes({"val/top1": top1, "val/loss": loss}) for top1, loss in ROUNDS] == [True, False, True, False]


def test_rounds_within_a_standard_error_are_told_apart_by_loss():
    rounds = [(0.70, 0.50), (0.72, 0.60), (0.71, 0.45)]
    assert kept("auto", 220, rounds) == 2
    assert kept("auto", 220, rounds[:2]) == 0
    assert kept("auto", 10**6, rounds) == 1


def test_a_loss_that_is_no_number_is_the_worst_and_equal_rounds_leave_the_first():
    assert kept("auto", 36, [(0.9, math.nan), (0.5, 0.7), (0.9, math.nan), (0.5, 0.7)]) == 1
    assert kept("top1", 36, [(0.5, 0.7), (0.5, 0.6)]) == 0


def test_how_long_the_best_round_has_stood_is_remembered():
    best, resumed = BestRound("loss", 36), BestRound("loss", 36)
    for loss in (0.5, 0.6, 0.7):
        best.takes({"val/top1": 0.5, "val/loss": loss})
    resumed.load_state_dict(best.state_dict())
    for each in (best, resumed):
        assert [each.has_stood(rounds) for rounds in (0, 1, 2, 3)] == [False, True, True, False]
    resumed.takes({"val/top1": 0.5, "val/loss": 0.4})
    assert not resumed.has_stood(1)


@pytest.mark.parametrize("clips", [36, 220])
@pytest.mark.parametrize("after", range(3))
def test_a_resumed_training_keeps_what_an_undisturbed_one_does(clips, after):
    rounds = [(0.72, 0.60), (0.60, 0.40), (0.70, 0.55), (0.71, 0.58)]
    assert kept("auto", clips, rounds, resumed_after=after) == kept("auto", clips, rounds)
