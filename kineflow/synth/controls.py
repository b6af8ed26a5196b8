"""Is the class in the motion only? What one frame, or frames out of order, let a simple classifier guess.

The statistics hand the classifier more than a network sees (the actor's exact mask or pose), and chance is the most
it may reach. In order of time, the same classifier must succeed: :func:`motion_statistics` with frames in order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from kineflow.spec.arrays import Floats
from kineflow.synth.truth import Truth, wrap

_BLOCKS = 4
_STEPS = 400
_STEP_SIZE = 0.5
_WEIGHT_DECAY = 1e-3


def frame_statistics(frame: npt.NDArray[np.uint8]) -> Floats:
    """Statistics of one frame's pixels.

    Args:
        frame: uint8 [H, W, 3].

    Returns:
        float64 [26]: mean and standard deviation of each channel, edge strength along x and y and its logarithms, and
        the mean luminance of 4×4 blocks.
    """
    pixels = frame.astype(np.float64)
    luminance = pixels.mean(axis=-1)
    edges = np.array([np.abs(np.diff(luminance, axis=axis)).mean() for axis in (0, 1)])
    blocks = cv2.resize(luminance, (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA)
    spread = (pixels.mean(axis=(0, 1)), pixels.std(axis=(0, 1)))
    return np.concatenate([*spread, edges, np.log(edges + 1), blocks.ravel()])


def actor_statistics(mask: npt.NDArray[np.bool_]) -> Floats:
    """Size and place of the actor in one frame.

    Args:
        mask: bool [H, W].

    Returns:
        float64 [6]: logarithm of the area in pixels and its square, and cosine and sine of the mean place along x and
        along y, on the torus that the actor lives on.
    """
    size = math.log(max(int(mask.sum()), 1))
    position = []
    for axis, length in enumerate(mask.shape):
        weights = mask.sum(axis=1 - axis)
        angle = np.angle(np.sum(weights * np.exp(2j * math.pi * np.arange(length) / length)))
        position += [math.cos(angle), math.sin(angle)]
    return np.array([size, size**2, *position])


def motion_statistics(truth: Truth, order: Sequence[int]) -> Floats:
    """Mean change of the actor's pose from one shown frame to the next.

    Args:
        truth: Of the clip.
        order: Indices of the frames as they are shown: ``range(T)``, or a permutation of it.

    Returns:
        float64 [4]: along x and y (pixels), angle (radians, clockwise) and log size.
    """
    poses = truth.actor[list(order)]
    height, width = truth.mask.shape[1:]
    angle = np.arctan2(poses[:, 1, 0], poses[:, 0, 0])
    log_size = 0.5 * np.log(np.linalg.det(poses[:, :, :2]))
    changes = (
        wrap(np.diff(poses[:, 0, 2]), width),
        wrap(np.diff(poses[:, 1, 2]), height),
        wrap(np.diff(angle), 2 * math.pi),
        np.diff(log_size),
    )
    return np.array([change.mean() for change in changes])


def guess_accuracy(
    train_features: Floats,
    train_labels: npt.NDArray[np.int64],
    test_features: Floats,
    test_labels: npt.NDArray[np.int64],
) -> float:
    """Share of the test clips whose class a multinomial logistic regression on the features guesses.

    Args:
        train_features, test_features: float64 [N, F] each; standardised here.
        train_labels, test_labels: int64 [N] each, in 0..K-1.
    """
    mean, deviation = train_features.mean(axis=0), train_features.std(axis=0) + 1e-9
    inputs, unseen = ((np.insert((x - mean) / deviation, 0, 1.0, axis=1)) for x in (train_features, test_features))
    targets = np.eye(int(train_labels.max()) + 1)[train_labels]
    weights = np.zeros((inputs.shape[1], targets.shape[1]))
    for _ in range(_STEPS):
        scores = inputs @ weights
        probabilities = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        gradient = inputs.T @ (probabilities - targets) / len(inputs)
        weights -= _STEP_SIZE * (gradient + _WEIGHT_DECAY * weights)
    return float(np.mean((unseen @ weights).argmax(axis=1) == test_labels))
