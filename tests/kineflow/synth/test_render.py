import functools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kineflow.synth.motions import MOTIONS, find_motion
from kineflow.synth.render import Look, render_clip
from kineflow.synth.spec import SynthSpec
from kineflow.synth.staging import affines, draw_look, draw_poses
from kineflow.synth.textures import OVERSAMPLING, Blob
from kineflow.synth.truth import Truth, wrap

SPEC = SynthSpec()


@functools.cache
def look_of(seed: int = 0) -> Look:
    return draw_look(SPEC, np.random.default_rng(seed))


def render(motion: str, seed: int, *, noise_levels: float = 0.0) -> tuple[np.ndarray, Truth]:
    rng = np.random.default_rng(seed)
    actor, scene = draw_poses(find_motion(motion), SPEC, rng)
    return render_clip(look_of(seed), actor, scene, size_px=64, noise_levels=noise_levels, rng=rng)


def warp_back(frame: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """I(x + u), float32 [H, W, 3], on the torus."""
    height, width = flow.shape[:2]
    padded = np.pad(frame.astype(np.float32), ((8, 8), (8, 8), (0, 0)), mode="wrap")
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return cv2.remap(padded, x + flow[..., 0] + 8, y + flow[..., 1] + 8, cv2.INTER_LANCZOS4)


@pytest.mark.parametrize("motion", MOTIONS)
def test_flow_carries_each_frame_to_the_next(motion: str) -> None:
    frames, truth = render(motion, seed=7)
    visible = ~truth.occluded
    assert visible.mean() > 0.85
    systematic = []
    for t, flow in enumerate(truth.flow):
        inner = visible[t] & _far_from_edges(truth.mask[t], truth.mask[t + 1], flow)
        carried = warp_back(frames[t + 1], flow)
        residual = carried - frames[t]
        assert np.abs(residual[inner]).mean() < 0.45  # rounding both frames to whole levels gives 0.35
        assert np.percentile(np.abs(residual[inner]), 99.5) < 2
        systematic += [_shift_left(carried, residual, inner & layer) for layer in (truth.mask[t], ~truth.mask[t])]
    assert np.max(np.abs(np.mean(systematic, axis=0))) < 0.015
    assert np.max(np.abs(systematic)) < 0.03


def _shift_left(carried: np.ndarray, residual: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The displacement in pixels that the residual still shows, by least squares on the gradient."""
    if where.sum() < 50:
        return np.zeros(2)
    down, right = np.gradient(carried, axis=(0, 1))
    gradient = np.stack([right[where].ravel(), down[where].ravel()], axis=1)
    return np.linalg.lstsq(gradient, -residual[where].ravel(), rcond=None)[0]


def _far_from_edges(mask: np.ndarray, next_mask: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Pixels that land four pixels or more inside their own layer, which is as far as the warp reaches."""
    height, width = mask.shape
    reach = np.ones((9, 9), np.uint8)
    of_actor = np.pad(next_mask, 8, mode="wrap").astype(np.uint8)
    scene_in_view = np.pad(np.ones_like(of_actor[8:-8, 8:-8]), 8)
    of_scene = scene_in_view & ~of_actor
    y, x = np.mgrid[:height, :width].astype(np.float32)
    at = (x + flow[..., 0] + 8, y + flow[..., 1] + 8)
    actor, scene = (cv2.remap(cv2.erode(layer, reach), *at, cv2.INTER_NEAREST) > 0 for layer in (of_actor, of_scene))
    return np.where(mask, actor, scene)


def test_flow_beats_no_flow_by_far() -> None:
    frames, truth = render("translate_left", seed=2)
    visible = ~truth.occluded[0]
    still = np.abs(frames[1].astype(float) - frames[0])[visible].mean()
    carried = np.abs(warp_back(frames[1], truth.flow[0]) - frames[0])[visible].mean()
    assert carried < 0.2 * still


@pytest.mark.parametrize(
    ("motion", "axis", "sign"),
    [("translate_right", 0, 1), ("translate_left", 0, -1), ("translate_down", 1, 1), ("translate_up", 1, -1)],
)
def test_content_that_moves_right_or_down_has_positive_flow(motion: str, axis: int, sign: int) -> None:
    _, truth = render(motion, seed=4)
    of_actor = truth.flow[truth.mask[:-1]]
    low, high = SPEC.speed_px
    assert np.all((sign * of_actor[:, axis] >= low) & (sign * of_actor[:, axis] <= high))
    np.testing.assert_allclose(of_actor[:, 1 - axis], 0, atol=1e-5)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(st.sampled_from(sorted(MOTIONS)), st.integers(0, 10_000))
def test_background_moves_with_the_camera_and_actor_points_keep_their_place_on_it(motion: str, seed: int) -> None:
    actor, scene = draw_poses(find_motion(motion), SPEC, np.random.default_rng(seed))
    _, truth = render_clip(look_of(), actor, scene, size_px=64, noise_levels=0, rng=np.random.default_rng(0))
    for t, flow in enumerate(truth.flow):
        background = flow[~truth.mask[t]]
        np.testing.assert_allclose(background, np.broadcast_to(truth.camera[t, :, 2], background.shape), atol=1e-5)
        np.testing.assert_allclose(truth.camera[t, :, :2], np.eye(2), atol=1e-12)
        y, x = np.nonzero(truth.mask[t])
        before = _own(actor[t], x, y)
        after = _own(actor[t + 1], x + flow[y, x, 0], y + flow[y, x, 1])
        np.testing.assert_allclose(before, after, atol=1e-3)


def _own(pose: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    offset = np.stack([wrap(x - pose[0, 2], 64.0), wrap(y - pose[1, 2], 64.0)])
    return np.linalg.inv(pose[:, :2]) @ offset


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(sorted(MOTIONS)), st.integers(0, 10_000))
def test_motion_is_slow_enough_for_tv_l1(motion: str, seed: int) -> None:
    actor, scene = draw_poses(find_motion(motion), SPEC, np.random.default_rng(seed))
    _, truth = render_clip(look_of(), actor, scene, size_px=64, noise_levels=0, rng=np.random.default_rng(0))
    speed = np.hypot(truth.flow[..., 0], truth.flow[..., 1])
    assert speed.max() <= 5.5  # the accelerating classes at their fastest
    if motion not in ("accelerate", "decelerate"):
        assert speed.max() <= 4.0


def test_a_clip_with_its_poses_backwards_is_the_clip_backwards() -> None:
    actor, scene = draw_poses(find_motion("grow"), SPEC, np.random.default_rng(5))
    rng = np.random.default_rng(0)
    forwards, truth = render_clip(look_of(), actor, scene, size_px=64, noise_levels=0, rng=rng)
    backwards, reverse_truth = render_clip(look_of(), actor[::-1], scene[::-1], size_px=64, noise_levels=0, rng=rng)
    np.testing.assert_array_equal(backwards, forwards[::-1])
    np.testing.assert_array_equal(reverse_truth.mask, truth.mask[::-1])


def test_actor_that_leaves_on_the_right_enters_on_the_left() -> None:
    still = np.zeros(2)
    poses = affines(x=np.array([63.5, 127.5]), y=still + 32, angle=still, scale=still + 1)
    scene = affines(x=still, y=still, angle=still, scale=still + 1)
    circle = Blob(np.zeros(4), np.zeros(4))
    look = look_of()
    look = Look(look.actor, circle, 10.0, look.scene)
    frames, truth = render_clip(look, poses, scene, size_px=64, noise_levels=0, rng=np.random.default_rng(0))
    assert truth.mask[0, 32, :9].all()
    assert truth.mask[0, 32, -9:].all()
    assert not truth.mask[0, 32, 12:52].any()
    np.testing.assert_array_equal(frames[0], frames[1])  # one period on
    assert truth.mask[0].sum() == pytest.approx(np.pi * 100, rel=0.02)


def test_pixels_are_the_texture_rounded_to_whole_levels() -> None:
    still = np.zeros(1)
    actor = affines(x=still + 32, y=still + 32, angle=still, scale=still + 1)
    scene = affines(x=still - 3, y=still + 5, angle=still, scale=still + 1)
    look = look_of()
    frames, truth = render_clip(look, actor, scene, size_px=64, noise_levels=0, rng=np.random.default_rng(0))
    of_scene = np.roll(look.scene[::OVERSAMPLING, ::OVERSAMPLING], (5, -3), axis=(0, 1))[:64, :64]
    of_actor = np.roll(look.actor[::OVERSAMPLING, ::OVERSAMPLING], (32, 32), axis=(0, 1))
    expected = np.where(truth.mask[0][..., None], of_actor, of_scene)
    assert np.abs(frames[0] - expected).max() <= 0.51


def test_noise_has_the_asked_strength_and_comes_from_the_generator() -> None:
    clean, _ = render("rotate_clockwise", seed=1)
    noisy, _ = render("rotate_clockwise", seed=1, noise_levels=3.0)
    again, _ = render("rotate_clockwise", seed=1, noise_levels=3.0)
    inner = (clean > 15) & (clean < 240)
    assert (noisy.astype(float) - clean)[inner].std() == pytest.approx(3.0, rel=0.05)
    np.testing.assert_array_equal(noisy, again)
