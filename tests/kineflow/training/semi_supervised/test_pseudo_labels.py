"""Pseudo-labels, held against FixMatch's equation 4."""

import math

import pytest
import torch

from kineflow.training.distances import distance
from kineflow.training.semi_supervised.pseudo_labels import pseudo_label_loss, pseudo_labels


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def softmax(logits: list[float]) -> list[float]:
    powers = [math.exp(x) for x in logits]
    return [x / sum(powers) for x in powers]


@pytest.mark.parametrize("threshold", [0.0, 0.6, 0.9])
def test_the_mean_over_all_clips_of_the_cross_entropy_of_those_that_are_sure(threshold: float) -> None:
    strong, weak = drawn(12, 4, seed=0), drawn(12, 4, seed=1)
    expected, sure = 0.0, 0
    for s, w in zip(strong.tolist(), weak.tolist(), strict=True):
        q, p = softmax(w), softmax(s)
        if max(q) >= threshold:
            sure += 1
            expected -= math.log(p[q.index(max(q))]) / 12
    labels, confident = pseudo_labels(weak, threshold)
    assert int(confident.sum()) == sure
    assert 0 < sure <= 12
    assert (sure == 12) is (threshold == 0)
    assert pseudo_label_loss(strong, labels, confident).item() == pytest.approx(expected, rel=1e-5)
    assert distance(strong, weak, "pseudo_label", threshold=threshold).item() == pytest.approx(expected, rel=1e-5)


def test_no_gradient_where_no_clip_is_sure() -> None:
    strong = drawn(3, 4, seed=0).requires_grad_()
    loss = pseudo_label_loss(strong, *pseudo_labels(torch.zeros(3, 4), 0.9))
    loss.backward()
    assert loss.item() == 0
    assert not strong.grad.any()
