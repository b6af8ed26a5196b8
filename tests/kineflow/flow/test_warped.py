"""Warped flow, held to clips whose camera motion is exactly known."""

from __future__ import annotations

import itertools
import math

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from kineflow.flow.camera import WARP_MARGIN_PX
from kineflow.flow.tvl1 import tvl1_flow
from kineflow.flow.warped import WarpedFlow, warped_flow
from kineflow.spec.tvl1 import PRESETS
from kineflow.storage.errors import KineflowError
from kineflow.synth.motions import clip_times, find_motion
from kineflow.synth.render import render_clip
from kineflow.synth.spec import SynthSpec
from kineflow.synth.staging import affines, draw_look, draw_poses
from kineflow.synth.truth import Truth

CAPPED = PRESETS["capped"]
SIZE = 96


def rendered(
    *, pan: tuple[float, float] = (0, 0), roll: float = 0, zoom: float = 0, radius: float = 16, seed: int = 0
) -> tuple[Tensor, Truth]:
    """Grey frames [3, H, W] of an actor that moves right before a camera that pans, rolls, zooms about its middle."""
    spec = SynthSpec(size_px=SIZE, frames=3, radius_px=radius, speed_px=(2.0, 2.0))
    rng = np.random.default_rng(seed)
    look = draw_look(spec, rng)
    actor, _ = draw_poses(find_motion("translate_right"), spec, rng)
    actor[:, :, 2] += SIZE / 2 - actor[1, :, 2]  # in the middle
    tau = clip_times(spec.frames)
    scene = affines(x=0 * tau, y=0 * tau, angle=roll * tau, scale=np.exp(zoom * tau))
    scene[:, :, 2] = SIZE / 2 + tau[:, None] * pan - scene[:, :, :2] @ np.full(2, SIZE / 2)
    frames, truth = render_clip(look, actor, scene, size_px=SIZE, noise_levels=1.0, rng=rng)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    return torch.from_numpy(np.stack(grey)), truth


def pairs_of(frames: Tensor, people: npt.NDArray[np.bool_] | None = None) -> WarpedFlow:
    masks = None if people is None else torch.from_numpy(people[:-1])
    return warped_flow(frames[:-1], frames[1:], CAPPED, people=masks)


def background(truth: Truth) -> npt.NDArray[np.bool_]:
    """Pixels [T-1, H, W] off the actor and not beside it, where flow of any kind is mixed."""
    near = [cv2.dilate(mask.astype(np.uint8), np.ones((9, 9))) for mask in truth.mask]
    return np.stack([(a | b) == 0 for a, b in itertools.pairwise(near)])


def camera_flow(truth: Truth) -> npt.NDArray[np.float64]:
    y, x = np.mgrid[:SIZE, :SIZE]
    points = np.stack([x, y, np.ones_like(x)]).astype(float)
    return np.stack([np.tensordot(camera, points, 1) - points[:2] for camera in truth.camera])


def speed(flow: Tensor | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.linalg.norm(np.asarray(flow), axis=1)


CAMERAS = {
    "pan": {"pan": (2.0, -1.0)},
    "fast pan": {"pan": (-4.0, 2.5)},
    "roll": {"roll": 0.025},
    "zoom in": {"zoom": 0.02},
    "zoom out": {"zoom": -0.02},
    "all at once": {"pan": (1.5, 1.0), "roll": -0.015, "zoom": 0.01},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CAMERAS)
def test_the_background_stands_still(name: str) -> None:
    frames, truth = rendered(**CAMERAS[name])  # type: ignore[arg-type]
    result, behind = pairs_of(frames), background(truth)
    by_camera = camera_flow(truth)
    assert all(camera.found and camera.moves for camera in result.cameras)
    assert speed(by_camera)[behind].mean() > 0.7
    assert speed(result.flow.numpy() - by_camera)[behind].mean() < 0.2
    assert speed(result.warped)[behind].mean() < 0.2
    estimated = np.stack([camera.flow(SIZE, SIZE) for camera in result.cameras])
    assert speed(estimated - by_camera).mean() < 0.06  # measured: up to 0.035


def test_the_actor_keeps_its_motion_against_the_background() -> None:
    frames, truth = rendered(pan=(2.0, 1.0))
    result = pairs_of(frames)
    inside = np.stack([cv2.erode(mask.astype(np.uint8), np.ones((9, 9))) > 0 for mask in truth.mask[:-1]])
    median = np.median(result.warped.numpy().transpose(1, 0, 2, 3)[:, inside], axis=1)
    assert np.allclose(median, [0.0, -1.0], atol=0.25)  # it moves by (2, 0)


@pytest.mark.parametrize("pan", [(3, 0), (-2, 4), (0, -1)])
def test_a_pure_pan_of_a_texture(pan: tuple[int, int]) -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(120, 140)), (0, 0), 2)
    world = np.clip(128 + 40 * noise / noise.std(), 0, 255).astype(np.uint8)
    dx, dy = pan
    first, second = world[20:100, 20:120], world[20 - dy : 100 - dy, 20 - dx : 120 - dx]
    result = warped_flow(torch.from_numpy(first)[None], torch.from_numpy(second)[None], CAPPED)
    inner = np.s_[:, :, 8:-8, 8:-8]
    assert np.abs(result.flow[inner].mean((0, 2, 3)) - np.array(pan)).max() < 0.1
    assert speed(result.warped).mean() < 0.05
    assert speed(result.warped[inner]).max() < 0.2


def test_a_mask_helps_against_an_actor_that_fills_the_frame() -> None:
    frames, truth = rendered(pan=(0.0, -2.5), radius=31, seed=3)
    assert truth.mask.mean() > 0.3
    behind = background(truth)
    without, with_mask = (pairs_of(frames, people) for people in (None, truth.mask))
    residual = speed(with_mask.warped)[behind].mean()
    assert residual < 0.2
    assert residual < speed(without.warped)[behind].mean() + 0.02
    assert all(a.matches < b.matches for a, b in zip(with_mask.cameras, without.cameras, strict=True))


def test_a_mask_does_not_hurt_where_none_is_needed() -> None:
    frames, truth = rendered(pan=(2.0, -1.0))
    behind = background(truth)
    without, with_mask = (speed(pairs_of(frames, people).warped)[behind].mean() for people in (None, truth.mask))
    assert with_mask < without + 0.02


def test_an_actor_that_outvotes_the_background_is_masked() -> None:
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.normal(size=(140, 140)), (0, 0), 2)
    world = np.clip(128 + 40 * noise / noise.std(), 0, 255).astype(np.uint8)
    people = np.zeros((100, 100), bool)
    people[:, 30:] = True
    first = world[20:120, 20:120]
    second = np.where(np.roll(people, 2, 1), world[20:120, 18:118], world[22:122, 20:120])
    frames = torch.from_numpy(np.stack([first, second]))[:, None]
    masks = torch.from_numpy(people)[None]
    behind = np.s_[:, :, 10:-10, 10:20]
    without = warped_flow(frames[0], frames[1], CAPPED)
    with_mask = warped_flow(frames[0], frames[1], CAPPED, people=masks)
    assert speed(without.warped[behind]).mean() > 0.5  # the people's motion was taken for the camera's
    assert speed(with_mask.warped[behind]).mean() < 0.2


def test_a_camera_that_stands_still_leaves_the_flow_alone() -> None:
    frames, _ = rendered()
    steady = torch.stack([frames[0], frames[0]])
    steady[1, :14, 40:54] = steady[0, :14, 38:52]  # something small moves at the border
    result = pairs_of(steady)
    assert result.cameras[0].found
    assert not result.cameras[0].moves
    assert result.flow.abs().max() > 1
    assert torch.equal(result.warped, result.flow)


def test_flat_frames_do_not_move() -> None:
    frames = torch.full((3, 40, 50), 77, dtype=torch.uint8)
    result = pairs_of(frames)
    assert not result.flow.any()
    assert not result.warped.any()
    assert all(not camera.found and not camera.moves for camera in result.cameras)


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (17, 3), (33, 35)])
def test_any_size(size: tuple[int, int]) -> None:
    frames = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    result = pairs_of(frames)
    assert result.flow.shape == result.warped.shape == (2, 2, *size)
    assert result.warped.isfinite().all()


def test_without_a_camera_the_warped_flow_is_the_flow() -> None:
    frames = torch.randint(0, 256, (2, 30, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    result = pairs_of(frames)
    assert not result.cameras[0].found
    assert torch.equal(result.warped, result.flow)


def test_a_scene_cut_does_not_explode() -> None:
    (before, _), (after, _) = rendered(seed=1), rendered(seed=2)
    result = pairs_of(torch.stack([before[0], after[0]]))
    assert result.warped.isfinite().all()
    assert speed(result.warped).mean() < 1.5 * speed(result.flow).mean() + 1
    assert np.abs(result.cameras[0].flow(SIZE, SIZE)).max() < SIZE


def test_no_pairs() -> None:
    nothing = torch.empty(0, 20, 30, dtype=torch.uint8)
    result = warped_flow(nothing, nothing)
    assert result.flow.shape == result.warped.shape == (0, 2, 20, 30)
    assert result.cameras == ()


def test_flow_is_that_of_tvl1_and_frames_are_left_alone() -> None:
    frames, _ = rendered(pan=(2.0, -1.0))
    kept = frames.clone()
    result = pairs_of(frames)
    assert torch.equal(result.flow, tvl1_flow(frames[:-1], frames[1:], CAPPED))
    assert torch.equal(frames, kept)


def test_threads_and_runs_give_the_same() -> None:
    frames, _ = rendered(pan=(1.0, 1.0), roll=0.01)
    first, second = frames[:-1].repeat(4, 1, 1), frames[1:].repeat(4, 1, 1)
    one, four = (warped_flow(first, second, CAPPED, threads=threads) for threads in (1, 4))
    assert torch.equal(one.warped, four.warped)
    assert torch.equal(one.warped[:2], one.warped[2:4])
    homographies = [[camera.homography.tobytes() for camera in result.cameras] for result in (one, four)]
    assert homographies[0] == homographies[1]


def test_a_pair_does_not_depend_on_its_batch() -> None:
    moving, _ = rendered(pan=(2.0, -1.0))
    first, second = torch.stack([moving[0], moving[1], moving[1]]), torch.stack([moving[1], moving[1], moving[2]])
    together = warped_flow(first, second, CAPPED)
    for n in range(3):
        alone = warped_flow(first[n : n + 1], second[n : n + 1], CAPPED)
        torch.testing.assert_close(alone.warped[0], together.warped[n], atol=1e-4, rtol=0)


def test_what_comes_into_view_does_not_move() -> None:
    frames, truth = rendered(pan=(4.0, 0.0))
    result = pairs_of(frames)
    # The second frame does not show what was within 4 px of the right border, nor is its own margin trusted.
    unseen = result.warped[0, :, 10:-10, SIZE - 4 - WARP_MARGIN_PX + 2 :]
    assert math.isclose(float(unseen.abs().mean()), 0, abs_tol=0.1)
    assert speed(camera_flow(truth)).mean() > 3


def test_floats_are_refused() -> None:
    with pytest.raises(KineflowError, match="uint8"):
        warped_flow(torch.zeros(1, 8, 8), torch.zeros(1, 8, 8))


def test_masks_of_another_size_are_refused() -> None:
    frames = torch.zeros(2, 8, 8, dtype=torch.uint8)
    with pytest.raises(KineflowError, match=r"\[1, 8, 8\]"):
        warped_flow(frames, frames, people=torch.zeros(1, 8, 8, dtype=torch.bool))
