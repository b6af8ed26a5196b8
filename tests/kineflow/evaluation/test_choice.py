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


def test_the_lowest_loss_wins():
    choice = choose_on_val([scores("plain", 0.2, seed=1), scores("distilled", 1), scores("student", 2)])
    assert choice.winner == "student"
    assert choice.losses["student"] == pytest.approx(np.log1p(np.exp(-2)), abs=0.02)
    assert "student was chosen: its loss is the lowest on 60 clips of val (plain 0.6" in choice.sentence


def test_of_equal_models_the_first_named_wins():
    level = [scores("plain", 1.0, seed=1), scores("student", 1.0, seed=1)]
    assert [choose_on_val(order).winner for order in (level, level[::-1])] == ["plain", "student"]
