"""How a clip becomes a network's input: plain values that travel with its weights."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from kineflow.spec.modality import Modality
from kineflow.spec.sampling import ShortPolicy
from kineflow.storage.errors import KineflowError

Fit = Literal["crop", "squash"]

MAX_INPUT_VALUES = 2**25
"""Most numbers of one clip as a network takes it: 134 MB in float32, of which its layers make ten times as many. 64 RGB
frames of 224x224 px have 9.6 million."""

_MOST, _LONGEST_STRIDE, _MOST_CHANNELS = 4096, 10_000, 1024
_LEAST_STD = 1e-6
_FASTEST_FPS = 1000

_FORBID_EXTRA: dict[str, Any] = {"extra": "forbid"}


@dataclass(frozen=True)
class Preprocessing:
    """How a clip becomes the network's input.

    Attributes:
        modality: See :mod:`kineflow.spec.modality`; flow is uint8, 0..255, still motion in the middle.
        frames: T, time steps in a clip (for flow: flow frames), or in each snippet of one.
        stride_frames: Frames of video from one time step to the next.
        short_side: To which each frame is resized, pixels.
        crop: Side of the square cut from it, pixels.
        mean, std: Subtracted from and divided into each channel, in units of 0..255; one entry per channel.
        channel_order: In which the network takes colours, and ``mean`` and ``std`` list them: ``bgr`` for weights born
            in Caffe. Frames are decoded as RGB, and turned round when they are normalised.
        segments: K of TSN: the network sees K snippets of a video at once, and its scores are averaged over the
            snippets of a longer test before the softmax. 0: it sees one window, and probabilities are averaged.
        fit: ``crop`` cuts the square out of the resized frame; ``squash`` makes the whole frame a square of this size,
            whatever its aspect, and ``short_side`` does not matter.
        short: What happens where a video is shorter than the clip, see :mod:`kineflow.spec.sampling`.
        fps: Frames per second that videos are brought to before anything else (:mod:`kineflow.video.resample`): the
            rate of the clips that the network learnt from; 0.0: every video is taken at its own.
        size: Width and height that pictures are brought to before anything else, whatever their aspect: those of the
            clips that the network learnt from, where these were brought to one; None: they keep their aspect.

    Raises:
        KineflowError: A value is impossible.
    """

    __pydantic_config__: ClassVar = _FORBID_EXTRA

    modality: Modality
    frames: int
    stride_frames: int
    short_side: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: Literal["rgb", "bgr"] = "rgb"
    segments: int = 0
    fit: Fit = "crop"
    short: ShortPolicy = "repeat_last"
    fps: float = 0.0
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if min(self.frames, self.stride_frames, self.crop, self.segments + 1) < 1 or self.short_side < self.crop:
            raise KineflowError(
                f"impossible clip geometry: {self.frames} frames at stride {self.stride_frames}, "
                f"crop {self.crop} of a short side of {self.short_side}",
                remedy="give counts of at least 1, and a crop no larger than the short side",
            )
        self._require_bounds()
        if not 0 <= self.fps <= _FASTEST_FPS:
            raise KineflowError(
                f"no video has {self.fps} frames a second", remedy=f"give a rate up to {_FASTEST_FPS}, or 0"
            )
        if self.size and not all(2 <= side <= _MOST for side in self.size):
            raise KineflowError(
                f"no picture is brought to {self.size[0]}x{self.size[1]} px", remedy=f"give sides of 2 to {_MOST} px"
            )
        if not self.mean or len(self.mean) != len(self.std) or not all(math.isfinite(x) for x in self.mean):
            raise KineflowError(
                f"mean {self.mean} and std {self.std} do not pair up", remedy="give one number each for every channel"
            )
        if not all(_LEAST_STD <= deviation < math.inf for deviation in self.std):
            raise KineflowError(f"std {self.std} cannot divide", remedy=f"give numbers of at least {_LEAST_STD}")
        colours = {"rgb": 3, "rgb_difference": 3, "rgb_flow": len(self.mean)}
        if self.channel_order == "bgr" and len(self.mean) != colours.get(self.modality):
            raise KineflowError(
                f"{len(self.mean)} channels of {self.modality} have no order bgr",
                remedy="keep channel_order bgr for RGB frames of 3 channels",
            )
        if self.modality == "rgb_flow" and (self.flow_frames < 1 or len(self.mean) % 2 == 0):
            raise KineflowError(
                f"no frame with flow frames has {len(self.mean)} channels",
                remedy="give 3 for the frame and 2 for each flow frame",
            )

    def _require_bounds(self) -> None:
        """A card is what its writer says: it must not make its reader take any amount of memory."""
        geometry = {"frames": self.frames, "short_side": self.short_side, "crop": self.crop, "segments": self.segments}
        bounds = {**dict.fromkeys(geometry, _MOST), "stride_frames": _LONGEST_STRIDE, "channels": _MOST_CHANNELS}
        given = {**geometry, "stride_frames": self.stride_frames, "channels": len(self.mean)}
        for name, value in given.items():
            if value > bounds[name]:
                raise KineflowError(f"{name} is {value}", remedy=f"give at most {bounds[name]}")
        if (values := self.frames * self.crop**2 * len(self.mean)) > MAX_INPUT_VALUES:
            raise KineflowError(
                f"{self.frames} frames of {self.crop}x{self.crop} px in {len(self.mean)} channels are {values} values",
                remedy=f"lower frames or crop: at most {MAX_INPUT_VALUES} are taken",
            )

    def plain(self) -> dict[str, Any]:
        """The values by name, as JSON takes them; without what came later and is not used.

        So cards and names of features stay what they were, and readers of earlier versions understand them.
        """
        values = asdict(self)
        if not self.fps:
            del values["fps"]
        if not self.size:
            del values["size"]
        return values

    @property
    def flow_frames(self) -> int:
        """L of ``rgb_flow``: flow frames at each time step; 1 for other modalities."""
        return (len(self.mean) - 3) // 2 if self.modality == "rgb_flow" else 1
