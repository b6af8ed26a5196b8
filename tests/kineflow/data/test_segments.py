import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.data.segments import middle_snippets, random_snippets
from kineflow.spec.sampling import ClipSpec, uniform_clips
from kineflow.storage.errors import KineflowError

LENGTHS = range(1, 61)
SPECS = [ClipSpec(1), ClipSpec(5), ClipSpec(5, short="wrap"), ClipSpec(3, 2)]


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("segments", [1, 3, 7])
def test_every_length_gives_snippets_within_the_video_and_in_order(spec, segments):
    for n in LENGTHS:
        drawn = [random_snippets(n, spec, segments, np.random.default_rng(seed)) for seed in range(5)]
        for snippets in (*drawn, middle_snippets(n, spec, segments), uniform_clips(n, spec, 25)[:segments]):
            assert snippets.shape == (segments, spec.frames)
            assert snippets.dtype == np.int64
            assert snippets.min() >= 0
            assert snippets.max() < n
            assert (np.diff(snippets[:, 0]) >= 0).all()


@pytest.mark.parametrize("spec", SPECS[:2], ids=str)
def test_snippets_are_whole_wherever_one_fits(spec):
    for n in range(spec.frames, 61):
        for snippets in (middle_snippets(n, spec, 3), random_snippets(n, spec, 3, np.random.default_rng(n))):
            assert (np.diff(snippets, axis=1) == 1).all()


@given(st.integers(7, 300), st.integers(1, 8), st.integers(1, 5), st.integers(0, 2**32))
def test_a_snippet_begins_in_each_segment(n, segments, length, seed):
    """avg = (N - L + 1) // K, start k = k * avg + U{0..avg-1}."""
    average = (n - length + 1) // segments
    starts = random_snippets(n, ClipSpec(length), segments, np.random.default_rng(seed))[:, 0]
    if average:
        assert (starts // average == np.arange(segments)).all()


def test_every_place_of_a_segment_is_drawn_alike():
    rng = np.random.default_rng(0)
    starts = np.array([random_snippets(13, ClipSpec(2), 3, rng)[:, 0] for _ in range(3000)])
    for number, column in enumerate(starts.T):
        assert sorted(set(column)) == list(range(4 * number, 4 * number + 4))
        assert np.bincount(column - 4 * number).min() > 650


def test_the_middle_is_the_released_code_s():
    for n, length, segments in ((13, 2, 3), (100, 5, 3), (9, 5, 7), (250, 1, 25)):
        tick = (n - length + 1) / segments
        expected = [int(tick / 2 + tick * number) for number in range(segments)]
        assert middle_snippets(n, ClipSpec(length), segments)[:, 0].tolist() == expected


def test_the_picture_of_the_docstring():
    assert middle_snippets(13, ClipSpec(2), 3).tolist() == [[2, 3], [6, 7], [10, 11]]


def test_a_video_shorter_than_a_snippet_repeats_its_last_frame():
    assert middle_snippets(3, ClipSpec(5), 2).tolist() == [[0, 1, 2, 2, 2]] * 2
    assert random_snippets(3, ClipSpec(5), 2, np.random.default_rng(0)).tolist() == [[0, 1, 2, 2, 2]] * 2


def test_with_fewer_places_than_segments_places_repeat():
    drawn = {tuple(random_snippets(6, ClipSpec(5), 3, np.random.default_rng(seed))[:, 0]) for seed in range(200)}
    assert drawn == {(0, 0, 0), (0, 0, 1), (0, 1, 1), (1, 1, 1)}


def test_later_draws_do_not_depend_on_the_length():
    first, second = np.random.default_rng(5), np.random.default_rng(5)
    random_snippets(3, ClipSpec(5), 3, first)
    random_snippets(500, ClipSpec(5), 3, second)
    assert first.random() == second.random()


def test_a_short_video_is_an_error_where_asked():
    with pytest.raises(KineflowError, match="spans 5 frames, but the video has 4"):
        middle_snippets(4, ClipSpec(5, short="error"), 3)
