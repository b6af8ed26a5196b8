"""What a stream looks at, and which frames or flow frames of a clip it reads for that.

A clip of n frames has n − 1 time steps, each a frame and what happens until the next one. Every modality is asked about
the same time steps, so that streams can be compared and fused:

==================  ========================================================  ========
modality            at time step t                                            channels
==================  ========================================================  ========
``rgb``             frame t                                                   3
``rgb_difference``  frame t + 1 less frame t, −255..255                       3
``flow``            the flow from frame t to t + 1, as uint8                  2
``warped_flow``     the same, the camera's motion removed                     2
``rgb_flow``        frame t, and the L flow frames around t as u₁ v₁ u₂ v₂ …  3 + 2·L
==================  ========================================================  ========
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kineflow.spec.arrays import Indices, Pixels

Modality = Literal["rgb", "rgb_difference", "flow", "warped_flow", "rgb_flow"]

RGB_CHANNELS = 3
"""Of a frame; in ``rgb_flow`` they come first."""

_NOTHING: Indices = np.zeros(0, dtype=np.int64)


def reads_frames(modality: Modality) -> bool:
    """Whether a modality needs the frames of a clip."""
    return modality not in ("flow", "warped_flow")


def reads_flow(modality: Modality) -> bool:
    """Whether a modality needs a flow set."""
    return modality in ("flow", "warped_flow", "rgb_flow")


def channels_of(modality: Modality, *, flow_frames: int = 1) -> int:
    """Channels of one time step; ``flow_frames`` is L of ``rgb_flow``."""
    of_rgb = {"rgb": RGB_CHANNELS, "rgb_difference": RGB_CHANNELS, "rgb_flow": RGB_CHANNELS + 2 * flow_frames}
    return of_rgb.get(modality, 2)


def frames_of(time_steps: Indices, modality: Modality, *, n_frames: int) -> Indices:
    """Frames to read for ``time_steps`` [T] of a clip of ``n_frames`` frames: T of them, or none.

    Differences need 2·T: the frames at all time steps, then those after them (the last frame again where there is
    none).
    """
    if not reads_frames(modality):
        return _NOTHING
    if modality != "rgb_difference":
        return time_steps
    return np.concatenate([time_steps, np.minimum(time_steps + 1, n_frames - 1)])


def flow_frames_of(time_steps: Indices, modality: Modality, *, n_frames: int, flow_frames: int = 1) -> Indices:
    """Flow frames to read for ``time_steps`` [T] of a clip of ``n_frames`` frames: T of them, or none.

    ``rgb_flow`` needs T·L, the stack around each time step one after the other: for L = 10 from 5 flow frames before it
    to 4 after it (ST-ResNet), for L = 1 its own. At a clip's ends its first or last one stands in for those there are
    not.
    """
    if not reads_flow(modality):
        return _NOTHING
    if modality != "rgb_flow":
        return time_steps
    around = np.arange(flow_frames) - flow_frames // 2
    stacks: Indices = np.clip(time_steps[:, None] + around, 0, max(0, n_frames - 2))  # [T, L]
    return stacks.reshape(-1)


def assemble(frames: Pixels, flow_frames: Pixels, modality: Modality) -> NDArray[np.uint8] | NDArray[np.int16]:
    """What a network sees, [T, H, W, C], from what was read for it: uint8 [·, H, W, 3] and uint8 flow [·, H, W, 2].

    Both are ordered as :func:`frames_of` and :func:`flow_frames_of` name them; what a modality does not read is not
    looked at. The result is uint8, int16 for differences.
    """
    if modality == "rgb":
        return frames
    if modality == "rgb_difference":
        return differences(frames)
    if modality != "rgb_flow":
        return flow_frames
    steps, height, width, _ = frames.shape
    stacks = flow_frames.reshape(steps, -1, height, width, 2)  # [T, L, H, W, 2]
    interleaved = stacks.transpose(0, 2, 3, 1, 4).reshape(steps, height, width, -1)  # [T, H, W, 2·L]
    return np.concatenate([frames, interleaved], axis=3)


def differences(frames: Pixels) -> NDArray[np.int16]:
    """From uint8 [2·T, H, W, C], as :func:`frames_of` orders them, to their differences int16 [T, H, W, C]."""
    before, after = np.split(frames.astype(np.int16), 2)
    difference: NDArray[np.int16] = after - before
    return difference
