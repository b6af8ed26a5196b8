"""A number that tells a class is told, whichever way it goes."""

from __future__ import annotations

import numpy as np
import pytest

from kineflow.survey.histogram import histogram
from kineflow.survey.shortcuts import separation


def test_a_number_that_tells_a_class_is_near_one() -> None:
    labels = ["a"] * 10 + ["b"] * 10
    assert separation([*range(20)], labels) == 1.0
    assert separation([*range(20, 0, -1)], labels) == 1.0
    assert separation([5.0] * 20, labels) == 0.5
    assert separation([1, 2, 3], ["a", "b", "c"]) == 0.5  # too few to say


def test_it_is_the_area_under_the_curve() -> None:
    generator = np.random.default_rng(0)
    inside, outside = generator.integers(2, 9, 40), generator.integers(0, 8, 30)
    wins = [(a > b) + (a == b) / 2 for a in inside for b in outside]
    value = separation([*inside, *outside], ["in"] * 40 + ["out"] * 30)
    assert value == pytest.approx(sum(wins) / len(wins))


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [0.001, 900.0], [-3.0, 3.0], [5.0] * 4 + [float("nan")]])
def test_a_histogram_counts_every_value_once(values: list[float]) -> None:
    svg = histogram({"<a>": values, "b": []}, unit="<s>", marks={"here": 2.0})
    known = sum(value == value for value in values)
    counts = [int(part.partition(",")[0]) for part in svg.split("&lt;a&gt;: ")[1:]]
    assert sum(counts) == known
    assert "<a>" not in svg
    assert "<s>" not in svg
