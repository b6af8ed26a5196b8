"""What a stream looks at, and which frames or flow fields of a clip it reads for that.

A clip of n frames has n − 1 moments, each a frame and what happens until the next one. Every modality is asked about
the same moments, so that streams can be compared and fused:

==================  ========================================================  ========
modality            at moment t                                               channels
==================  ========================================================  ========
``rgb``             frame t                                                   3
``rgb_difference``  frame t + 1 less frame t, −255..255                       3
``flow``            the field from frame t to t + 1, quantised levels         2
``warped_flow``     the same, the camera's motion removed                     2
``rgb_flow``        frame t, and the L fields around t as u₁ v₁ u₂ v₂ …       3 + 2·L
==================  ========================================================  ========
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Modality = Literal["rgb", "rgb_difference", "flow", "warped_flow", "rgb_flow"]
Indices = NDArray[np.int64]
Levels = NDArray[np.uint8]

_NOTHING: Indices = np.zeros(0, dtype=np.int64)


def reads_frames(modality: Modality) -> bool:
    """Whether a modality needs the frames of a clip."""
    return modality not in ("flow", "warped_flow")


def reads_flow(modality: Modality) -> bool:
    """Whether a modality needs a flow set."""
    return modality in ("flow", "warped_flow", "rgb_flow")


def channels_of(modality: Modality, *, fields: int = 1) -> int:
    """Channels of one time step; ``fields`` is L of ``rgb_flow``."""
    return {"rgb": 3, "rgb_difference": 3, "rgb_flow": 3 + 2 * fields}.get(modality, 2)


def frames_of(moments: Indices, modality: Modality, *, n_frames: int) -> Indices:
    """Frames to read for ``moments`` [T] of a clip of ``n_frames`` frames: T of them, or none.

    Differences need 2·T: the frames at all moments, then those after them (the last frame again where there is none).
    """
    if not reads_frames(modality):
        return _NOTHING
    if modality != "rgb_difference":
        return moments
    return np.concatenate([moments, np.minimum(moments + 1, n_frames - 1)])


def fields_of(moments: Indices, modality: Modality, *, n_frames: int, fields: int = 1) -> Indices:
    """Flow fields to read for ``moments`` [T] of a clip of ``n_frames`` frames: T of them, or none.

    ``rgb_flow`` needs T·L, the stack around each moment one after the other: for L = 10 from 5 fields before it to 4
    after it (ST-ResNet), for L = 1 its own. At a clip's ends its first or last field stands in for those there are not.
    """
    if not reads_flow(modality):
        return _NOTHING
    if modality != "rgb_flow":
        return moments
    around = np.arange(fields) - fields // 2
    stacks: Indices = np.clip(moments[:, None] + around, 0, max(0, n_frames - 2))  # [T, L]
    return stacks.reshape(-1)


def assemble(frames: Levels, fields: Levels, modality: Modality) -> NDArray[np.uint8] | NDArray[np.int16]:
    """What a network sees, [T, H, W, C], from the frames and fields read for it, uint8 [·, H, W, 3] and [·, H, W, 2].

    They are ordered as :func:`frames_of` and :func:`fields_of` name them; what a modality does not read is not looked
    at. The result is uint8, int16 for differences.
    """
    if modality == "rgb":
        return frames
    if modality == "rgb_difference":
        return differences(frames)
    if modality != "rgb_flow":
        return fields
    steps, height, width, _ = frames.shape
    stacks = fields.reshape(steps, -1, height, width, 2)  # [T, L, H, W, 2]
    interleaved = stacks.transpose(0, 2, 3, 1, 4).reshape(steps, height, width, -1)  # [T, H, W, 2·L]
    return np.concatenate([frames, interleaved], axis=3)


def differences(frames: Levels) -> NDArray[np.int16]:
    """From uint8 [2·T, H, W, C], as :func:`frames_of` orders them, to their differences int16 [T, H, W, C]."""
    before, after = np.split(frames.astype(np.int16), 2)
    difference: NDArray[np.int16] = after - before
    return difference
