from __future__ import annotations

import pytest
import torch

from kineflow.evaluation.view_aggregation import aggregate_views

# Two windows are nearly sure of class 0, one is quite sure of class 1.
LOGITS = torch.tensor([[[0.55, 0.45, 1e-6], [0.55, 0.45, 1e-6], [1e-6, 1.0, 1e-6]]]).log()


def test_average_and_majority_may_differ() -> None:
    average, majority = aggregate_views(LOGITS), aggregate_views(LOGITS, how="majority")
    torch.testing.assert_close(average.softmax(dim=1), torch.tensor([[1.1 / 3, 1.9 / 3, 0]]), atol=1e-4, rtol=0)
    torch.testing.assert_close(majority.softmax(dim=1), torch.tensor([[2 / 3, 1 / 3, 0]]), atol=1e-6, rtol=0)
    assert (average.argmax().item(), majority.argmax().item()) == (1, 0)


def test_logits_are_averaged_before_the_softmax_where_that_is_asked() -> None:
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    for of_logits in (aggregate_views(logits, before_softmax=True), aggregate_views(logits, how="logits")):
        torch.testing.assert_close(of_logits, logits.mean(dim=1))


def test_of_equal_votes_the_lower_class_wins() -> None:
    assert aggregate_views(LOGITS[:, [0, 2]], how="majority").argmax().item() == 0


@pytest.mark.parametrize("how", ["average", "majority"])
def test_scores_are_finite_and_of_one_video_each(how: str) -> None:
    logits = 50 * torch.randn(5, 2, 7, generator=torch.Generator().manual_seed(1))
    joint = aggregate_views(logits, how=how)  # type: ignore[arg-type]
    assert joint.shape == (5, 7)
    assert joint.isfinite().all()
    torch.testing.assert_close(joint[2:3], aggregate_views(logits[2:3], how=how))  # type: ignore[arg-type]
