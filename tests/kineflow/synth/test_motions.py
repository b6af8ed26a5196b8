import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.storage.errors import KineflowError
from kineflow.synth.motions import DEMO_CLASSES, MOTIONS, MotionParams, clip_times, find_motion

FIELDS = ("dx", "dy", "angle", "log_scale")


def figures(phase_rad: float = 0.3) -> MotionParams:
    return MotionParams(
        speed_px=2.0, turn_rad=0.1, growth=0.05, heading_rad=1.1, phase_rad=phase_rad, half_clip_frames=6.0
    )


@pytest.mark.parametrize(
    ("name", "field", "step"),
    [
        ("translate_right", "dx", 2.0),
        ("translate_left", "dx", -2.0),
        ("translate_down", "dy", 2.0),
        ("translate_up", "dy", -2.0),
        ("rotate_clockwise", "angle", 0.1),
        ("rotate_anticlockwise", "angle", -0.1),
        ("grow", "log_scale", 0.05),
        ("shrink", "log_scale", -0.05),
    ],
)
def test_demo_classes_change_one_thing_at_a_constant_rate(name: str, field: str, step: float) -> None:
    path = find_motion(name).path(clip_times(13), figures())
    for other in FIELDS:
        np.testing.assert_allclose(np.diff(getattr(path, other)), step if other == field else 0.0, atol=1e-12)


def test_demo_has_the_eight_classes() -> None:
    assert len(set(DEMO_CLASSES)) == 8
    assert set(DEMO_CLASSES) <= set(MOTIONS)


@pytest.mark.parametrize("name", MOTIONS)
@pytest.mark.parametrize("frames", [2, 12, 13])
def test_a_clip_played_backwards_shows_the_reverse_class(name: str, frames: int) -> None:
    tau = clip_times(frames)
    motion = find_motion(name)
    # An oscillation played backwards is one of another phase; the other paths need no change of figures.
    backwards = figures(math.pi - 0.3) if name.startswith("oscillate") else figures()
    reverse = find_motion(motion.reverse).path(tau, backwards)
    path = motion.path(tau, figures())
    for field in FIELDS:
        np.testing.assert_allclose(getattr(path, field)[::-1], getattr(reverse, field), atol=1e-12)


@pytest.mark.parametrize("name", MOTIONS)
def test_reverse_of_the_reverse_is_the_class_itself(name: str) -> None:
    assert find_motion(find_motion(name).reverse).reverse == name


@pytest.mark.parametrize("name", MOTIONS)
def test_only_scaling_classes_change_size(name: str) -> None:
    path = find_motion(name).path(clip_times(13), figures())
    assert bool(np.any(path.log_scale)) == find_motion(name).scales


@pytest.mark.parametrize("name", [name for name in MOTIONS if name not in ("oscillate_x", "oscillate_y")])
def test_paths_pass_through_the_drawn_pose_in_the_middle(name: str) -> None:
    path = find_motion(name).path(clip_times(13), figures())
    assert [float(getattr(path, field)[6]) for field in FIELDS] == pytest.approx([0.0] * 4)


def test_accelerating_ends_faster_and_never_turns_back() -> None:
    path = find_motion("accelerate").path(clip_times(13), figures())
    steps = np.hypot(np.diff(path.dx), np.diff(path.dy))
    assert np.all(np.diff(steps) > 0)
    assert np.all(np.diff(path.dx) * math.cos(1.1) > 0)
    assert steps[-1] < 2 * 2.0


def test_left_then_right_turns_in_the_middle() -> None:
    steps = np.diff(find_motion("left_then_right").path(clip_times(13), figures()).dx)
    np.testing.assert_allclose(steps, [-2.0] * 6 + [2.0] * 6)
    opposite = np.diff(find_motion("right_then_left").path(clip_times(13), figures()).dx)
    np.testing.assert_allclose(opposite, -steps)


@given(st.sampled_from(sorted(MOTIONS)), st.floats(0, 2 * math.pi))
def test_no_path_is_faster_than_twice_its_speed(name: str, phase_rad: float) -> None:
    path = find_motion(name).path(clip_times(25), figures(phase_rad))
    assert np.all(np.hypot(np.diff(path.dx), np.diff(path.dy)) < 2 * 2.0 * 2.0)
    assert np.all(np.hypot(np.diff(path.dx[6:19]), np.diff(path.dy[6:19])) <= 2 * 2.0)


def test_unknown_motion_names_the_known_ones() -> None:
    with pytest.raises(KineflowError, match=r"no motion class 'jump'(?s:.*)translate_left"):
        find_motion("jump")
