"""Frames of a video file as arrays: all of them, or a few found by seeking; upright, with square pixels.

The bytes are not trusted: see :mod:`kineflow.video.opening`. The count of frames and the pixels that are returned are
bounded too, and the header is never believed about how many frames there are.

A video may be an object on S3 (:class:`kineflow.storage.media.RemoteFile`). It is read as a local file is, with the
same result; only which frames are where is taken from its header, so that a few frames cost a few ranges of it.
"""

from __future__ import annotations

import bisect
import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from kineflow.spec.video_bounds import MAX_FILE_FRAMES, MAX_FRAMES, MAX_PIXELS, MAX_READ_PIXELS
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import Media, RemoteFile
from kineflow.video.geometry import Turn, pixel_aspect, square_size, turn_of, upright
from kineflow.video.opening import decoded, is_mp4, open_video, opened, packets_of, remote_source

PIXEL_FORMATS = ("rgb24", "gray", "yuv444p", "yu")

_PLANES = {"yu": 2, "yuv444p": 3}
_LUMA_FIRST = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "gray")

# Luma 16..235 to grey 0..255.
_STRETCHED = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)

# Below this frame number, decoding from the start costs less than looking for key frames.
_WORTH_A_PLAN_FRAMES = 16
_SEEK_COST_FRAMES = 3


@dataclass(frozen=True)
class Decoded:
    """Frames and their rate.

    Attributes:
        frames: uint8 ``[T, H, W, C]`` (``[T, H, W]`` for "gray").
        fps: Mean frame rate in frames per second; 0.0 when the file does not say.
    """

    frames: np.ndarray
    fps: float


def read_frames(
    path: Media,
    indices: Sequence[int] | None = None,
    *,
    pixel_format: str = "rgb24",
    size: tuple[int, int] | None = None,
    max_frames: int = MAX_FRAMES,
    max_pixels: int = MAX_PIXELS,
    max_read_pixels: int = MAX_READ_PIXELS,
) -> np.ndarray:
    """Decode a video, or the frames at ``indices`` of it, as they are to be seen: upright, with square pixels.

    Args:
        path: A video file, or an object on S3.
        indices: Frame numbers from 0, in any order, repeats allowed; None for every frame.
        pixel_format: "rgb24" gives RGB, "gray" the luma in 0..255 (video range, 16..235, is stretched), "yuv444p" the
            planes Y, U, V as they were coded, stacked last, "yu" the first two of them.
        size: Width and height to scale to as it is decoded (bicubic), before the picture is turned; None keeps it.
        max_frames: Most frames of a file that is read whole.
        max_pixels: Most pixels in one picture.
        max_read_pixels: Most pixels to give back, all frames together. No more than three times as many are held.

    Returns:
        uint8 ``[T, H, W, 3]``, or ``[T, H, W]`` for "gray", ``[T, H, W, 2]`` for "yu". Where the picture changes its
        size in mid-file, later frames are scaled to the size of the first one returned.

    Raises:
        KineflowError: The file is missing or not readable as a video, breaks off with an error, is larger than the
            bounds, or ends before the largest index.
    """
    return read_video(
        path,
        indices,
        pixel_format=pixel_format,
        size=size,
        max_frames=max_frames,
        max_pixels=max_pixels,
        max_read_pixels=max_read_pixels,
    ).frames


def read_video(
    path: Media,
    indices: Sequence[int] | None = None,
    *,
    pixel_format: str = "rgb24",
    size: tuple[int, int] | None = None,
    max_frames: int = MAX_FRAMES,
    max_pixels: int = MAX_PIXELS,
    max_read_pixels: int = MAX_READ_PIXELS,
) -> Decoded:
    """As :func:`read_frames`, with the frame rate.

    Raises:
        KineflowError: As :func:`read_frames`.
    """
    if pixel_format not in PIXEL_FORMATS:
        raise KineflowError(f"unknown pixel format {pixel_format!r}", remedy=f"use one of {', '.join(PIXEL_FORMATS)}")
    wanted = None if indices is None else np.asarray(indices, dtype=np.int64)
    if wanted is not None and (not wanted.size or wanted.min() < 0):
        raise KineflowError(f"frame indices must be 0 or more, and one at least: {wanted.tolist()}", where=str(path))

    def converter(stream: Any) -> Convert:
        convert = _converter(pixel_format, size, pixel_aspect(stream))
        return _within(max_read_pixels, convert, path, count=None if wanted is None else len(wanted))

    if wanted is None:
        with open_video(path, max_pixels=max_pixels) as (container, stream):
            fps, convert = float(stream.average_rate or 0), converter(stream)
            every = [convert(frame) for frame in _bounded(decoded(container, stream), path, max_frames)]
        if not every:
            raise KineflowError("no frame could be decoded", where=str(path), remedy="replace or remove the file")
        return Decoded(np.stack(every), fps)

    unique, positions = np.unique(wanted, return_inverse=True)
    converted = None
    if unique[-1] >= _WORTH_A_PLAN_FRAMES:
        stamps = _stamps_in_header(path, max_pixels) if isinstance(path, RemoteFile) else None
        with open_video(path, max_pixels=max_pixels) as (container, stream):
            fps = float(stream.average_rate or 0)
            converted = _read_seeking(container, stream, unique.tolist(), converter(stream), stamps)
    if converted is None:
        with open_video(path, max_pixels=max_pixels) as (container, stream):
            fps = float(stream.average_rate or 0)
            converted = _read_linearly(decoded(container, stream), unique.tolist(), converter(stream))
    if len(converted) < len(unique):
        raise KineflowError(
            f"frame {unique[-1]} was asked for, but the video ends before it",
            where=str(path),
            remedy="ingest the video again: its count of frames is not that of the manifest",
        )
    frames = np.stack(converted)
    return Decoded(frames if np.array_equal(wanted, unique) else frames[positions], fps)


def iter_frames(
    path: Media, *, start: int = 0, stop: int | None = None, size: tuple[int, int] | None = None
) -> Iterator[np.ndarray]:
    """Decode the frames ``start`` to ``stop`` one by one, for videos too long to hold.

    Args:
        path: A video file, or an object on S3.
        start, stop: First frame number, and the one after the last (None: to the end).
        size: Width and height to scale to (bicubic), before the picture is turned upright; None keeps it.

    Yields:
        uint8 ``[H, W, 3]`` RGB, upright. Nothing, when the video ends before ``start``.

    Raises:
        KineflowError: As :func:`read_frames`, except that an early end is none.
    """
    if start >= _WORTH_A_PLAN_FRAMES and isinstance(path, Path):
        with open_video(path) as (container, stream):
            frames = _sought(container, stream, start)
            if frames is not None:
                convert = _converter("rgb24", size, pixel_aspect(stream))
                for frame in itertools.islice(frames, None if stop is None else max(0, stop - start)):
                    yield convert(frame)
                return
    with open_video(path) as (container, stream):
        convert = _converter("rgb24", size, pixel_aspect(stream))
        for frame in itertools.islice(decoded(container, stream), start, stop):
            yield convert(frame)


def iter_luma(path: Media) -> Iterator[np.ndarray]:
    """Decode the luma plane of every frame, one by one, as "gray" of :func:`read_frames` gives it.

    Yields:
        uint8 ``[H, W]``, upright.

    Raises:
        KineflowError: As :func:`read_frames`, or the picture changes its size in mid-file.
    """
    size = None
    with open_video(path) as (container, stream):
        convert = _converter("gray", None, pixel_aspect(stream))
        for number, frame in enumerate(decoded(container, stream)):
            size = size or (frame.width, frame.height)
            if (frame.width, frame.height) != size:
                raise KineflowError(
                    f"frame {number} is {frame.width}x{frame.height}, those before it {size[0]}x{size[1]}",
                    where=str(path),
                    remedy="scale the video to one size",
                )
            yield convert(frame)


Convert = Callable[[Any], np.ndarray]


def _converter(pixel_format: str, size: tuple[int, int] | None, aspect: float) -> Convert:
    """One scaler for all frames of a file: PyAV's ``to_ndarray(format=…)`` would build one a frame.

    Frames are scaled to ``size`` (width, height), or to the size of the first one with its pixels made square.
    """
    reformatter, turn, rotation = VideoReformatter(), Turn(), None

    def convert(frame: Any) -> np.ndarray:
        nonlocal size, turn, rotation
        size = size or square_size(frame.width, frame.height, aspect)
        if frame.rotation != rotation:  # to look for the matrix itself takes a hundred times as long
            rotation, turn = frame.rotation, turn_of(frame)
        as_coded = (frame.width, frame.height) == size
        if as_coded and pixel_format == "gray" and frame.format.name in _LUMA_FIRST:
            image = _plane(frame.planes[0])
            if not _is_full_range(frame):
                image = cv2.LUT(image, _STRETCHED)
        elif as_coded and pixel_format in _PLANES and frame.format.name == "yuv444p":
            image = cv2.merge([_plane(plane) for plane in frame.planes[: _PLANES[pixel_format]]])
        else:
            target = "yuv444p" if pixel_format in _PLANES else pixel_format
            scaled = reformatter.reformat(
                frame, width=size[0], height=size[1], format=target, interpolation="BICUBIC", threads=1
            )
            image = scaled.to_ndarray(channel_last=True)[..., : _PLANES.get(pixel_format)]
        return upright(image, turn)

    return convert


def _is_full_range(frame: Any) -> bool:
    return bool(frame.color_range == ColorRange.JPEG or frame.format.name.startswith(("yuvj", "gray")))


def _plane(plane: Any) -> np.ndarray:
    """An 8-bit plane as a copy ``[H, W]``: the buffer is the decoder's, and its rows are padded."""
    rows = np.frombuffer(plane, dtype=np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width].copy()


def _within(max_read_pixels: int, convert: Convert, path: Media, *, count: int | None) -> Convert:
    """``convert`` that refuses when ``count`` frames, or those so far where that is not known, are too much to hold."""
    held = 0

    def bounded(frame: Any) -> np.ndarray:
        nonlocal held
        held += 1
        image = convert(frame)
        height, width = image.shape[:2]
        if (count or held) * height * width > max_read_pixels:
            raise KineflowError(
                f"{count or held} frames of {width}x{height} are more than {max_read_pixels} pixels to hold",
                where=str(path),
                remedy="read fewer frames at a time, or scale them as they are read",
            )
        return image

    return bounded


def _bounded(frames: Iterable[Any], path: Media, max_frames: int) -> Iterator[Any]:
    for number, frame in enumerate(frames):
        if number >= max_frames:
            raise KineflowError(
                f"more than {max_frames} frames", where=str(path), remedy="cut the video into shorter clips"
            )
        yield frame


def _read_linearly(frames: Iterable[Any], unique: list[int], convert: Convert) -> list[np.ndarray]:
    """Convert the frames at the ascending numbers ``unique``; fewer when the video ends before."""
    converted: list[np.ndarray] = []
    for number, frame in enumerate(frames):
        if number == unique[len(converted)]:
            converted.append(convert(frame))
            if len(converted) == len(unique):
                break
    return converted


def _read_seeking(
    container: Any,
    stream: Any,
    unique: list[int],
    convert: Convert,
    stamps: tuple[list[int], list[int]] | None = None,
) -> list[np.ndarray] | None:
    """Frames at the ascending numbers ``unique``, each decoded from the key frame before it.

    ``stamps`` are those of :func:`_time_stamps`, where they are known already.

    Returns None when decoding from the start is as cheap, or when the n-th time stamp cannot be shown to be that of
    the n-th frame.
    """
    times, key_numbers = stamps or _time_stamps(container, stream)
    if unique[-1] >= len(times):
        return None
    runs: list[tuple[int, list[int]]] = []  # key frame to begin at, numbers to read from there on
    for number in unique:
        key = key_numbers[bisect.bisect_right(key_numbers, number) - 1]
        if runs and key <= runs[-1][1][-1] + 1 + _SEEK_COST_FRAMES:
            runs[-1][1].append(number)
        else:
            runs.append((key, [number]))
    cost = sum(wanted[-1] - key + 1 + _SEEK_COST_FRAMES for key, wanted in runs)
    if cost > unique[-1] + 1:
        return None

    converted: list[np.ndarray] = []
    for key, wanted in runs:
        container.seek(times[key], stream=stream)
        ahead = [times[number] for number in wanted]
        for frame in decoded(container, stream):
            if stamps and frame.pts == times[key] and not frame.key_frame:  # a header may lie
                return None
            if frame.pts == ahead[0]:
                converted.append(convert(frame))
                ahead.pop(0)
            if not ahead:
                break
        if ahead:
            return None
    return converted


def _sought(container: Any, stream: Any, start: int) -> Iterator[Any] | None:
    """The frames from ``start`` on, decoded from the key frame before it; None where that is not known to be right."""
    times, key_numbers = _time_stamps(container, stream)
    if start >= len(times):
        return None
    container.seek(times[key_numbers[bisect.bisect_right(key_numbers, start) - 1]], stream=stream)
    frames = decoded(container, stream)
    first = next((frame for frame in frames if frame.pts is None or frame.pts >= times[start]), None)
    if first is None or first.pts != times[start]:
        return None
    return itertools.chain([first], frames)


def _time_stamps(container: Any, stream: Any) -> tuple[list[int], list[int]]:
    """Time stamps of all frames in the order they are shown, and the numbers of the key frames; both empty if unsure.

    Only H.264 in mp4 is sure: there a packet is a frame. (AVI with packed B-frames holds packets that are none.)
    """
    if not _is_sure(container, stream):
        return [], []
    return _numbered(_facts(container, stream), None)


def _stamps_in_header(video: RemoteFile, max_pixels: int) -> tuple[list[int], list[int]]:
    """As :func:`_time_stamps`, without the pictures: those of an mp4 are looked up in its header, and not fetched.

    Once the header is read, the demuxer gets zeros for everything else.
    """
    with remote_source(video) as source:
        blank = _Blank(source)
        with opened(blank, video, max_pixels) as (container, stream):
            # A header in pieces (moof boxes) lists no frames; the pieces would be lost among the pictures.
            if not _is_sure(container, stream) or not stream.frames:
                return [], []
            blank.from_now_on = True
            facts = _facts(container, stream)
            return _numbered(facts, {entry.timestamp for entry in stream.index_entries if entry.is_keyframe})


class _Blank:
    """A file whose content turns into zeros at a word."""

    def __init__(self, source: io.RawIOBase) -> None:
        self._source = source
        self.from_now_on = False
        self.seek, self.tell = source.seek, source.tell

    def read(self, size: int) -> bytes:
        if not self.from_now_on:
            return self._source.read(size) or b""
        here = self.tell()
        return bytes(max(0, self.seek(min(here + size, self._source.seek(0, io.SEEK_END))) - here))


def _is_sure(container: Any, stream: Any) -> bool:
    return stream.codec_context.name == "h264" and is_mp4(container)


class _Facts(NamedTuple):
    """Of a packet, without its content."""

    pts: int | None
    dts: int | None
    is_key: bool
    is_sound: bool


def _facts(container: Any, stream: Any) -> list[_Facts]:
    return [
        _Facts(packet.pts, packet.dts, packet.is_keyframe, not (packet.is_discard or packet.is_corrupt))
        for packet in itertools.islice(packets_of(container, stream), MAX_FILE_FRAMES + 1)
        if packet.size
    ]


def _numbered(packets: list[_Facts], key_dts: set[int] | None) -> tuple[list[int], list[int]]:
    """``key_dts`` names the key frames where the content of the packets is not at hand."""
    times = sorted(packet.pts for packet in packets if packet.pts is not None)
    is_key = [packet.is_key if key_dts is None else packet.dts in key_dts for packet in packets]
    sound = (
        0 < len(packets) <= MAX_FILE_FRAMES
        and len(set(times)) == len(packets)
        and is_key[0]
        and packets[0].pts == times[0]
        and all(packet.is_sound for packet in packets)
    )
    if not sound:
        return [], []
    number_of = {pts: number for number, pts in enumerate(times)}
    return times, sorted(
        number_of[packet.pts] for packet, key in zip(packets, is_key, strict=True) if key and packet.pts is not None
    )
