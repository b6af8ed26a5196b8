"""Where an attention network looks, as boxes over time: localisation that nobody labelled.

VideoLSTM (Li et al., arXiv 1607.01794) finds actors from attention alone: its maps are smoothed over time and
enlarged to the frame, what exceeds a share of the frame's highest value is cut out, and the boxes around it are linked
into tubes, whose score is the video's class probability. :func:`tube_of_attention` is the whole chain.

Boxes are float ``(left, top, right, bottom)`` in pixels, right and bottom exclusive: a box from 2 to 5 is 3 wide.
Quality is video mAP: a tube is right when its class is, and its overlap in space and time with an actor's true tube
reaches a bound, .2 in the paper (UCF101-24).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kineflow.evaluation.ranking import average_precision
from kineflow.spec.arrays import Floats

Box = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tube:
    """A box that moves.

    Attributes:
        frames: Numbers of its frames, int64 [M], rising.
        boxes: One for each of them, float64 [M, 4].
    """

    frames: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Detection:
    """A tube with the class it is taken for, and the probability of that."""

    video: str
    label: str
    score: float
    tube: Tube


@dataclass(frozen=True, eq=False)
class TrueTube:
    """An actor's tube, as annotated."""

    video: str
    label: str
    tube: Tube


def tube_of_attention(
    attention: Floats,
    *,
    height: int,
    width: int,
    window_steps: int = 5,
    sigma_px: float = 0.0,
    threshold: float = 0.5,
) -> Tube:
    """The tube that a clip's attention follows.

    Args:
        attention: [T, h, w], one map for each frame, none negative.
        height, width: Of the frames, pixels.
        window_steps: Of the moving average over time, odd.
        sigma_px: Of a Gaussian blur of the enlarged maps, pixels; 0 for none.
        threshold: Share of a frame's highest value that a pixel must exceed; to be tuned on training videos.
    """
    maps = enlarge(smooth(attention, window_steps), height=height, width=width, sigma_px=sigma_px)
    return longest(link([boxes_of(frame, threshold=threshold) for frame in maps]))


def smooth(attention: Floats, window_steps: int) -> npt.NDArray[np.float64]:
    """Moving average over time of [T, h, w]; at the ends over as much of the window as there is."""
    if window_steps < 1 or window_steps % 2 == 0:
        raise ValueError(f"window_steps must be odd, not {window_steps}")
    half = window_steps // 2
    steps = range(len(attention))
    return np.stack([attention[max(0, t - half) : t + half + 1].mean(axis=0, dtype=np.float64) for t in steps])


def enlarge(attention: Floats, *, height: int, width: int, sigma_px: float = 0.0) -> npt.NDArray[np.float32]:
    """Bilinear maps of the frame's size, float32 [T, height, width], blurred where ``sigma_px`` is above 0.

    A cell's value stands at the cell's centre; beyond the outermost centres it stays.
    """
    import cv2

    maps = [cv2.resize(cells.astype(np.float32), (width, height)) for cells in attention]
    if sigma_px:
        maps = [cv2.GaussianBlur(frame, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE) for frame in maps]
    return np.stack(maps)


def boxes_of(frame: Floats, *, threshold: float, most: int = 1) -> npt.NDArray[np.float64]:
    """Boxes around the largest connected areas above ``threshold`` times the highest value of [H, W].

    Returns:
        float64 [up to ``most``, 4], the largest area first (of equal ones the one found first). The highest value
        itself is always in one of the areas; a map without a positive value has none.
    """
    import cv2

    if not 0 <= threshold < 1:
        raise ValueError(f"threshold must be in [0, 1), not {threshold}")
    above = (frame > threshold * frame.max()).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    areas = stats[1:]  # the first is the background
    largest = areas[np.argsort(-areas[:, cv2.CC_STAT_AREA], kind="stable")[:most]]
    left, top, wide, high = largest[:, :4].astype(np.float64).T
    return np.stack([left, top, left + wide, top + high], axis=1)


def link(boxes: Sequence[npt.NDArray[np.float64]], *, least_iou: float = 0.0) -> list[Tube]:
    """Link boxes over time, greedily: the pair of a tube's end and a box of the next frame that overlaps most first.

    Args:
        boxes: Of each frame, [any, 4].
        least_iou: A pair with less does not belong together: the tube ends, and the box begins another one. At 0 a
            tube goes on even without overlap, as long as there is a box.

    Returns:
        Tubes, each over frames without a gap, in the order in which they begin.
    """
    tubes: list[tuple[int, list[Box]]] = []  # first frame, boxes
    open_tubes: list[int] = []
    for frame, frame_boxes in enumerate(boxes):
        free, continued = list(range(len(frame_boxes))), []
        pairs = [
            (box_iou(tubes[number][1][-1], frame_boxes[index]), number, index)
            for number in open_tubes
            for index in free
        ]
        for overlap, number, index in sorted(pairs, key=lambda pair: -pair[0]):
            if overlap >= least_iou and index in free and number not in continued:
                tubes[number][1].append(frame_boxes[index])
                free.remove(index)
                continued.append(number)
        for index in free:
            continued.append(len(tubes))
            tubes.append((frame, [frame_boxes[index]]))
        open_tubes = sorted(continued)
    return [Tube(first + np.arange(len(parts), dtype=np.int64), np.stack(parts)) for first, parts in tubes]


def longest(tubes: Sequence[Tube]) -> Tube:
    """The tube over the most frames, of equal ones the first; an empty one if there is none."""
    return max(tubes, key=lambda tube: len(tube.frames), default=Tube(np.empty(0, np.int64), np.empty((0, 4))))


def box_iou(first: Box, second: Box) -> float:
    """Area of what two boxes share over that of what they cover, in [0, 1]."""
    shared = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    intersection = float(np.prod(np.maximum(shared, 0)))
    union = float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2])) - intersection
    return intersection / union if union > 0 else 0.0


def tube_iou(first: Tube, second: Tube) -> float:
    """Mean of :func:`box_iou` over all frames that either tube has; a frame that one alone has counts 0."""
    boxes = dict(zip(second.frames.tolist(), second.boxes, strict=True))
    overlaps = [box_iou(box, boxes[t]) for t, box in zip(first.frames.tolist(), first.boxes, strict=True) if t in boxes]
    frames = len(np.union1d(first.frames, second.frames))
    return sum(overlaps) / frames if frames else 0.0


@dataclass(frozen=True)
class Judged:
    """A detection, and whether it is right."""

    video: str
    label: str
    score: float
    right: bool


def judge(detections: Sequence[Detection], truths: Sequence[TrueTube], *, least_iou: float = 0.2) -> list[Judged]:
    """Match detections with true tubes, those of the highest score first.

    Each is right when it overlaps by at least ``least_iou`` with a true tube of its class and video that no earlier
    one has taken; of several it takes the one of most overlap.
    """
    free: dict[tuple[str, str], list[TrueTube]] = {}
    for truth in truths:
        free.setdefault((truth.video, truth.label), []).append(truth)
    judged = []
    for detection in sorted(detections, key=lambda each: -each.score):
        here = free.get((detection.video, detection.label), [])
        overlaps = [tube_iou(detection.tube, truth.tube) for truth in here]
        right = max(overlaps, default=-1.0) >= least_iou
        if right:
            here.pop(overlaps.index(max(overlaps)))
        judged.append(Judged(detection.video, detection.label, detection.score, right))
    return judged


def average_precisions(judged: Sequence[Judged], true_labels: Sequence[str]) -> dict[str, float]:
    """Average precision of each class among ``true_labels``, one entry a true tube; what is never found is missed."""
    return {
        label: _average_precision([each for each in judged if each.label == label], true_labels.count(label))
        for label in sorted(set(true_labels))
    }


def video_average_precisions(
    detections: Sequence[Detection], truths: Sequence[TrueTube], *, least_iou: float = 0.2
) -> Mapping[str, float]:
    """Average precision of each class that has true tubes; :func:`judge` says which detections are right."""
    return average_precisions(judge(detections, truths, least_iou=least_iou), [truth.label for truth in truths])


def video_map(detections: Sequence[Detection], truths: Sequence[TrueTube], *, least_iou: float = 0.2) -> float:
    """Mean of :func:`video_average_precisions` over the classes, in [0, 1]."""
    return float(np.mean(list(video_average_precisions(detections, truths, least_iou=least_iou).values())))


def attention_inside(attention: Floats, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Share of each frame's attention that lies on the actor, float64 [T] in [0, 1].

    A cell that the actor covers in part counts by that part.

    Args:
        attention: [T, h, w], of sum 1 or any other.
        mask: Where the actor is, bool [T, H, W].
    """
    import cv2

    height, width = attention.shape[1:]
    covered = np.stack(
        [cv2.resize(frame.astype(np.float64), (width, height), interpolation=cv2.INTER_AREA) for frame in mask]
    )
    shares: npt.NDArray[np.float64] = (attention * covered).sum(axis=(1, 2)) / attention.sum(axis=(1, 2))
    return shares


def frame_entropy(attention: Floats) -> npt.NDArray[np.float64]:
    """Entropy in nats of each map of [T, h, w], float64 [T]: 0 on one cell, ln N evenly over N."""
    flat = attention.reshape(len(attention), -1).astype(np.float64)
    shares = flat / flat.sum(axis=1, keepdims=True)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropies: npt.NDArray[np.float64] = -(shares * logs).sum(axis=1)
    return entropies


def _average_precision(judged: Sequence[Judged], true_tubes: int) -> float:
    """Of one class, with its missed tubes ranked last."""
    ranked = sorted(judged, key=lambda each: -each.score)
    right = np.array([each.right for each in ranked], dtype=bool)
    if not right.any():
        return 0.0
    return float(right.sum()) / true_tubes * average_precision(-np.arange(len(right), dtype=np.float64), right)
