from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.evaluation.localisation import (
    Detection,
    TrueTube,
    Tube,
    attention_inside,
    average_precisions,
    box_iou,
    boxes_of,
    enlarge,
    frame_entropy,
    judge,
    link,
    longest,
    smooth,
    tube_iou,
    tube_of_attention,
    video_average_precisions,
    video_map,
)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([left, top, right, bottom], dtype=np.float64)


def tube(*boxes: np.ndarray, first: int = 0) -> Tube:
    return Tube(np.arange(first, first + len(boxes)), np.stack(boxes))


SQUARE, RIGHT, FAR = box(0, 0, 4, 4), box(2, 0, 6, 4), box(50, 50, 54, 54)


def test_smoothing_averages_over_what_there_is_of_the_window() -> None:
    maps = np.arange(5, dtype=np.float32)[:, None, None] ** 2
    np.testing.assert_allclose(smooth(maps, 3).ravel(), [0.5, 5 / 3, 14 / 3, 29 / 3, 12.5])
    np.testing.assert_allclose(smooth(maps, 1), maps)
    with pytest.raises(ValueError, match="odd"):
        smooth(maps, 2)


def test_enlarging_keeps_a_cells_value_at_its_centre() -> None:
    cells = np.random.default_rng(0).random((2, 7, 7))
    maps = enlarge(cells, height=7 * 33, width=7 * 33)
    assert maps.shape == (2, 231, 231)
    np.testing.assert_allclose(maps[:, 16::33, 16::33], cells, rtol=1e-5)
    assert enlarge(cells, height=60, width=80).shape == (2, 60, 80)


def test_blur_spreads_a_peak_and_keeps_an_even_map() -> None:
    peak = np.zeros((1, 7, 7))
    peak[0, 3, 3] = 1
    sharp, soft = (enlarge(peak, height=224, width=224, sigma_px=sigma)[0] for sigma in (0, 20))
    assert soft.max() < sharp.max()
    assert soft.sum() == pytest.approx(sharp.sum(), rel=1e-3)
    np.testing.assert_allclose(enlarge(np.ones((1, 7, 7)), height=50, width=50, sigma_px=9.0), 1, rtol=1e-5)


def test_a_box_is_around_the_largest_area_above_the_threshold() -> None:
    frame = np.zeros((10, 12))
    frame[2:4, 3:8] = 0.8  # the larger area
    frame[7, 9] = 1.0  # the highest value
    frame[4, 3] = 0.4  # below half
    assert boxes_of(frame, threshold=0.5).tolist() == [[3, 2, 8, 4]]
    assert boxes_of(frame, threshold=0.5, most=2).tolist() == [[3, 2, 8, 4], [9, 7, 10, 8]]
    assert boxes_of(frame, threshold=0.9).tolist() == [[9, 7, 10, 8]]
    assert boxes_of(10 * frame, threshold=0.5).tolist() == [[3, 2, 8, 4]]  # relative to the frame's maximum
    assert boxes_of(np.zeros((3, 3)), threshold=0.5).shape == (0, 4)
    with pytest.raises(ValueError, match="threshold"):
        boxes_of(frame, threshold=1.0)


def test_areas_that_touch_at_a_corner_are_one() -> None:
    assert boxes_of(np.eye(4), threshold=0.5).tolist() == [[0, 0, 4, 4]]


def test_linking_follows_the_greatest_overlap() -> None:
    near, shifted = box(1, 0, 5, 4), box(3, 0, 7, 4)
    first, second = link([np.stack([SQUARE, FAR]), np.stack([shifted, FAR, near])], least_iou=0.1)[:2]
    assert first.boxes.tolist() == [SQUARE.tolist(), near.tolist()]
    assert second.boxes.tolist() == [FAR.tolist(), FAR.tolist()]


def test_what_does_not_overlap_begins_another_tube() -> None:
    frames = [SQUARE[None], RIGHT[None], FAR[None], FAR[None], np.empty((0, 4)), FAR[None]]
    tubes = link(frames, least_iou=0.2)
    assert [part.frames.tolist() for part in tubes] == [[0, 1], [2, 3], [5]]
    whole = link(frames[:4])  # least_iou of 0: the only box is the next one
    assert [part.frames.tolist() for part in whole] == [[0, 1, 2, 3]]
    assert longest(tubes).frames.tolist() == [0, 1]
    assert len(longest([]).frames) == 0


def test_iou_of_boxes() -> None:
    assert box_iou(SQUARE, RIGHT) == pytest.approx(8 / 24)
    assert box_iou(SQUARE, SQUARE) == 1
    assert box_iou(SQUARE, FAR) == 0
    assert box_iou(SQUARE, box(4, 0, 8, 4)) == 0  # they touch
    assert box_iou(box(1, 1, 1, 1), box(1, 1, 1, 1)) == 0


corners = st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 20)] * 2).map(
    lambda parts: box(parts[0], parts[1], parts[0] + parts[2], parts[1] + parts[3])
)


@given(corners, corners)
def test_iou_is_symmetric_and_counts_pixels(first: np.ndarray, second: np.ndarray) -> None:
    def pixels(one: np.ndarray) -> np.ndarray:
        image = np.zeros((41, 41), bool)
        left, top, right, bottom = one.astype(int)
        image[top:bottom, left:right] = True
        return image

    expected = (pixels(first) & pixels(second)).sum() / (pixels(first) | pixels(second)).sum()
    assert box_iou(first, second) == pytest.approx(expected)
    assert box_iou(second, first) == box_iou(first, second)


def test_iou_of_tubes_is_over_their_union_in_time() -> None:
    long, late = tube(SQUARE, SQUARE, SQUARE), tube(RIGHT, RIGHT, first=2)
    assert tube_iou(long, long) == 1
    assert tube_iou(long, late) == pytest.approx((8 / 24) / 4)  # they share one frame of four
    assert tube_iou(late, long) == pytest.approx(tube_iou(long, late))
    assert tube_iou(long, tube(SQUARE, first=9)) == 0
    empty = Tube(np.empty(0, np.int64), np.empty((0, 4)))
    assert tube_iou(empty, empty) == 0


def detection(video: str, score: float, found: Tube, label: str = "run") -> Detection:
    return Detection(video, label, score, found)


def truth(video: str, found: Tube, label: str = "run") -> TrueTube:
    return TrueTube(video, label, found)


def test_video_map_ranks_by_score_and_counts_misses() -> None:
    truths = [truth("a", tube(SQUARE)), truth("b", tube(SQUARE)), truth("c", tube(SQUARE))]
    detections = [
        detection("a", 0.5, tube(SQUARE)),
        detection("b", 0.9, tube(FAR)),
        detection("c", 0.4, tube(RIGHT)),  # IoU 1/3
    ]
    # wrong, right, right: precisions 1/2 and 2/3, over three true tubes
    assert video_map(detections, truths, least_iou=0.2) == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert video_map(detections, truths, least_iou=0.5) == pytest.approx((1 / 2) / 3)
    assert video_map([], truths) == 0


def test_a_true_tube_is_found_once() -> None:
    twice = [detection("a", 0.9, tube(SQUARE)), detection("a", 0.8, tube(SQUARE))]
    both = [truth("a", tube(SQUARE)), truth("a", tube(FAR))]
    assert video_map(twice, both[:1]) == 1
    assert video_map(twice, both) == pytest.approx(1 / 2)
    assert video_map([*twice, detection("a", 0.7, tube(FAR))], both) == pytest.approx((1 + 2 / 3) / 2)


def test_of_two_true_tubes_the_closer_one_is_taken() -> None:
    both = [truth("a", tube(RIGHT)), truth("a", tube(SQUARE))]
    detections = [detection("a", 0.9, tube(SQUARE)), detection("a", 0.8, tube(box(4, 0, 8, 4)))]  # meets RIGHT alone
    assert video_map(detections, both, least_iou=0.2) == 1


def test_a_tube_of_another_class_or_video_is_wrong() -> None:
    truths = [truth("a", tube(SQUARE)), truth("b", tube(SQUARE), "jump")]
    detections = [detection("a", 0.9, tube(SQUARE), "jump"), detection("b", 0.8, tube(SQUARE), "jump")]
    assert video_average_precisions(detections, truths) == {"jump": pytest.approx(1 / 2), "run": 0.0}
    assert video_map(detections, truths) == pytest.approx(1 / 4)


def test_judgements_say_which_detections_are_right() -> None:
    truths = [truth("a", tube(SQUARE)), truth("b", tube(SQUARE))]
    detections = [detection("b", 0.4, tube(FAR)), detection("a", 0.9, tube(RIGHT)), detection("a", 0.5, tube(SQUARE))]
    judged = judge(detections, truths)
    assert [(found.video, found.score, found.right) for found in judged] == [
        ("a", 0.9, True),
        ("a", 0.5, False),  # the better one, but taken later
        ("b", 0.4, False),
    ]
    # Videos may be drawn several times: what a bootstrap needs.
    assert average_precisions([judged[0], judged[0], judged[2]], ["run"] * 4) == {"run": pytest.approx(1 / 2)}


def test_attention_inside_counts_covered_parts_of_cells() -> None:
    mask = np.zeros((1, 8, 8), bool)
    mask[0, :4, :6] = True  # of 2×2 cells: all of the first, half of the second
    attention = np.array([[[0.5, 0.3], [0.2, 0.0]]])
    np.testing.assert_allclose(attention_inside(attention, mask), [0.5 + 0.15])
    np.testing.assert_allclose(attention_inside(7 * attention, mask), [0.65])
    np.testing.assert_allclose(attention_inside(np.full((1, 7, 7), 1 / 49), np.ones((1, 64, 64), bool)), [1])


def test_entropy_of_each_map() -> None:
    maps = np.stack([np.full((7, 7), 1 / 49), np.eye(7), np.zeros((7, 7))])
    maps[2, 3, 3] = 5
    np.testing.assert_allclose(frame_entropy(maps), [math.log(49), math.log(7), 0])
    np.testing.assert_allclose(frame_entropy(3 * maps), frame_entropy(maps))


def test_attention_that_follows_an_actor_gives_its_tube() -> None:
    """A square of 2×2 cells of 32 px, moving one cell a frame to the right."""
    steps = 5
    attention = np.full((steps, 7, 7), 0.01)
    for t in range(steps):
        attention[t, 3:5, t : t + 2] = 1
    found = tube_of_attention(attention, height=224, width=224, window_steps=1)
    expected = tube(*[box(32 * t, 96, 32 * t + 64, 160) for t in range(steps)])
    assert found.frames.tolist() == list(range(steps))
    assert tube_iou(found, expected) > 0.9
    actor = TrueTube("v", "walk", expected)
    assert video_map([Detection("v", "walk", 0.7, found)], [actor], least_iou=0.2) == 1
    blurred = tube_of_attention(attention, height=224, width=224, window_steps=3, sigma_px=8.0)
    assert 0.4 < tube_iou(blurred, expected) < tube_iou(found, expected)
