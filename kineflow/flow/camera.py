"""Motion of the camera between two frames, as improved dense trajectories find it (Wang and Schmid, ICCV 2013, §3.1).

Most of what a camera shows is background, and while it turns, or while the background is far or flat, the background
moves by one homography. RANSAC fits it to matches of two kinds: features, which are found at any speed, and corners
followed by the flow, which are many and fine but right only while the flow is. For the features the paper has SURF;
here it is ORB, which costs a third of SIFT and finds nearly as many fast pans (``benchmarks/flow_tables/warped.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from kineflow.spec.arrays import Floats

Points = npt.NDArray[np.float32]  # [M, 2]: x, y

_FEATURES = 500
_FEATURE_BORDER_PX = 31  # half a patch at its coarsest: no feature lies closer to the border
_FEATURE_REACH_PX = 25.0  # a feature is not looked for farther away, along each axis
_CORNERS = 1000
_CORNER_QUALITY = 0.001
_CORNER_DISTANCE_PX = 3.0

_MORE_MATCHES_THAN = 50
_MORE_INLIERS_THAN = 25
_RANSAC_PX = 1.0
_RANSAC_ITERATIONS = 2000
_RANSAC_CONFIDENCE = 0.99
_REFITS_PX = (0.5, 0.3)

_MOST_STRETCH = 2.0  # of any direction at any place, between neighbouring frames
_STILL_PX = 0.05  # below half a step of stored flow

WARP_MARGIN_PX = 5


@dataclass(frozen=True, eq=False)
class Camera:
    """How the background moves from one frame to the next.

    Attributes:
        homography: float64 [3, 3]: takes (x, y, 1) in the first frame to its place in the second one, up to a factor.
            The identity when the camera stands still, or when no motion of it was found.
        matches: Points that were matched between the frames.
        inliers: Those of them that move with ``homography``; 0 when none was found.
    """

    homography: Floats
    matches: int
    inliers: int

    @property
    def found(self) -> bool:
        """Whether enough points agree on a motion, be it that of a camera that stands still."""
        return self.inliers > 0

    @property
    def moves(self) -> bool:
        """Whether the background moves at all."""
        return not np.array_equal(self.homography, np.eye(3))

    def flow(self, height: int, width: int) -> npt.NDArray[np.float32]:
        """The flow that the camera alone would cause, in pixels, float32 [2, H, W]."""
        y, x = np.mgrid[:height, :width].astype(np.float64)
        points = np.stack([x, y])
        moved: Floats = _mapped(self.homography, points) - points
        return moved.astype(np.float32)


def estimate_camera(
    first: npt.NDArray[np.uint8],
    second: npt.NDArray[np.uint8],
    flow: npt.NDArray[np.float32],
    *,
    exclude: npt.NDArray[np.bool_] | None = None,
) -> Camera:
    """Find the homography by which the background moves from ``first`` to ``second``.

    The same frames give the same result to the last bit, on any thread: the random state is the call's own.

    Args:
        first, second: Grey frames, [H, W].
        flow: From the first to the second, in pixels, [2, H, W].
        exclude: Where ``first`` shows no background but people, [H, W]; they are not matched.

    Returns:
        The camera's motion. The identity when 50 points or fewer are matched, when 25 or fewer of them agree, or when
        what they agree on folds, mirrors or grossly stretches the frame.
    """
    allowed = None if exclude is None else np.where(exclude, 0, 255).astype(np.uint8)
    by_kind = _feature_matches(first, second, allowed), _flow_matches(first, flow, allowed)
    start, end = (np.concatenate(points) for points in zip(*by_kind, strict=True))
    height, width = first.shape
    inside = ((end >= 0) & (end <= (width - 1, height - 1))).all(axis=1)  # nan is not inside either
    start, end = start[inside], end[inside]
    if len(start) > _MORE_MATCHES_THAN:
        homography, inliers = _fit(start, end)
        if inliers > _MORE_INLIERS_THAN and _plausible(homography, height, width):
            still = np.abs(Camera(homography, 0, 0).flow(height, width)).max() < _STILL_PX
            return Camera(np.eye(3) if still else homography, len(start), inliers)
    return Camera(np.eye(3), len(start), 0)


def warp_to_first(
    second: npt.NDArray[np.uint8], homography: Floats, first: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """``second`` as a camera that had not moved would have seen it.

    Args:
        second, first: Grey frames, [H, W].
        homography: From the first frame to the second, as in :class:`Camera`.

    Returns:
        uint8 [H, W]: ``second`` at the mapped places (bilinear); ``first`` where those lie outside of ``second`` or
        within 5 px of its border.
    """
    height, width = first.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    at_x, at_y = _mapped(homography, np.stack([x, y])).astype(np.float32)
    warped = cv2.remap(second, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    margin = WARP_MARGIN_PX
    inside = (at_x >= margin) & (at_x < width - margin) & (at_y >= margin) & (at_y < height - margin)
    return np.where(inside, warped, first)


def _feature_matches(
    first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], allowed: npt.NDArray[np.uint8] | None
) -> tuple[Points, Points]:
    """ORB features that choose each other, [M, 2] in each frame; none in a frame too small for their patches."""
    if min(first.shape) <= 2 * _FEATURE_BORDER_PX:  # OpenCV would fail on the smallest
        return _no_points(), _no_points()
    detector = cv2.ORB.create(_FEATURES, edgeThreshold=_FEATURE_BORDER_PX)
    keys_first, described_first = detector.detectAndCompute(first, allowed)
    keys_second, described_second = detector.detectAndCompute(second, None)
    if not keys_first or not keys_second:
        return _no_points(), _no_points()
    pairs = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(described_first, described_second)
    start = np.array([keys_first[pair.queryIdx].pt for pair in pairs], np.float32).reshape(-1, 2)
    end = np.array([keys_second[pair.trainIdx].pt for pair in pairs], np.float32).reshape(-1, 2)
    near = (np.abs(end - start) <= _FEATURE_REACH_PX).all(axis=1)
    return start[near], end[near]


def _flow_matches(
    first: npt.NDArray[np.uint8], flow: npt.NDArray[np.float32], allowed: npt.NDArray[np.uint8] | None
) -> tuple[Points, Points]:
    """Corners of the first frame and where the flow takes them, [M, 2] each."""
    corners: Any = cv2.goodFeaturesToTrack(first, _CORNERS, _CORNER_QUALITY, _CORNER_DISTANCE_PX, mask=allowed)
    if corners is None:  # OpenCV's types deny it
        return _no_points(), _no_points()
    start: Points = corners[:, 0]
    x, y = start.astype(np.intp).T  # corners are whole pixels
    return start, start + flow[:, y, x].T


def _no_points() -> Points:
    return np.empty((0, 2), np.float32)


def _fit(start: Points, end: Points) -> tuple[Floats, int]:
    """Homography by RANSAC with local optimisation (Chum et al., DAGM 2003), and the points that agree with it.

    It is then fitted anew to those that agree ever more closely: within RANSAC's pixel lie also points of whatever
    moves by less than that against the background, and they would draw it towards them by a sixth of a pixel.
    """
    how = cv2.UsacParams()
    how.randomGeneratorState = 0
    how.isParallel = False
    how.threshold = _RANSAC_PX
    how.maxIterations = _RANSAC_ITERATIONS
    how.confidence = _RANSAC_CONFIDENCE
    homography: Any
    homography, agrees = cv2.findHomography(start, end, how)
    if homography is None:  # OpenCV's types deny it
        return np.eye(3), 0
    for closer_px in _REFITS_PX:
        close = np.hypot(*(_mapped(homography, start.T.astype(np.float64)) - end.T)) <= closer_px
        if np.count_nonzero(close) <= _MORE_INLIERS_THAN:
            break
        refitted: Any = cv2.findHomography(start[close], end[close], 0)[0]
        if refitted is None:
            break
        homography = refitted
    return np.asarray(homography, np.float64), int(np.count_nonzero(agrees))


def _plausible(homography: Floats, height: int, width: int) -> bool:
    """Whether it keeps the frame upright and in one piece, and stretches it by a factor of 2 at most.

    The derivative of a homography is most extreme at the corners; past the horizon, where the frame would fold, its
    determinant is negative, as it is for a mirror.
    """
    corners = np.array([(x, y, 1.0) for x in (0, width - 1) for y in (0, height - 1)])
    with np.errstate(all="ignore"):  # a corner on the horizon lies infinitely far away
        x, y, depth = homography @ corners.T
        places = np.stack([x / depth, y / depth], axis=1)
        jacobians = (homography[:2, :2] - places[:, :, None] * homography[2, :2]) / depth[:, None, None]
    if not np.isfinite(jacobians).all() or np.linalg.det(jacobians).min() <= 0:
        return False
    stretch = np.linalg.svd(jacobians, compute_uv=False)
    return bool(stretch.max() <= _MOST_STRETCH and stretch.min() >= 1 / _MOST_STRETCH)


def _mapped(homography: Floats, points: Floats) -> Floats:
    """Where a homography takes points, [2, ...] each."""
    x, y, depth = np.tensordot(homography[:, :2], points, 1) + homography[:, 2].reshape(3, *[1] * (points.ndim - 1))
    with np.errstate(divide="ignore", invalid="ignore"):  # on the horizon
        return np.stack([x / depth, y / depth])
