"""When frames are shown: stamps that vary, start late, are missing, run backwards or wrap round."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.video.timeline import Timeline, is_steady, mended, packed, unpacked

SLOW_THEN_FAST = np.concatenate([np.arange(20) * 0.2, 4 + np.arange(80) * 0.025])
NAN = float("nan")


@given(st.lists(st.integers(0, 3_000_000_000), min_size=1, max_size=50), st.floats(0, 1e6))
def test_packing_keeps_microseconds(steps: list[int], start: float) -> None:
    times = start + np.cumsum(steps) / 1e6
    assert np.abs(unpacked(packed(times), len(times)) - (times - times[0])).max() < 2e-6


def test_an_hour_of_jitter_is_small() -> None:
    jitter = np.random.default_rng(0).normal(0, 0.004, 216_000)
    assert len(packed(np.sort(np.arange(216_000) / 60 + jitter))) < 2**20


@pytest.mark.parametrize("stamps", [packed(np.arange(9.0)), packed(np.arange(11.0))])
def test_stamps_of_another_video_are_refused(stamps: str) -> None:
    with pytest.raises(ValueError):
        unpacked(stamps, 10)


MENDED = {
    "as they are": ([0, 1, 2.5, 3], [0, 1, 2.5, 3]),
    "a late start": ([1.4, 1.6], [1.4, 1.6]),
    "wrapped": ([95443.6, 95443.7, 0.08, 0.18], [95443.6, 95443.7, 95443.8, 95443.9]),
    "two files in one": ([0, 5, 10, 0, 5], [0, 5, 10, 10.1, 15.1]),
    "a mad one": ([0, 0.1, 7e5, 0.3, 0.4], [0, 0.1, 0.2, 0.3, 0.4]),
    "in the order of decoding": ([0, 0.3, 0.1, 0.2, 0.4], [0, 0.1, 0.2, 0.3, 0.4]),
    "one is missing": ([0, NAN, 0.4, 0.5], [0, 0.2, 0.4, 0.5]),
    "ends are missing": ([NAN, 0.4, 0.5, NAN], [0.3, 0.4, 0.5, 0.6]),
    "most are missing": ([NAN, 1, NAN, NAN], []),
    "no frame at all": ([], []),
}


@pytest.mark.parametrize("case", MENDED)
def test_stamps_are_mended(case: str) -> None:
    given_, expected = MENDED[case]
    assert mended(given_, 0.1) == pytest.approx(expected, abs=1e-9)


def test_what_is_steady() -> None:
    even = np.arange(100) / 30
    assert is_steady(even, 30)
    assert is_steady(even + 7 + 0.014 * np.sin(np.arange(100)), 30)
    assert is_steady(np.concatenate([[1 / 30], even[1:] + 2 / 30]), 30)  # as of packed B-frames
    assert not is_steady(np.delete(even, 50), 30)  # one was dropped, and all behind it are late
    assert not is_steady(even, 29.4)
    assert not is_steady(SLOW_THEN_FAST, 16.6)
    assert is_steady(np.zeros(1), 25)


def test_a_constant_rate_counts_to_the_nearest_frame() -> None:
    timeline = Timeline(100, 25.0, first_sec=2.0)
    assert [timeline.first_at(sec) for sec in (0, 2, 2.05, 3.02, 99)] == [0, 0, 1, 26, 100]
    assert (timeline.seconds, timeline.fps_of(3, 9)) == (4.0, 25.0)


def test_a_variable_rate_counts_by_the_stamps() -> None:
    timeline = Timeline(100, 99 / SLOW_THEN_FAST[-1], stamps=packed(SLOW_THEN_FAST))
    assert [timeline.first_at(sec) for sec in (0, 0.3, 3.9, 4, 4.0251, 5.975, 6)] == [0, 2, 20, 20, 21, 99, 100]
    assert timeline.fps_of(0, 20) == pytest.approx(5)
    assert timeline.fps_of(20, 100) == pytest.approx(40)
    assert timeline.fps_of(7, 8) == timeline.fps
    assert timeline.seconds == pytest.approx(6.0, abs=0.05)
    late = Timeline(100, timeline.fps, first_sec=1.5, stamps=timeline.stamps)
    assert late.first_at(5.5) == 20
