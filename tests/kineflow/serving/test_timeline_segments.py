import pytest

from kineflow.serving.timeline_segments import Labelled, answered_parts, merged_segments

WINDOWS = [
    Labelled("a", 0.9, 0, 4),
    Labelled("a", 0.7, 2, 6),
    Labelled("b", 0.8, 4, 8),
    Labelled("b", 0.3, 6, 10),
    Labelled("b", 0.6, 7, 11),
]


def test_windows_of_one_class_are_merged_where_they_are_sure() -> None:
    assert merged_segments(WINDOWS, 0.5) == [
        Labelled("a", pytest.approx(0.8), 0, 5),
        Labelled("b", 0.8, 5, 7),
        Labelled("b", 0.6, 8.5, 11),
    ]
    assert merged_segments(WINDOWS, 1.0) == merged_segments([], 0.5) == []


def test_parts_cover_the_video_and_do_not_meet() -> None:
    parts = answered_parts(WINDOWS)
    assert (parts[0].start_sec, parts[-1].end_sec) == (0, 11)
    assert [part.end_sec for part in parts[:-1]] == [part.start_sec for part in parts[1:]]


def test_what_no_window_saw_is_in_no_segment() -> None:
    apart = [Labelled("a", 0.9, 0, 1), Labelled("a", 0.9, 10, 11)]
    assert merged_segments(apart, 0.5) == apart
