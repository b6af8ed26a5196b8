import numpy as np
import pytest

from kineflow.evaluation.choice import choose_by_cards, choose_on_val, has_learnt_val
from kineflow.evaluation.scores import Scores
from kineflow.models.card import FITTED_ON, ModelCard
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError

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


@pytest.mark.parametrize(
    ("lineage", "learnt"),
    [({}, False), ({FITTED_ON: "train"}, False), ({FITTED_ON: "train", f"motion_{FITTED_ON}": "train, val"}, True)],
)
def test_a_model_has_learnt_what_its_parts_have(lineage, learnt):
    seen = Preprocessing("rgb", 4, 1, 16, 12, (0.0,) * 3, (1.0,) * 3)
    assert has_learnt_val(ModelCard("m", "s3d", {}, ("a", "b"), seen, lineage)) is learnt


def test_models_that_were_refit_on_val_are_chosen_by_what_it_said_before():
    def card(name: str, **metrics: float) -> ModelCard:
        seen = Preprocessing("rgb", 4, 1, 16, 12, (0.0,) * 3, (1.0,) * 3)
        return ModelCard(name, "s3d", {}, ("a", "b"), seen, {FITTED_ON: "train, val"}, metrics)

    cards = [card("plain", **{"val/loss": 0.7}), card("student", **{"val/loss": 0.5})]
    choice = choose_by_cards(cards, clips=60)
    assert choice.winner == "student"
    assert "its loss was the lowest on 60 clips of val before the refit" in choice.sentence
    with pytest.raises(KineflowError, match="blend cannot be chosen on val: plain, student, blend learnt from it"):
        choose_by_cards([*cards, card("blend")], clips=60)
