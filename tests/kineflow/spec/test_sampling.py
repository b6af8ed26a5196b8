import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.spec.sampling import (
    ClipSpec,
    centre_clip,
    clips_laid_out,
    covering_clips,
    dense_clips,
    random_clip,
    spread_clips,
    uniform_clips,
)
from kineflow.storage.errors import KineflowError

lengths = st.integers(1, 400)
specs = st.builds(ClipSpec, st.integers(1, 40), st.integers(1, 8), st.sampled_from(["repeat_last", "wrap"]))
seeds = st.integers(0, 2**32 - 1)


def every_sampler(n_frames, spec, seed, n_clips):
    yield random_clip(n_frames, spec, np.random.default_rng(seed))
    yield centre_clip(n_frames, spec)
    yield uniform_clips(n_frames, spec, n_clips)


@given(lengths, specs, seeds, st.integers(1, 30))
def test_indices_are_int64_of_the_asked_shape_and_in_range(n_frames, spec, seed, n_clips):
    shapes = [(1, spec.frames), (1, spec.frames), (n_clips, spec.frames)]
    for indices, shape in zip(every_sampler(n_frames, spec, seed, n_clips), shapes, strict=True):
        assert indices.dtype == np.int64
        assert indices.shape == shape
        assert indices.min() >= 0
        assert indices.max() < n_frames


@given(specs, st.integers(0, 100), seeds, st.integers(1, 30))
def test_long_videos_keep_the_stride(spec, surplus, seed, n_clips):
    for indices in every_sampler(spec.span_frames + surplus, spec, seed, n_clips):
        assert (np.diff(indices, axis=1) == spec.stride_frames).all()


@given(lengths, st.integers(1, 40), st.integers(1, 8), seeds, st.integers(1, 30))
def test_repeat_last_never_goes_back_in_time(n_frames, frames, stride, seed, n_clips):
    for indices in every_sampler(n_frames, ClipSpec(frames, stride), seed, n_clips):
        assert (np.diff(indices, axis=1) >= 0).all()


@given(lengths, specs, st.integers(2, 30))
def test_uniform_clips_cover_from_the_first_frame_to_the_last(n_frames, spec, n_clips):
    indices = uniform_clips(n_frames, spec, n_clips)
    gaps = np.diff(indices[:, 0])
    assert indices[0, 0] == 0
    assert np.ptp(gaps) <= 1
    assert (gaps >= 0).all()
    if n_frames >= spec.span_frames:
        assert indices[-1, -1] == n_frames - 1


@given(lengths, specs)
def test_the_centre_leaves_as_much_before_as_after(n_frames, spec):
    indices = centre_clip(n_frames, spec)
    if n_frames >= spec.span_frames:
        before, after = indices[0, 0], n_frames - 1 - indices[0, -1]
        assert after - before in (0, 1)
    assert (uniform_clips(n_frames, spec, 1) == indices).all()


def test_random_starts_reach_every_place_alike():
    rng = np.random.default_rng(0)
    starts = [int(random_clip(10, ClipSpec(4, 2), rng)[0, 0]) for _ in range(4000)]
    assert set(starts) == {0, 1, 2, 3}
    assert np.bincount(starts).min() > 900


def test_same_seed_same_clip_and_one_draw_whatever_the_length():
    first, second = np.random.default_rng(5), np.random.default_rng(5)
    assert (random_clip(99, ClipSpec(8), first) == random_clip(99, ClipSpec(8), second)).all()
    random_clip(3, ClipSpec(8), first)
    random_clip(500, ClipSpec(8), second)
    assert first.random() == second.random()


def test_the_pictures_of_the_docstrings():
    assert uniform_clips(10, ClipSpec(4), 3).tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert centre_clip(5, ClipSpec(4, 2, "repeat_last")).tolist() == [[0, 2, 4, 4]]
    assert centre_clip(5, ClipSpec(4, 2, "wrap")).tolist() == [[0, 2, 4, 1]]
    assert centre_clip(5, ClipSpec(4, 2, "closer")).tolist() == [[0, 1, 2, 4]]
    assert ClipSpec(4, 2).span_frames == 7


@given(st.integers(1, 60), st.integers(1, 40), st.integers(1, 8), seeds, st.integers(1, 30))
def test_closer_frames_are_even_and_reach_from_end_to_end(n_frames, frames, stride, seed, n_clips):
    spec = ClipSpec(frames, stride, "closer")
    for indices in every_sampler(n_frames, spec, seed, n_clips):
        gaps = np.diff(indices, axis=1)
        if n_frames < spec.span_frames:
            assert (indices[:, 0] == 0).all()
            assert (indices[:, -1] == n_frames - 1).all()
            assert not gaps.size or np.ptp(gaps) <= 1
        else:
            assert (gaps == stride).all()


def test_dense_clips_are_every_window():
    windows = dense_clips(33, ClipSpec(30))
    assert windows[:, 0].tolist() == [0, 1, 2, 3]
    assert windows[3].tolist() == list(range(3, 33))
    assert (dense_clips(3, ClipSpec(5)) == [[0, 1, 2, 2, 2]]).all()


def test_spread_clips_follow_the_published_rule():
    windows = spread_clips(180, ClipSpec(30), 25)  # gap = int((180 - 30 + 1) / 25) = 6
    assert windows.shape == (25, 30)
    assert windows[:, 0].tolist() == [3 + 6 * j for j in range(25)]
    assert spread_clips(204, ClipSpec(30), 25)[:, 0].tolist() == [3 + 7 * j for j in range(25)]  # gap 7, half of it 3
    assert set(spread_clips(40, ClipSpec(30), 25)[:, 0].tolist()) == {0}  # fewer starts than windows


@given(lengths, specs, st.integers(1, 30))
def test_a_layout_is_named(n_frames, spec, n_clips):
    for layout, expected in (
        ("even", uniform_clips(n_frames, spec, n_clips)),
        ("spread", spread_clips(n_frames, spec, n_clips)),
        ("covering", covering_clips(n_frames, spec, n_clips)),
        ("dense", dense_clips(n_frames, spec)),
    ):
        indices = clips_laid_out(n_frames, spec, n_clips, layout)
        assert (indices == expected).all()
        assert indices.min() >= 0
        assert indices.max() < n_frames


def test_too_short_is_an_error_only_where_asked():
    spec = ClipSpec(4, 2, "error")
    assert centre_clip(7, spec).tolist() == [[0, 2, 4, 6]]
    with pytest.raises(KineflowError, match="spans 7 frames, but the video has 6") as caught:
        centre_clip(6, spec)
    assert "repeat_last" in str(caught.value)


def test_a_video_without_frames_is_an_error():
    with pytest.raises(KineflowError, match="without frames"):
        centre_clip(0, ClipSpec(1))


@pytest.mark.parametrize("values", [(0, 1), (1, 0), (4, 1, "mirror")])
def test_impossible_specs_are_refused(values):
    with pytest.raises(ValueError, match="must be"):
        ClipSpec(*values)


def test_no_clips_cannot_be_asked_for():
    with pytest.raises(ValueError, match="n_clips"):
        uniform_clips(10, ClipSpec(2), 0)
