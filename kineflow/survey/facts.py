"""What a look at a clip tells: plain values, so that they pass between processes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kineflow.data.fingerprint import Fingerprint


@dataclass(frozen=True)
class Header:
    """What a file says of its film.

    Attributes:
        fps: Frames a second; 0 where it says none that can be.
        seconds: From its start to its end; 0 where it does not say.
        width, height: As it is seen: upright, pixels square.
        codec: FFmpeg's name.
    """

    fps: float
    seconds: float
    width: int
    height: int
    codec: str

    @property
    def short_side(self) -> int:
        """In pixels."""
        return min(self.width, self.height)


@dataclass(frozen=True)
class Look:
    """What was seen of a clip.

    Attributes:
        header: Of its file, ``seconds`` those of the clip; None where the file cannot be opened.
        file_sec: Length of the whole file; 0 where it does not say.
        problem: Why it cannot be used; empty where it can.
        remark: What is odd about it; empty where nothing is.
        brightness: Mean grey value, 0..255.
        contrast: Mean over frames of the standard deviation of grey values.
        change: Mean absolute difference of grey values between the frames that were looked at.
        fingerprint: What tells its scene; None where no frame could be seen.
        picture: JPEG of a frame in the middle.
        pairs: Frames of the clip and those that follow at the target rate, uint8 [P, 2, H, W]; of the sample only.
    """

    header: Header | None = None
    file_sec: float = 0.0
    problem: str = ""
    remark: str = ""
    brightness: float = 0.0
    contrast: float = 0.0
    change: float = 0.0
    fingerprint: Fingerprint | None = None
    picture: bytes = b""
    pairs: np.ndarray = field(default_factory=lambda: np.empty((0, 2, 1, 1), np.uint8), repr=False)

    @property
    def is_usable(self) -> bool:
        """Whether frames of it could be seen."""
        return self.header is not None and not self.problem
