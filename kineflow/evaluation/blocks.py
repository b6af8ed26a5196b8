"""Test protocols of networks that answer at every step: blocks of steps in, one answer for each video out.

A video is cut into blocks of T steps, a block gives probabilities [T,K], and the last ``scored_steps`` of them decide:
all of T in ALSTM's UCF-11 configuration and in VideoLSTM, 16 in ALSTM's for HMDB-51 and Hollywood2.

``average`` is both papers' rule: the mean over steps, then over blocks. ``majority`` is the one of ALSTM's released
code: each block votes for its best class. A report says which was used.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]
Vote = Literal["average", "majority"]


def dense_blocks(n_steps: int, length: int = 30, stride: int = 1) -> Indices:
    """ALSTM's blocks: one at every ``stride``-th step where it fits.

    Args:
        n_steps: Steps of the video, at least 1.
        length: T, steps of a block.
        stride: Steps from one block to the next.

    Returns:
        int64 [blocks, T], each in [0, n_steps). A video shorter than a block is one block, its last step repeated.
    """
    return _blocks(np.arange(0, max(n_steps - length, 0) + 1, stride), n_steps, length)


def spread_blocks(n_steps: int, length: int = 30, blocks: int = 25) -> Indices:
    """VideoLSTM's blocks: ``blocks`` of them, each in the middle of its share of the video.

    ::

        gap = ⌊(n_steps - length + 1) / blocks⌋,    start_j = ⌊gap/2⌋ + j · gap

    Args:
        n_steps: Steps of the video, at least 1.
        length: T, steps of a block.
        blocks: How many.

    Returns:
        int64 [blocks, T], each in [0, n_steps). Videos with fewer starts than blocks give the first block again and
        again, a video shorter than a block its last step.
    """
    gap = max(n_steps - length + 1, 0) // blocks
    return _blocks(gap // 2 + gap * np.arange(blocks), n_steps, length)


def video_probabilities(
    probabilities: Floats, *, scored_steps: int | None = None, vote: Vote = "average"
) -> npt.NDArray[np.float64]:
    """Probabilities of one video.

    Args:
        probabilities: Of its blocks' steps, [blocks, T, K]; softmax or sigmoid.
        scored_steps: The last so many of each block count; all when not given.
        vote: See the module. By ``majority`` the result is the share of blocks that voted for each class, so that its
            argmax is their mode (of equal ones the lowest class, as released).

    Returns:
        float64 [K].
    """
    scored = probabilities[:, -scored_steps:] if scored_steps else probabilities
    of_blocks = scored.mean(axis=1, dtype=np.float64)  # [blocks, K]
    if vote == "average":
        mean: npt.NDArray[np.float64] = of_blocks.mean(axis=0)
        return mean
    votes = np.bincount(of_blocks.argmax(axis=1), minlength=of_blocks.shape[1])
    return votes / len(of_blocks)


def average_precision(scores: Floats, truth: npt.NDArray[np.bool_]) -> float:
    """Σ precision at each right one's rank / number of right ones: the area under the raw precision-recall curve.

    Args:
        scores: [N], the highest first in rank; of equal ones the first in order.
        truth: bool [N].

    Returns:
        In [0, 1]; NaN when nothing is right.
    """
    ranked = truth[np.argsort(-scores, kind="stable")]
    if not ranked.any():
        return float("nan")
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].mean())


def mean_average_precision(scores: Floats, truth: npt.NDArray[np.bool_]) -> float:
    """Mean of :func:`average_precision` over classes, for Hollywood2; classes without a right video are left out.

    Args:
        scores: [N, K].
        truth: bool [N, K].
    """
    return float(np.nanmean([average_precision(scores[:, k], truth[:, k]) for k in range(scores.shape[1])]))


def _blocks(starts: npt.NDArray[np.integer], n_steps: int, length: int) -> Indices:
    indices = starts.astype(np.int64)[:, None] + np.arange(length)
    inside: Indices = np.minimum(indices, n_steps - 1)
    return inside
