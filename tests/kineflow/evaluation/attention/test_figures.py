from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from kineflow.evaluation.attention.figures import Judgement, Located, figures_of, figures_of_frame, localise_clip
from kineflow.evaluation.attention.maps import SeenRegion, Watched
from kineflow.evaluation.attention.settings import LocaliseSettings
from kineflow.evaluation.attention.truth import ClipTruth
from kineflow.evaluation.localisation import Detection, TrueTube, Tube, video_map
from kineflow.sets.clip_set import Clip
from kineflow.spec.split import Split
from kineflow.spec.status import Status

FRAMES, WIDTH, HEIGHT = 4, 40, 32
CLIP = Clip("v", "v.mp4", "run", "g", Split.TEST, FRAMES, 25.0, WIDTH, HEIGHT, 0, "", Status.OK, "", "v")
SETTINGS = LocaliseSettings(window_steps=1)
SQUARE = SeenRegion(4, 0, 32, 32)


def truth(left: int, top: int, right: int, bottom: int, frames: tuple[int, ...] = (0, 1, 2, 3)) -> ClipTruth:
    region = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    region[list(frames), top:bottom, left:right] = True
    boxes = np.array([[left, top, right, bottom]] * len(frames), float)
    return ClipTruth((TrueTube("v", "run", Tube(np.array(frames), boxes)),), region)


def watched(*cells: tuple[int, int], probabilities: tuple[float, ...] = (0.3, 0.7)) -> Watched:
    """Even attention on some cells of a grid of 4×4, which lies over a square of the frame."""
    attention = np.zeros((FRAMES, 4, 4), np.float32)
    for row, column in cells:
        attention[:, row, column] = 1 / len(cells)
    return Watched(CLIP, attention, SQUARE, np.array(probabilities))


MIDDLE = ((1, 1), (1, 2), (2, 1), (2, 2))  # 8 to 24 of the square of 32


def test_attention_on_the_actor_finds_it() -> None:
    located = localise_clip(watched(*MIDDLE), ("walk", "run"), truth(12, 8, 28, 24), SETTINGS)
    assert located.right
    assert (located.detection.video, located.detection.label, located.detection.score) == ("v", "run", 0.7)
    assert located.detection.tube.boxes[0] == pytest.approx([12, 8, 28, 24], abs=2)  # moved by the square's place
    assert located.entropy == pytest.approx(math.log(4))
    judgement = located.judgement
    assert judgement is not None
    assert judgement.overlap > 0.7
    assert judgement.inside == pytest.approx(1)
    assert judgement.area == pytest.approx(16 * 16 / 32**2)
    assert judgement.overlap_of_frame == pytest.approx(16 * 16 / (WIDTH * HEIGHT))


def test_attention_elsewhere_does_not() -> None:
    located = localise_clip(watched((0, 0)), ("run", "walk"), truth(12, 8, 28, 24), SETTINGS)
    assert not located.right
    assert located.judgement is not None
    assert located.judgement.inside == 0
    assert located.judgement.overlap < 0.1


def test_attention_on_the_actor_is_a_mean_over_frames() -> None:
    seen = watched(*MIDDLE)
    attention = seen.attention.copy()
    attention[0] = np.eye(1, 16).reshape(4, 4)  # the first cell, in the first frame
    judgement = localise_clip(
        dataclasses.replace(seen, attention=attention), ("walk", "run"), truth(12, 8, 28, 24), SETTINGS
    ).judgement
    assert judgement is not None
    assert judgement.inside == pytest.approx(3 / 4)


def test_frames_without_the_actor_count_in_the_overlap_alone() -> None:
    judgement = localise_clip(watched(*MIDDLE), ("walk", "run"), truth(12, 8, 28, 24, frames=(1,)), SETTINGS).judgement
    assert judgement is not None
    assert judgement.inside == pytest.approx(1)
    assert judgement.area == pytest.approx(1 / 4)
    assert 0.7 / 4 < judgement.overlap <= 1 / 4


def test_the_best_of_several_actors_is_judged() -> None:
    both = truth(12, 8, 28, 24)
    far = truth(0, 0, 4, 4)
    judgement = localise_clip(
        watched(*MIDDLE), ("walk", "run"), ClipTruth((*far.tubes, *both.tubes), both.region | far.region), SETTINGS
    ).judgement
    assert judgement is not None
    assert judgement.overlap > 0.7


def test_without_truth_there_is_no_judgement() -> None:
    located = localise_clip(watched((0, 0)), ("run", "walk"), None, SETTINGS)
    assert located.judgement is None
    figures = figures_of([located, located], least_iou=0.2)
    assert figures.keys() == {"top1", "entropy"}
    assert figures_of_frame([located], least_iou=0.2) == {}


BOX = np.array([[0.0, 0.0, 4.0, 4.0]])


def located(number: int, *, overlap: float, inside: float, right: bool = True, score: float = 0.5) -> Located:
    """A clip whose tube overlaps with the true one by ``overlap``, and whose area is .2."""
    video, tube = f"v{number}", Tube(np.array([0]), BOX * [1, 1, overlap, 1])
    true = TrueTube(video, "run", Tube(np.array([0]), BOX))
    detection = Detection(video, "run" if right else "walk", score, tube)
    return Located(detection, right, 1.5, Judgement((true,), overlap, 0.1, inside, 0.2))


def test_figures_over_clips() -> None:
    clips = [
        located(0, overlap=0.9, inside=0.6, score=0.9),
        located(1, overlap=0.1, inside=0.4, score=0.8),
        located(2, overlap=0.5, inside=0.1, score=0.7),
        located(3, overlap=0.9, inside=0.1, right=False),
    ]
    figures = figures_of(clips, least_iou=0.2)
    assert {name: figure.value for name, figure in figures.items()} == {
        "top1": 0.75,
        "entropy": pytest.approx(1.5),
        "video_map": pytest.approx((1 + 2 / 3) / 4),  # right, wrong, right, and one missed
        "found": 0.75,
        "tube_iou": pytest.approx(0.6),
        "inside": pytest.approx(0.3),
        "by_chance": pytest.approx(0.2),
        "top1_on_actor": 1.0,
        "top1_elsewhere": 0.5,
    }
    truths = [truth for clip in clips if clip.judgement for truth in clip.judgement.truths]
    assert figures["video_map"].value == pytest.approx(video_map([clip.detection for clip in clips], truths))
    assert all(figure.low <= figure.value <= figure.high for figure in figures.values())
    assert figures["tube_iou"].low < 0.45
    assert figures["tube_iou"].high > 0.75
    assert figures == figures_of(clips, least_iou=0.2)  # the same draw each time
    frame = figures_of_frame(clips, least_iou=0.05)
    assert (frame["found"].value, frame["tube_iou"].value) == (1, pytest.approx(0.1))


def test_intervals_narrow_with_the_clips() -> None:
    few = [located(n, overlap=0.3 + 0.4 * (n % 2), inside=0.3) for n in range(8)]
    many = [located(n, overlap=0.3 + 0.4 * (n % 2), inside=0.3) for n in range(128)]
    widths = [figure.high - figure.low for figure in (figures_of(c, least_iou=0.2)["tube_iou"] for c in (few, many))]
    assert widths[0] > 3 * widths[1] > 0


def test_a_part_of_the_clips_that_is_empty_has_no_figure() -> None:
    figures = figures_of([located(0, overlap=0.5, inside=0.9)], least_iou=0.2)
    assert "top1_elsewhere" not in figures
    assert "top1_on_actor" in figures


def test_entropy_is_that_of_each_map() -> None:
    moving = dataclasses.replace(watched((0, 0)), attention=np.eye(FRAMES, 16, dtype=np.float32).reshape(FRAMES, 4, 4))
    assert localise_clip(moving, ("run",) * 2, None, SETTINGS).entropy == 0
