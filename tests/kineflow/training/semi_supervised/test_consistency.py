"""Consistency and its ramp, held against their equations."""

import math

import pytest
import torch

from kineflow.training.semi_supervised.consistency import consistency_loss, ramp_up


def test_the_mean_squared_difference_of_probabilities() -> None:
    student, teacher = (torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    expected = 0.0
    for s, t in zip(student.double().tolist(), teacher.double().tolist(), strict=True):
        p, q = ([math.exp(x) / sum(math.exp(y) for y in logits) for x in logits] for logits in (s, t))
        expected += sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) / (5 * 3)
    assert consistency_loss(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_the_ramp() -> None:
    assert [ramp_up(step, 100) for step in (0, 50, 100, 500)] == pytest.approx([math.exp(-5), math.exp(-1.25), 1, 1])
    assert ramp_up(0, 0) == 1
