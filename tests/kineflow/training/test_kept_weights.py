"""Which weights a training ends with."""

from __future__ import annotations

import pytest
import torch

from kineflow.training.best_round import BestRound
from kineflow.training.kept_weights import KeptWeights

ROUNDS = 5


def kept_by(keep, *, averaged=3, resumed_after=0) -> dict[str, torch.Tensor]:
    """What is kept of five rounds whose weight and count are the number of the round."""

    def new() -> KeptWeights:
        return KeptWeights(keep, best=BestRound("loss", 2), rounds=ROUNDS, averaged=averaged)

    keeping, kept = new(), {}
    weight, count = torch.zeros(1), torch.tensor(0)
    for number in range(1, ROUNDS + 1):
        weight += 1  # in place, as an optimiser does
        count += 1
        kept = dict(keeping.after_round(number, {}, {"weight": weight, "count": count}))
        if number == resumed_after:
            state, keeping = keeping.state_dict(), new()
            keeping.load_state_dict(state)
    return kept


def test_the_last_round_needs_no_figures():
    assert kept_by("last")["weight"] == ROUNDS


@pytest.mark.parametrize("resumed_after", [0, 1, 3, 4])
def test_the_last_rounds_count_alike_after_a_resume_too(resumed_after):
    kept = kept_by("average", resumed_after=resumed_after)
    torch.testing.assert_close(kept["weight"], torch.tensor([4.0]))  # of 3, 4 and 5
    assert kept["count"] == ROUNDS


def test_of_fewer_rounds_all_are_averaged():
    torch.testing.assert_close(kept_by("average", averaged=99)["weight"], torch.tensor([3.0]))
