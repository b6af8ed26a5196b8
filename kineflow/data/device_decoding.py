"""Clips decoded and cut on a GPU: by NVDEC, through torchcodec, with what the CPU's reader gives as the measure.

Which frame is which is torchcodec's count of all time stamps (``seek_mode="exact"``; that takes 1 ms a clip), held
against the manifest's, which was made by decoding. Frames never leave the device; they are resized by the weights that
OpenCV has for these sizes. Flow is no case for it: its planes are no colours, and NVDEC decodes H.264 in 4:2:0 alone.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from kineflow.data.frame_view import FrameView
from kineflow.data.transforms import View, interpolation, resized_to

_MP4_AT, _MP4 = 4, b"ftyp"


class UnfitForDeviceError(Exception):
    """A clip that is to be decoded on the CPU; its text says why."""


def why_no_decoder() -> str:
    """Why torchcodec cannot be used here, in one line; empty where it can."""
    try:
        import torchcodec.decoders
    except (ImportError, OSError, RuntimeError) as error:  # a build for another torch, CUDA or FFmpeg
        return str(error.__cause__ or error).strip().splitlines()[0]
    return "" if torchcodec.ffmpeg_major_version else "FFmpeg's shared libraries are not found"


def decode_on(device: torch.device, wanted: FrameView) -> torch.Tensor:
    """The frames of a view, uint8 [T, S, S, 3] on ``device``, contiguous; on the current stream where that is a GPU.

    On a CPU the frames are those of :meth:`FrameView.read`, within a level where they are resized.

    Raises:
        UnfitForDeviceError: The clip is not on a local disk, not as the manifest has it, or nothing that the device
            can decode.
    """
    path = _local_mp4(wanted)
    from torchcodec.decoders import VideoDecoder

    try:
        decoder = VideoDecoder(path, device=device, dimension_order="NHWC", seek_mode="exact")
        _check(decoder, wanted)
        frames = decoder.get_frames_at(list(wanted.indices)).data
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        raise UnfitForDeviceError(str(error).strip().splitlines()[0]) from error
    return _shown(frames, wanted.view, wanted.short_side)


def _local_mp4(wanted: FrameView) -> Path:
    """Its file; no other format is opened, for some name further files, which FFmpeg would fetch."""
    if not isinstance(wanted.path, Path):
        raise UnfitForDeviceError("it is on S3")
    try:
        with wanted.path.open("rb") as stream:
            head = stream.read(_MP4_AT + len(_MP4))
    except OSError as error:
        raise UnfitForDeviceError(str(error)) from error
    if not head.endswith(_MP4):
        raise UnfitForDeviceError("it is no mp4")
    return wanted.path


def _check(decoder: Any, wanted: FrameView) -> None:
    found = decoder.metadata
    if (found.num_frames, found.width, found.height) != (wanted.frames, wanted.width, wanted.height):
        raise UnfitForDeviceError(
            f"it has {found.num_frames} frames of {found.width}x{found.height}, and by the manifest {wanted.frames} of "
            f"{wanted.width}x{wanted.height}"
        )
    if found.rotation or found.pixel_aspect_ratio not in (None, 0, 1):
        raise UnfitForDeviceError("its pictures are turned, or its pixels are not square")
    if decoder.cpu_fallback:
        raise UnfitForDeviceError(f"{found.codec} of {found.width}x{found.height} is nothing that NVDEC here decodes")


def _shown(frames: torch.Tensor, view: View, short_side: int) -> torch.Tensor:
    """As :func:`kineflow.data.transforms.shown`, of a tensor."""
    if not view.squash:
        frames = resize_on_device(frames, *resized_to(frames.shape[1], frames.shape[2], short_side))
    height, width = frames.shape[1:3] if view.squash else view.cut or (view.size, view.size)
    cut = frames[:, view.top : view.top + height, view.left : view.left + width]
    if not view.as_cut:
        cut = resize_on_device(cut, view.size, view.size)
    return (cut.flip(2) if view.flip else cut).contiguous()


def resize_on_device(frames: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """As :func:`kineflow.data.transforms.resize` within a level, of a tensor uint8 [T, H, W, C]."""
    given = frames.shape[1], frames.shape[2]
    if given == (height, width):
        return frames
    method = interpolation(*given, height, width)
    rows = torch.from_numpy(_weights(given[0], height, width > given[1], method)).to(frames.device)
    columns = torch.from_numpy(_weights(given[1], width, height > given[0], method)).to(frames.device)
    resized = torch.einsum("ah,thwc->tawc", rows, frames.float())
    resized = torch.einsum("bw,tawc->tabc", columns, resized)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


@lru_cache(maxsize=256)
def _weights(size: int, to: int, other_grows: bool, method: int) -> NDArray[np.float32]:
    """What each of ``size`` pixels in a line gives to each of ``to``, [to, size], as OpenCV resizes.

    Its INTER_AREA depends on whether the other side grows.
    """
    other, other_to = (1, 2) if other_grows else (2, 1)
    units = np.repeat(np.eye(size, dtype=np.float32)[:, :, None], other, axis=2)
    return np.stack([cv2.resize(unit, (other_to, to), interpolation=method)[:, 0] for unit in units], axis=1)
