"""Frames at another rate: which of the source's they are, by time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.video.resample import numbers_at, span_at
from kineflow.video.timeline import Timeline, packed


@pytest.mark.parametrize(
    ("source_fps", "fps", "numbers"),
    [
        (5, 5, [0, 1, 2, 3, 4]),
        (5, 10, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]),
        (5, 2.5, [0, 2]),
        (30, 10, [0, 3]),
        (5, 0.1, [0]),
    ],
)
def test_of_a_constant_rate(source_fps: float, fps: float, numbers: list[int]) -> None:
    assert numbers_at(Timeline(5, source_fps), 0, 5, fps).tolist() == numbers


def test_of_a_varying_rate_it_goes_by_time_stamps() -> None:
    slow_then_fast = np.concatenate([np.arange(5) * 0.2, 1 + np.arange(20) * 0.05])  # a second each
    timeline = Timeline(25, 12.5, stamps=packed(slow_then_fast))
    numbers = numbers_at(timeline, 0, 25, 10)
    assert len(numbers) == 20
    assert np.abs(slow_then_fast[numbers] - np.arange(20) / 10).max() <= 0.1
    assert numbers[10:20].tolist() == list(range(5, 25, 2))
    assert numbers_at(timeline, 5, 25, 20)[:20].tolist() == list(range(5, 25))


@given(
    source_fps=st.sampled_from([10.0, 23.976, 25.0, 29.97, 60.0]),
    fps=st.sampled_from([5.0, 10.0, 12.5, 30.0]),
    cuts=st.lists(st.integers(1, 299), min_size=1, max_size=5, unique=True),
)
def test_parts_that_follow_each_other_do_not_meet(source_fps: float, fps: float, cuts: list[int]) -> None:
    timeline, edges = Timeline(300, source_fps), [0, *sorted(cuts), 300]
    spans = [span_at(timeline, first, stop, fps) for first, stop in itertools.pairwise(edges)]
    for span, later, first, stop in zip(spans, spans[1:], edges, edges[1:], strict=False):
        assert span.stop == later.first or (stop - first) / source_fps < 1 / fps  # one frame at least
        numbers = numbers_at(timeline, first, stop, fps)
        assert len(numbers) == span.frames
        assert first <= numbers.min()
        assert numbers.max() < stop
