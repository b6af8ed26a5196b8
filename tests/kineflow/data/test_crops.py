import numpy as np
import pytest

from kineflow.data.crops import Jitter, cut_sizes, fixed_views, jittered_view
from kineflow.data.transforms import View, apply_view
from kineflow.storage.errors import KineflowError

PAPER = (1, 0.875, 0.75, 0.66)


def drawn(jitter: Jitter, count: int = 4000, **changes) -> list[View]:
    rng = np.random.default_rng(0)
    given = {"height": 256, "width": 340, "size": 224, "may_flip": True} | changes
    return [jittered_view(**given, jitter=jitter, rng=rng) for _ in range(count)]


def test_the_paper_s_sizes():
    rgb, flow = cut_sizes(256, PAPER), cut_sizes(256, PAPER[:3])
    assert {side for pair in rgb for side in pair} == {256, 224, 192, 168}
    assert (len(rgb), len(flow)) == (10, 7)
    assert (256, 224) in rgb
    assert (256, 192) not in rgb
    assert {side for pair in flow for side in pair} == {256, 224, 192}


@pytest.mark.parametrize("positions", [5, 13])
def test_every_size_and_position_is_drawn_and_lies_in_the_frame(positions):
    views = drawn(Jitter(PAPER, positions))
    assert {view.cut for view in views} == set(cut_sizes(256, PAPER))
    for height, width in cut_sizes(256, PAPER):
        places = {(view.top, view.left) for view in views if view.cut == (height, width)}
        assert max(top for top, _ in places) == 256 - height
        assert max(left for _, left in places) == 340 - width
        rows = {5: 5, 13: 13}[positions] if height < 256 else {5: 3, 13: 5}[positions]
        assert len(places) == rows
    assert 1800 < sum(view.flip for view in views) < 2200


def test_sides_that_go_with_any_other():
    views = drawn(Jitter(PAPER, sides="any"))
    assert {view.cut for view in views} == {(h, w) for h in (256, 224, 192, 168) for w in (256, 224, 192, 168)}


class TestBorders:
    """ST-ResNet's: ``sz = round(min(224 · (.75 + .5 · U), [h; w]))``, and no cut in the middle."""

    VIEWS = drawn(Jitter(positions="borders", side_range=(0.75, 1.25)), 20_000)

    def test_each_side_is_uniform_up_to_the_frame_and_drawn_apart_from_the_other(self):
        heights, widths = np.array([view.cut for view in self.VIEWS]).T
        for sides, longest in ((heights, 256), (widths, 280)):
            assert (sides.min(), sides.max()) == (168, longest)
            for side in range(176, longest, 8):  # P(side ≤ s) = (s + ½ - 168) / 112
                assert (sides <= side).mean() == pytest.approx((side + 0.5 - 168) / 112, abs=0.02)
        assert (heights == 256).mean() == pytest.approx((280 - 255.5) / 112, abs=0.02)
        assert np.corrcoef(heights, widths)[0, 1] == pytest.approx(0, abs=0.03)

    def test_it_lies_within_a_quarter_of_the_room_of_the_same_corner_for_both_axes(self):
        views = [view for view in self.VIEWS if view.cut[0] <= 216]
        room = np.array([(256 - view.cut[0], 340 - view.cut[1]) for view in views])
        shares = np.array([(view.top, view.left) for view in views]) / room
        near, far = shares <= 0.25, shares >= 0.75 - 1 / room
        assert (near | far).all()
        assert (near[:, 0] == near[:, 1]).all()
        assert near[:, 0].mean() == pytest.approx(0.5, abs=0.03)
        assert len({round(19 * share / 0.25) for share in shares[near] if share}) == 19
        assert np.mean([view.flip for view in self.VIEWS]) == pytest.approx(0.5, abs=0.03)


def test_no_flip_where_it_may_not():
    assert not any(view.flip for view in drawn(Jitter(PAPER), count=100, may_flip=False))


def test_a_cut_is_resized_to_the_crop_and_flow_turns_round_with_its_mirror_image():
    ramp = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None], (2, 30, 40, 2)).copy()
    for view in drawn(Jitter((1, 0.75)), count=20, height=30, width=40, size=20):
        rgb, flow = apply_view(ramp, view), apply_view(ramp, view, is_flow=True)
        assert rgb.shape == flow.shape == (2, 20, 20, 2)
        assert (flow[..., 1] == rgb[..., 1]).all()
        assert (flow[..., 0] == (255 - rgb[..., 0] if view.flip else rgb[..., 0])).all()
        rises = np.diff(rgb[0, 0, :, 0].astype(int))
        assert (rises <= 0).all() if view.flip else (rises >= 0).all()


def test_ten_crops_are_corners_and_centre_and_their_mirror_images():
    views = fixed_views(256, 340, 224, 10)
    corners = {(0, 0), (0, 116), (32, 0), (32, 116), (16, 58)}
    for flip in (False, True):
        assert {(view.top, view.left) for view in views if view.flip is flip} == corners
    assert len(views) == 10
    assert all(view.size == 224 and view.cut is None for view in views)
    assert fixed_views(256, 340, 224, 5) == views[:5]
    assert fixed_views(256, 340, 224, 1) == [View(16, 58, 224)]
    assert fixed_views(256, 340, 224, 2) == [View(16, 58, 224), View(16, 58, 224, flip=True)]


def test_whole_frames_are_neither_cut_nor_resized():
    frames = np.arange(2 * 3 * 5 * 2, dtype=np.uint8).reshape(2, 3, 5, 2)
    plain, mirrored = (apply_view(frames, view) for view in fixed_views(3, 5, 2, "whole"))
    assert (plain == frames).all()
    assert (mirrored == frames[:, :, ::-1]).all()


@pytest.mark.parametrize("count", [1, 5, 10])
def test_a_crop_larger_than_the_frame(count):
    with pytest.raises(KineflowError, match="crop of 224 px does not fit"):
        fixed_views(200, 340, 224, count)
