"""What a stream looks at, and which frames or flow fields of a clip it reads for that.

A clip of n frames has n − 1 moments, each a frame and what happens until the next one. Every modality is asked about
the same moments, so that streams can be compared and fused:

================  =====================================================  ========
modality          at moment t                                            channels
================  =====================================================  ========
``rgb``           frame t                                                3
``rgb_difference``  frame t + 1 less frame t, −255..255                  3
``flow``          the field from frame t to t + 1, quantised levels      2
``warped_flow``   the same, the camera's motion removed                  2
================  =====================================================  ========
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Modality = Literal["rgb", "rgb_difference", "flow", "warped_flow"]


def reads_flow(modality: Modality) -> bool:
    """Whether a modality is read from a flow set, and not from the clip itself."""
    return modality in ("flow", "warped_flow")


def channels_of(modality: Modality) -> int:
    """Channels of one time step."""
    return 2 if reads_flow(modality) else 3


def sources(moments: NDArray[np.int64], modality: Modality, *, n_frames: int) -> NDArray[np.int64]:
    """Frames or fields to read for ``moments`` [T] of a clip of ``n_frames`` frames: T of them, or 2·T for differences.

    Differences need the frames at all moments, then those after them (the last frame again where there is none).
    """
    if modality != "rgb_difference":
        return moments
    return np.concatenate([moments, np.minimum(moments + 1, n_frames - 1)])


def differences(frames: NDArray[np.uint8]) -> NDArray[np.int16]:
    """From uint8 [2·T, H, W, C], as :func:`sources` orders them, to their differences int16 [T, H, W, C]."""
    before, after = np.split(frames.astype(np.int16), 2)
    difference: NDArray[np.int16] = after - before
    return difference
