"""From decoded frames to what a network sees: resize, one view (crop and flip) for all modalities, normalise.

Decoded clips are uint8 arrays [T, H, W, C]; a network takes float32 tensors [C, T, crop, crop]. Flow is handled as
uint8 flow (:mod:`kineflow.spec.quantise`): resizing keeps magnitudes in pixels of the stored clip, and a
horizontal flip mirrors the image *and* inverts u (u becomes 255 - u), as TSN and ST-ResNet do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    import torch

    from kineflow.spec.preprocessing import Preprocessing

Frames = NDArray[np.uint8]

_LARGEST_ENLARGED = 2**21  # pixels of a frame: one of 256x8192
_LONGEST = 4  # times as long as wide is no odd frame, whatever its size


@dataclass(frozen=True)
class View:
    """Where a network looks in a clip: a square of ``size`` px at (``top``, ``left``), mirrored or not.

    With ``cut``, a rectangle of this height and width; with ``squash``, the whole frame, whatever its size. Both are
    resized to the square, unless a cut is to stay ``as_cut``.
    """

    top: int
    left: int
    size: int
    flip: bool = False
    cut: tuple[int, int] | None = None
    as_cut: bool = False
    squash: bool = False


def centre_view(height: int, width: int, size: int) -> View:
    """The middle of the frame, as at test time."""
    check_fits(height, width, size)
    return View((height - size) // 2, (width - size) // 2, size)


def whole_view(height: int, width: int, *, flip: bool = False) -> View:
    """The whole frame as it is."""
    return View(0, 0, min(height, width), flip, cut=(height, width), as_cut=True)


def random_view(height: int, width: int, size: int, *, may_flip: bool, rng: np.random.Generator) -> View:
    """A uniformly placed square; mirrored half the time if ``may_flip``."""
    check_fits(height, width, size)
    top, left = (int(rng.integers(room + 1)) for room in (height - size, width - size))
    return View(top, left, size, bool(may_flip and rng.random() < 0.5))


def check_fits(height: int, width: int, size: int) -> None:
    """Check that a square crop lies within the frame.

    Raises:
        KineflowError: It is too large.
    """
    if size > min(height, width):
        raise KineflowError(
            f"a crop of {size} px does not fit frames of {width}x{height}",
            remedy="choose crop ≤ short_side in the parameters of the training step",
        )


def resize_short_side(frames: Frames, short_side: int) -> Frames:
    """Scale [T, H, W, C] so that the shorter of H and W is ``short_side``; unchanged when it already is."""
    _, height, width, _ = frames.shape
    return resize(frames, *resized_to(height, width, short_side))


def resized_to(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width of a frame once its shorter side is ``short_side``.

    Raises:
        KineflowError: The frame is so long that it would become far larger than it is.
    """
    to = scaled_sides(height, width, short_side)
    if to[0] * to[1] > max(_LARGEST_ENLARGED, _LONGEST * short_side**2, height * width):
        raise KineflowError(
            f"frames of {width}x{height} px become {to[1]}x{to[0]} with a shorter side of {short_side}",
            remedy="leave such videos out, or cut their pictures",
        )
    return to


def scaled_sides(height: int, width: int, short_side: int) -> tuple[int, int]:
    """As :func:`resized_to`, of frames of any shape."""
    scale = short_side / min(height, width)
    return max(short_side, round(height * scale)), max(short_side, round(width * scale))


def resize(frames: Frames, height: int, width: int) -> Frames:
    """Scale [T, H, W, C]; unchanged where it has that size."""
    import cv2

    if frames.shape[1:3] == (height, width):
        return frames
    method = interpolation(frames.shape[1], frames.shape[2], height, width)
    resized = np.empty((len(frames), height, width, frames.shape[3]), dtype=frames.dtype)
    for frame, target in zip(frames, resized, strict=True):
        cv2.resize(np.ascontiguousarray(frame), (width, height), dst=target, interpolation=method)
    return resized


def interpolation(height: int, width: int, to_height: int, to_width: int) -> int:
    """OpenCV's way for a change of size."""
    import cv2

    return int(cv2.INTER_AREA if to_height * to_width < height * width else cv2.INTER_LINEAR)


def shown(frames: Frames, view: View, short_side: int, *, is_flow: bool = False) -> Frames:
    """What a view shows of [T, H, W, C] whose shorter side becomes ``short_side``; of a squashed one, at any size."""
    if not view.squash:
        frames = resize_short_side(frames, short_side)
    return apply_view(frames, view, is_flow=is_flow)


def apply_view(frames: Frames, view: View, *, is_flow: bool = False) -> Frames:
    """Cut ``view`` out of [T, H, W, C]; mirrored flow has its u inverted."""
    height, width = frames.shape[1:3] if view.squash else view.cut or (view.size, view.size)
    cut = frames[:, view.top : view.top + height, view.left : view.left + width]
    if not view.as_cut:
        cut = resize(cut, view.size, view.size)
    if not view.flip:
        return cut
    mirrored = cut[:, :, ::-1]
    if not is_flow:
        return mirrored
    mirrored = mirrored.copy()
    mirrored[..., 0] = 255 - mirrored[..., 0]
    return mirrored


def to_tensor(frames: NDArray[Any]) -> torch.Tensor:
    """[T, H, W, C] to a tensor [C, T, H, W] of the same type: a view of the frames, whose channels lie side by side.

    A batch copies it into its place anyway.
    """
    import torch

    return torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)


def normalise(clips: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """(x - mean) / std per channel, in the channel order that the network takes.

    ``clips`` is [..., C, T, H, W] in 0..255, colours as RGB; the result is float32.
    """
    mean, std = (part.to(clips.device) for part in mean_and_std(preprocessing))
    return normalise_by(clips, mean, std, bgr=preprocessing.channel_order == "bgr")


def normalise_(clips: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """:func:`normalise` in place, of float32 whose channels are in the network's order already."""
    mean, std = (part.to(clips.device) for part in mean_and_std(preprocessing))
    return clips.sub_(mean).div_(std)


def mean_and_std(preprocessing: Preprocessing) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each channel, float32 [C, 1, 1, 1], on the CPU."""
    import torch

    mean, std = (torch.tensor(part).view(-1, 1, 1, 1) for part in (preprocessing.mean, preprocessing.std))
    return mean, std


def normalise_by(clips: torch.Tensor, mean: torch.Tensor, std: torch.Tensor, *, bgr: bool) -> torch.Tensor:
    """As :func:`normalise`, with :func:`mean_and_std` on the device of ``clips`` already."""
    values = (_colours_turned(clips) if bgr else clips).float()
    return (values - mean) / std


def _colours_turned(clips: torch.Tensor) -> torch.Tensor:
    """RGB as BGR in the first three channels of [..., C, T, H, W]; channels of flow behind them stay."""
    import torch

    return torch.cat((clips[..., :3, :, :, :].flip(-4), clips[..., 3:, :, :, :]), dim=-4)
