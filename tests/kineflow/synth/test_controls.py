"""The set's promise: one frame tells nothing of the class, and the frames out of order nothing of the direction."""

import numpy as np
import pytest

from kineflow.synth.controls import actor_statistics, frame_statistics, guess_accuracy, motion_statistics
from kineflow.synth.motions import MOTIONS, find_motion
from kineflow.synth.render import render_clip
from kineflow.synth.spec import SynthSpec
from kineflow.synth.staging import draw_look, draw_poses
from kineflow.synth.truth import Truth

SPEC = SynthSpec(size_px=32, radius_px=7.25, speed_px=(0.75, 1.5), camera_px=0.75)  # the demo's set at half size
FRAMES = SPEC.frames
CLIPS = 60  # of each class, for the fit and as many for the test
LABELS = np.repeat(np.arange(len(SPEC.classes)), 2 * CLIPS)
TIMES = {"first": 0, "middle": FRAMES // 2, "last": FRAMES - 1, "random": None}

Samples = dict[str, tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Of every clip, a frame (uint8 [N, H, W, 3]) and its mask (bool [N, H, W]) by when it is taken."""
    rng = np.random.default_rng(11)
    looks = [draw_look(SPEC, rng) for _ in range(16)]
    taken: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {time: [] for time in TIMES}
    for label in LABELS:
        actor, scene = draw_poses(find_motion(SPEC.classes[label]), SPEC, rng)
        at = [rng.integers(FRAMES) if t is None else t for t in TIMES.values()]
        look = looks[rng.integers(len(looks))]
        frames, truth = render_clip(look, actor[at], scene[at], size_px=32, noise_levels=2.0, rng=rng)
        for time, frame, mask in zip(TIMES, frames, truth.mask, strict=True):
            taken[time].append((frame, mask))
    return {
        time: (np.stack([f for f, _ in of_time]), np.stack([m for _, m in of_time])) for time, of_time in taken.items()
    }


def accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy on every second clip of a classifier fitted to the others."""
    _, labels = np.unique(labels, return_inverse=True)
    fit = np.arange(len(labels)) % 2 == 0
    return guess_accuracy(features[fit], labels[fit], features[~fit], labels[~fit])


def limit(classes: int, clips: int) -> float:
    """Chance and three and a half standard errors."""
    chance = 1 / classes
    return chance + 3.5 * float(np.sqrt(chance * (1 - chance) / (classes * clips)))


def of_frames(frames: np.ndarray) -> np.ndarray:
    return np.stack([frame_statistics(frame) for frame in frames])


def of_masks(masks: np.ndarray) -> np.ndarray:
    return np.stack([actor_statistics(mask) for mask in masks])


@pytest.mark.slow
def test_pixels_of_a_frame_drawn_at_random_tell_nothing(samples: Samples) -> None:
    assert accuracy(of_frames(samples["random"][0]), LABELS) < limit(8, CLIPS)


def test_the_actor_in_a_frame_drawn_at_random_tells_nothing(samples: Samples) -> None:
    assert accuracy(of_masks(samples["random"][1]), LABELS) < limit(8, CLIPS)


@pytest.mark.parametrize("time", TIMES)
def test_no_frame_tells_which_way_an_actor_moves_or_turns(samples: Samples, time: str) -> None:
    unscaled = np.isin(LABELS, [k for k, name in enumerate(SPEC.classes) if not find_motion(name).scales])
    assert accuracy(of_masks(samples[time][1][unscaled]), LABELS[unscaled]) < limit(6, CLIPS)
    assert accuracy(of_frames(samples[time][0][unscaled]), LABELS[unscaled]) < limit(6, CLIPS)


def test_the_first_frame_tells_little_of_growing_and_shrinking(samples: Samples) -> None:
    """The known limit: a size that always grows cannot be distributed alike in the first frame and in the last."""
    assert accuracy(of_masks(samples["first"][1]), LABELS) < 0.35
    assert accuracy(of_frames(samples["first"][0]), LABELS) < 0.2


def test_the_pixel_statistics_would_find_a_leak(samples: Samples) -> None:
    leaky = samples["random"][0] // 2 + 8 * LABELS[:, None, None, None].astype(np.uint8)
    assert accuracy(of_frames(leaky), LABELS) > 0.3


def test_the_actor_statistics_would_find_a_leak(samples: Samples) -> None:
    centred = np.stack(
        [np.roll(mask, 16 - int(np.median(np.nonzero(mask)[1])), axis=1) for mask in samples["random"][1]]
    )
    leaky = np.where((LABELS == 0)[:, None, None], centred, samples["random"][1])
    assert accuracy(of_masks(leaky)[LABELS < 2], LABELS[LABELS < 2]) > 0.75


def pose_changes(classes: tuple[str, ...], *, shuffled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Motion statistics and labels of 200 clips of each class."""
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(len(classes)), 200)
    features = []
    for label in labels:
        actor, scene = draw_poses(find_motion(classes[label]), SPEC, rng)
        order = rng.permutation(FRAMES) if shuffled else np.arange(FRAMES)
        truth = Truth(actor, scene, np.zeros((FRAMES, 32, 32), bool))
        features.append(motion_statistics(truth, order.tolist()))
    return np.stack(features), labels


def test_motion_in_order_tells_every_class() -> None:
    assert accuracy(*pose_changes(SPEC.classes, shuffled=False)) > 0.97


@pytest.mark.parametrize("name", [name for name in SPEC.classes if name < MOTIONS[name].reverse])
def test_out_of_order_no_direction_is_left(name: str) -> None:
    pair = (name, MOTIONS[name].reverse)
    assert accuracy(*pose_changes(pair, shuffled=False)) > 0.97
    assert accuracy(*pose_changes(pair, shuffled=True)) < limit(2, 100)
