import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kineflow.data import transforms
from kineflow.data.transforms import View
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError

RGB = Preprocessing("rgb", 2, 1, short_side=8, crop=4, mean=(10.0, 20.0, 30.0), std=(1.0, 2.0, 4.0))
FLOW = dataclasses.replace(RGB, modality="flow", mean=(128.0, 128.0), std=(32.0, 64.0))


def coordinates(height: int, width: int, frames: int = 1) -> np.ndarray:
    """[T, H, W, 2] whose two channels say where a pixel is: (x, y)."""
    y, x = np.mgrid[:height, :width]
    return np.repeat(np.stack([x, y], -1)[None].astype(np.uint8), frames, axis=0)


class TestViews:
    def test_centre(self):
        assert transforms.centre_view(height=10, width=21, size=8) == View(top=1, left=6, size=8)

    @given(st.integers(4, 30), st.integers(4, 30), st.integers(0, 2**32), st.booleans())
    def test_random_view_lies_in_the_frame(self, height, width, seed, may_flip):
        view = transforms.random_view(height, width, 4, may_flip=may_flip, rng=np.random.default_rng(seed))
        assert 0 <= view.top <= height - 4
        assert 0 <= view.left <= width - 4
        assert may_flip or not view.flip

    def test_random_views_reach_every_place_and_flip_half_the_time(self):
        rng = np.random.default_rng(0)
        views = [transforms.random_view(6, 7, 4, may_flip=True, rng=rng) for _ in range(600)]
        assert {(view.top, view.left) for view in views} == {(top, left) for top in range(3) for left in range(4)}
        assert 240 < sum(view.flip for view in views) < 360

    @pytest.mark.parametrize("size", [(7, 20), (20, 7)])
    def test_a_crop_larger_than_the_frame(self, size):
        height, width = size
        for view in (
            lambda: transforms.centre_view(height, width, 8),
            lambda: transforms.random_view(height, width, 8, may_flip=False, rng=np.random.default_rng(0)),
        ):
            with pytest.raises(KineflowError, match=f"crop of 8 px does not fit frames of {width}x{height}") as caught:
                view()
            assert "short_side" in caught.value.remedy


class TestApplyView:
    def test_cuts_the_square(self):
        cut = transforms.apply_view(coordinates(9, 12), View(top=2, left=5, size=3))
        assert cut.shape == (1, 3, 3, 2)
        assert cut[0, 0, 0].tolist() == [5, 2]
        assert cut[0, -1, -1].tolist() == [7, 4]

    def test_flip_mirrors_rgb_and_changes_no_value(self):
        frames = coordinates(4, 4)
        flipped = transforms.apply_view(frames, View(0, 0, 4, flip=True))
        assert flipped[0, 0, :, 0].tolist() == [3, 2, 1, 0]
        assert flipped[0, :, 0, 1].tolist() == [0, 1, 2, 3]

    def test_flip_of_flow_mirrors_both_and_inverts_u_only(self):
        levels = coordinates(4, 4)
        flipped = transforms.apply_view(levels, View(0, 0, 4, flip=True), is_flow=True)
        assert flipped[0, 0, :, 0].tolist() == [252, 253, 254, 255]
        assert flipped[0, :, 0, 1].tolist() == [0, 1, 2, 3]
        assert levels[0, 0, :, 0].tolist() == [0, 1, 2, 3]  # what was decoded, and may be cached, is left alone

    @given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=3, max_side=6)), st.booleans())
    def test_flipping_twice_is_the_identity(self, plane, is_flow):
        frames = np.stack([plane, 255 - plane], axis=-1)[None]
        size = min(plane.shape)
        view = View(0, 0, size, flip=True)
        once = transforms.apply_view(frames, view, is_flow=is_flow)
        twice = transforms.apply_view(once, view, is_flow=is_flow)
        np.testing.assert_array_equal(twice, frames[:, :size, :size])


class TestResizeShortSide:
    @given(st.integers(8, 60), st.integers(8, 60), st.integers(8, 40))
    def test_short_side_is_exact_and_the_shape_kept(self, height, width, short_side):
        resized = transforms.resize_short_side(np.zeros((1, height, width, 3), np.uint8), short_side)
        assert min(resized.shape[1:3]) == short_side
        scale = short_side / min(height, width)
        assert abs(resized.shape[1] - height * scale) <= 0.5
        assert abs(resized.shape[2] - width * scale) <= 0.5

    def test_only_odd_shapes_are_too_long(self):
        assert transforms.resized_to(256, 340, 2048) == (2048, 2720)
        with pytest.raises(KineflowError, match="become"):
            transforms.resized_to(8, 400, 256)

    def test_already_right_is_not_touched(self):
        frames = np.zeros((2, 8, 12, 2), np.uint8)
        assert transforms.resize_short_side(frames, 8) is frames

    def test_values_are_averaged_on_the_way_down_and_never_scaled(self):
        frames = np.zeros((1, 4, 4, 2), np.uint8)
        frames[0, :2, :2, 0] = [[10, 20], [30, 40]]
        frames[..., 1] = 200
        small = transforms.resize_short_side(frames, 2)
        assert small[0, 0, 0].tolist() == [25, 200]


def test_to_tensor_puts_channels_first():
    frames = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    tensor = transforms.to_tensor(frames[:, :, ::-1])
    assert tensor.shape == (3, 2, 3, 4)
    assert tensor.dtype == torch.uint8
    assert tensor[1, 1, 2, 0] == frames[1, 2, 3, 1]


def test_normalise_is_per_channel_with_or_without_a_batch():
    clips = torch.full((2, 3, 1, 2, 2), 40, dtype=torch.uint8)
    values = transforms.normalise(clips, RGB)
    assert values.dtype == torch.float32
    assert values[1, :, 0, 1, 1].tolist() == [30.0, 10.0, 2.5]
    torch.testing.assert_close(transforms.normalise(clips[0], RGB), values[0])


def test_a_network_that_takes_bgr_gets_its_figures_in_that_order():
    caffe = dataclasses.replace(RGB, mean=(104.0, 117.0, 123.0), std=(1.0, 2.0, 4.0), channel_order="bgr")
    clips = torch.tensor([200, 150, 100], dtype=torch.uint8).view(1, 3, 1, 1, 1).expand(2, 3, 5, 4, 4)
    seen = transforms.normalise(clips, caffe)
    assert seen.shape == clips.shape
    assert seen[1, :, 4, 3, 3].tolist() == [100 - 104, (150 - 117) / 2, (200 - 123) / 4]
