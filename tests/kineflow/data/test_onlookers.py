"""Two networks look at the same moment and place, each in its own geometry."""

import numpy as np
import pytest

from kineflow.data.batch_sampler import SampleRef
from kineflow.data.dataset import ClipDataset, Geometry, Onlooker
from kineflow.data.onlookers import view_beside, window_beside
from kineflow.data.transforms import View
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.sampling import ClipSpec, random_clip
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.video.encode import write_video


def middle(window: np.ndarray) -> float:
    return (window.min() + window.max()) / 2


class TestWindows:
    @pytest.mark.parametrize("n_frames", [5, 12, 40])
    @pytest.mark.parametrize("short", ["repeat_last", "wrap", "closer"])
    def test_the_same_geometry_sees_the_same_frames(self, n_frames, short):
        spec = ClipSpec(8, 2, short)
        for seed in range(5):
            seen = random_clip(n_frames, spec, np.random.default_rng(seed))
            assert np.array_equal(window_beside(seen, n_frames, spec), seen)

    @pytest.mark.parametrize("spec", [ClipSpec(4), ClipSpec(16), ClipSpec(5, 3), ClipSpec(1)])
    def test_the_middle_is_the_same(self, spec):
        for seed in range(20):
            seen = random_clip(200, ClipSpec(8, 2), np.random.default_rng(seed))
            seen = np.clip(seen, 20, 180)
            own = window_beside(seen, 200, spec)
            assert own.shape == (1, spec.frames)
            assert abs(middle(own) - middle(seen)) <= 0.5

    def test_a_longer_window_stays_in_the_video(self):
        first, last = np.arange(4)[None], np.arange(16, 20)[None]
        assert window_beside(first, 20, ClipSpec(8)).tolist() == [list(range(8))]
        assert window_beside(last, 20, ClipSpec(8)).tolist() == [list(range(12, 20))]
        assert window_beside(last, 20, ClipSpec(8, 4, "closer")).tolist() == [[0, 2, 5, 8, 10, 13, 16, 19]]

    def test_snippets_have_the_middles_of_as_many_snippets(self):
        seen = np.array([[3], [14], [25]])
        assert window_beside(seen, 30, ClipSpec(5), segments=3).tolist() == [
            [1, 2, 3, 4, 5], [12, 13, 14, 15, 16], [23, 24, 25, 26, 27],
        ]  # fmt: skip

    def test_snippets_are_spread_over_a_window_and_a_window_is_in_the_middle_of_snippets(self):
        window = np.arange(10, 22)[None]
        assert window_beside(window, 30, ClipSpec(1), segments=3).tolist() == [[12], [16], [20]]
        assert window_beside(np.array([[3], [14], [25]]), 30, ClipSpec(4), segments=0).tolist() == [[12, 13, 14, 15]]
        own = window_beside(np.array([[7]]), 30, ClipSpec(3), segments=3)  # one frame: as close as snippets get
        assert own.shape == (3, 3)
        assert np.abs(own - 7).max() <= 3


class TestViews:
    def test_the_same_region_in_another_size(self):
        view = View(top=16, left=40, size=112, flip=True)
        assert view_beside(view, (128, 192), (256, 384), 224) == View(32, 80, 224, True, cut=(224, 224))
        assert view_beside(view, (128, 192), (64, 96), 112) == View(8, 20, 112, True, cut=(56, 56))

    def test_a_jittered_cut_and_a_squashed_frame(self):
        view = View(0, 10, 8, cut=(12, 6))
        assert view_beside(view, (16, 24), (32, 48), 20) == View(0, 20, 20, cut=(24, 12))
        assert view_beside(View(0, 0, 8, True, squash=True), (16, 24), (32, 48), 20) == View(
            0, 0, 20, True, squash=True
        )

    def test_it_lies_within_the_frame_whatever_is_rounded(self):
        for height in range(20, 40):
            for own in (7, 33, 61):
                for top in range(height - 15):
                    view = view_beside(View(top, 0, 16), (height, height), (own, own), 8)
                    assert view.cut is not None
                    assert 0 <= view.top <= own - view.cut[0]
                    assert abs((view.top + view.cut[0] / 2) / own - (top + 8) / height) <= 0.5 / own + 1e-9


FRAMES, HEIGHT, WIDTH = 24, 32, 48


@pytest.fixture
def clip_set(tmp_path) -> ClipSet:
    """A clip whose red says when, and whose green and blue say where: down and right."""
    t, y, x = np.mgrid[:FRAMES, :HEIGHT, :WIDTH]
    pixels = np.stack([10 * t, 6 * y, 4 * x + 20], axis=-1).astype(np.uint8)
    write_video(tmp_path / "a.mp4", pixels, fps=25, crf=0)
    clip = Clip(
        clip_id="a", path="a.mp4", label="wave", group="a", split=Split.TRAIN, frames=FRAMES, fps=25.0, width=WIDTH,
        height=HEIGHT, rotation=0, sha256="a", status=Status.OK, reason="", source="a",
    )  # fmt: skip
    return ClipSet(("wave",), (clip,), str(tmp_path))


def seen(clip: np.ndarray) -> tuple[float, float, float]:
    """When, and where down and right, as shares of the frame: of the middle of what is seen."""
    red, green, blue = clip.mean(axis=(1, 2, 3))
    return red / 10, green / 6 / HEIGHT, (blue - 20) / 4 / WIDTH


@pytest.mark.parametrize(
    "own",
    [
        Geometry(ClipSpec(9), short_side=32, crop=24),
        Geometry(ClipSpec(3, 3), short_side=64, crop=48),
        Geometry(ClipSpec(5), short_side=20, crop=20),
        Geometry(ClipSpec(5, 2), short_side=32, crop=16, fit="squash"),
    ],
    ids=["longer", "larger", "whole height", "squashed"],
)
def test_an_onlooker_sees_the_same_moment_and_place(clip_set, own):
    clips = ClipDataset(
        clip_set,
        clip_set.clips,
        modalities=("rgb",),
        geometry=Geometry(ClipSpec(5), short_side=16, crop=12),
        may_flip=True,
        onlookers={"teacher": Onlooker("rgb", own)},
    )
    alone = clips.showing(("rgb",))
    reach = (own.spec.span_frames - 1) / 2
    flips = set()
    for seed in range(12):
        sample = clips[SampleRef(0, seed)]
        assert np.array_equal(alone[SampleRef(0, seed)]["rgb"], sample["rgb"])
        mine, theirs = (sample[key].numpy().astype(float) for key in ("rgb", "teacher"))
        assert theirs.shape == (3, own.spec.frames, own.crop, own.crop)
        (when, *where), (own_moment, *own_place) = seen(mine), seen(theirs)
        np.testing.assert_allclose(own_place, where, atol=0.03)
        assert abs(own_moment - np.clip(when, reach, FRAMES - 2 - reach)) <= 0.8  # the last frame is left out
        first, second = (clip[2, 0, :, 0].mean() > clip[2, 0, :, -1].mean() for clip in (mine, theirs))
        assert first == second
        flips.add(first)
    assert flips == {True, False}
