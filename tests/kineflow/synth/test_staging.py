import functools

import numpy as np
import pytest

from kineflow.synth.motions import MOTIONS, find_motion
from kineflow.synth.spec import SynthSpec
from kineflow.synth.staging import affines, draw_look, draw_poses

SPEC = SynthSpec()
DRAWS = 1500


@functools.cache
def draw_many(motion: str) -> tuple[np.ndarray, np.ndarray]:
    """Actor and scene poses, float64 [DRAWS, T, 2, 3] each."""
    rng = np.random.default_rng(1)
    actor, scene = zip(*(draw_poses(find_motion(motion), SPEC, rng) for _ in range(DRAWS)), strict=True)
    return np.stack(actor), np.stack(scene)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Kolmogorov-Smirnov: the greatest difference between two samples' distribution functions."""
    at = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(sample), at, side="right") / len(sample) for sample in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


LIMIT = 1.95 * np.sqrt(2 / DRAWS)  # exceeded by equal distributions once in a thousand


@pytest.mark.slow
@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("t", [0, 6, 12])
def test_place_and_orientation_are_uniform_in_every_frame_of_every_class(motion: str, t: int) -> None:
    actor, _ = draw_many(motion)
    even = (np.arange(DRAWS) + 0.5) / DRAWS
    for axis in (0, 1):
        assert distance(np.mod(actor[:, t, axis, 2], 64) / 64, even) < LIMIT
    angle = np.arctan2(actor[:, t, 1, 0], actor[:, t, 0, 0])
    assert distance(np.mod(angle, 2 * np.pi) / (2 * np.pi), even) < LIMIT


@pytest.mark.parametrize("motion", ["grow", "shrink", "rotate_clockwise", "start"])
def test_size_in_a_random_frame_is_alike_for_every_class(motion: str) -> None:
    def sizes(actor: np.ndarray) -> np.ndarray:
        t = np.random.default_rng(2).integers(SPEC.frames, size=DRAWS)
        return np.linalg.det(actor[np.arange(DRAWS), t, :, :2])

    assert distance(sizes(draw_many(motion)[0]), sizes(draw_many("translate_left")[0])) < LIMIT


def test_growing_actors_grow_and_shrinking_ones_shrink_at_the_asked_rate() -> None:
    for motion, sign in (("grow", 1), ("shrink", -1)):
        rate = sign * np.diff(0.5 * np.log(np.linalg.det(draw_many(motion)[0][..., :2])), axis=1)
        assert rate.min() >= SPEC.growth[0] - 1e-9
        assert rate.max() <= SPEC.growth[1] + 1e-9


def test_camera_moves_steadily_in_any_direction_and_never_too_fast() -> None:
    _, scene = draw_many("grow")
    velocity = np.diff(scene[..., 2], axis=1)
    np.testing.assert_allclose(velocity, np.broadcast_to(velocity[:, :1], velocity.shape), atol=1e-9)
    speed = np.hypot(*velocity[:, 0].T)
    assert SPEC.camera_px * 0.95 < speed.max() <= SPEC.camera_px
    quadrant = np.arctan2(velocity[:, 0, 1], velocity[:, 0, 0]) // (np.pi / 2)
    assert np.all(np.bincount(quadrant.astype(int) + 2, minlength=4) > 0.2 * DRAWS)


def test_camera_is_drawn_alike_for_every_class() -> None:
    one, other = (np.hypot(*np.diff(draw_many(motion)[1][:, :2, :, 2], axis=1)[:, 0].T) for motion in ("grow", "stop"))
    assert distance(one, other) < LIMIT


@pytest.mark.parametrize(("camouflage", "least", "most"), [(0.0, 10, 100), (0.5, 4, 40), (1.0, 0, 3)])
def test_camouflage_brings_the_colours_of_actor_and_scene_together(
    camouflage: float, least: float, most: float
) -> None:
    rng = np.random.default_rng(0)
    spec = SynthSpec(size_px=32, radius_px=5.0, camouflage=camouflage)
    looks = [draw_look(spec, rng) for _ in range(20)]
    apart = np.mean([np.abs(look.actor.mean(axis=(0, 1)) - look.scene.mean(axis=(0, 1))).mean() for look in looks])
    assert least <= apart <= most


def test_affine_turns_clockwise_scales_and_moves() -> None:
    one = np.ones(1)
    pose = affines(x=3 * one, y=4 * one, angle=np.pi / 2 * one, scale=2 * one)[0]
    np.testing.assert_allclose(pose @ [1, 0, 1], [3, 6], atol=1e-12)  # right becomes down
    np.testing.assert_allclose(pose @ [0, 1, 1], [1, 4], atol=1e-12)
