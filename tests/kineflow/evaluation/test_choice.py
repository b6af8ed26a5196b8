import numpy as np
import pytest

from kineflow.evaluation.choice import choose_on_val
from kineflow.evaluation.scores import Scores

CLIPS = 60
LABELS = np.arange(CLIPS) % 2


def scores(model: str, evidence: float, *, noise: float = 0.3, seed: int = 0) -> Scores:
    """Log odds of the true class around ``evidence``."""
    odds = evidence + noise * np.random.default_rng(seed).normal(size=CLIPS)
    logits = np.zeros((CLIPS, 2), np.float32)
    logits[np.arange(CLIPS), LABELS] = odds
    return Scores(model, tuple(f"c{clip}" for clip in range(CLIPS)), LABELS, ("a", "b"), logits, "val")


def test_the_lowest_loss_wins_where_simpler_models_are_clearly_behind():
    choice = choose_on_val([scores("plain", 0.2, seed=1), scores("distilled", 1), scores("student", 2)])
    assert choice.winner == "student"
    assert choice.losses["student"] == pytest.approx(np.log1p(np.exp(-2)), abs=0.02)
    assert "student was chosen: its loss is the lowest on 60 clips of val (plain 0.6" in choice.sentence


def test_the_first_named_wins_where_the_difference_may_be_chance():
    level = [scores("plain", 1.0, noise=1, seed=1), scores("student", 1.02, noise=1, seed=2)]
    for on_val in (level, level[::-1]):
        choice = choose_on_val([scores("weak", 0.0, seed=3), *on_val])
        assert choice.winner == on_val[0].model
    best = min(choice.losses, key=choice.losses.get)
    first = next(name for name in ("plain", "student") if name != best)
    said = choose_on_val(sorted(level, key=lambda each: each.model == best)).sentence
    assert f"{first} was chosen: on 60 clips of val the lowest loss, {best}'s, is below its own by no more" in said


def test_clips_of_one_group_tell_nothing():
    assert choose_on_val([scores("plain", 0.2), scores("student", 2)], ["one"] * CLIPS).winner == "plain"
