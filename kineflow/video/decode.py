"""Frames of a video file as arrays: all of them, or a few found by seeking; upright, with square pixels.

The bytes are not trusted: see :mod:`kineflow.video.opening`. The count of frames and the pixels that are returned are
bounded too, and the header is never believed about how many frames there are.

A video may be an object on S3 (:class:`kineflow.storage.media.RemoteFile`). It is read as a local file is, with the
same result; only which frames are where is taken from its header, so that a few frames cost a few ranges of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from kineflow.spec.video_bounds import MAX_FRAMES, MAX_PIXELS, MAX_READ_PIXELS
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import Media, RemoteFile
from kineflow.video.geometry import Turn, pixel_aspect, square_size, turn_of, upright
from kineflow.video.opening import decoded, open_video
from kineflow.video.time_stamps import Stamps, numbered, stamps_in_header, time_stamps

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
    each: Callable[[np.ndarray], np.ndarray] | None = None,
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
        each: What becomes of each frame as it is read, such as a part of it, all of one shape: less is held.
        max_frames: Most frames of a file that is read whole.
        max_pixels: Most pixels in one picture.
        max_read_pixels: Most pixels to read, all frames together. No more than three times as many are held.

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
        each=each,
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
    each: Callable[[np.ndarray], np.ndarray] | None = None,
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
        bounded = _within(max_read_pixels, convert, path, count=None if wanted is None else len(wanted))
        return bounded if each is None else lambda frame: each(bounded(frame))

    if wanted is None:
        with open_video(path, max_pixels=max_pixels) as (container, stream):
            fps, convert = float(stream.average_rate or 0), converter(stream)
            every = [convert(frame) for frame in _bounded(decoded(container, stream), path, max_frames)]
        if not every:
            raise KineflowError("no frame could be decoded", where=str(path), remedy="replace or remove the file")
        return Decoded(np.stack(every), fps)

    unique, positions = np.unique(wanted, return_inverse=True)
    numbers, frames = unique.tolist(), None
    if numbers[-1] >= _WORTH_A_PLAN_FRAMES:
        stamps = stamps_in_header(path, max_pixels) if isinstance(path, RemoteFile) else None
        with open_video(path, max_pixels=max_pixels) as (container, stream):
            fps = float(stream.average_rate or 0)
            frames = _placed(_read_seeking(container, stream, numbers, converter(stream), stamps), positions)
    if frames is None:
        with open_video(path, max_pixels=max_pixels) as (container, stream):
            fps = float(stream.average_rate or 0)
            frames = _placed(_read_linearly(decoded(container, stream), numbers, converter(stream)), positions)
    if frames is None:
        raise KineflowError(
            f"frame {unique[-1]} was asked for, but the video ends before it",
            where=str(path),
            remedy="ingest the video again: its count of frames is not that of the manifest",
        )
    return Decoded(frames, fps)


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
    with PartReader(path) as reader:
        yield from reader.frames(start, stop, size=size)


class PartReader:
    """Reads parts of a video, each frame by frame; a part that lies ahead of the one before goes on from there.

    A part is decoded from the key frame before it where that can be found (its place is looked up once), else from
    where the last part ended, and from the beginning where it begins before that. So parts in the order of their
    beginnings that do not overlap take one pass of any video.

    Args:
        path: A video file, or an object on S3.
    """

    def __init__(self, path: Media) -> None:
        self.path = path
        self._pass: Generator[tuple[float, Any], None, None] | None = None
        self._next = 0
        self._stamps: Stamps | None = None

    def __enter__(self) -> PartReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_pass()

    def frames(
        self, start: int, stop: int | None = None, *, size: tuple[int, int] | None = None
    ) -> Iterator[np.ndarray]:
        """As :func:`iter_frames`."""
        if stop is not None and stop <= start:
            return
        if self._pass is None or start < self._next or self._is_nearer(start):
            self._end_pass()
            self._pass, self._next = self._from(start), start
        convert = None
        try:
            for aspect, frame in self._pass:
                self._next += 1
                if self._next > start:
                    convert = convert or _converter("rgb24", size, aspect)
                    yield convert(frame)
                if self._next == stop:
                    return
        except KineflowError:
            self._end_pass()  # it gives no more frames
            raise
        self._end_pass()

    def _is_nearer(self, start: int) -> bool:
        """Whether a key frame lies ahead of the present place, from which ``start`` is decoded sooner."""
        stamps = self._stamps
        return stamps is not None and start < len(stamps.times) and stamps.key_before(start) > self._next

    def _from(self, start: int) -> Generator[tuple[float, Any], None, None]:
        """The pixel aspect and the decoded frame of each number from ``start`` on."""
        if start >= _WORTH_A_PLAN_FRAMES and isinstance(self.path, Path):
            with open_video(self.path) as (container, stream):
                self._stamps = self._stamps or time_stamps(container, stream)
                frames = _sought(container, stream, start, self._stamps)
                if frames is not None:
                    aspect = pixel_aspect(stream)
                    for frame in frames:
                        yield aspect, frame
                    return
        with open_video(self.path) as (container, stream):
            aspect = pixel_aspect(stream)
            for frame in itertools.islice(decoded(container, stream), start, None):
                yield aspect, frame

    def _end_pass(self) -> None:
        if self._pass is not None:
            self._pass.close()
        self._pass = None


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


def _placed(images: Iterable[np.ndarray], positions: np.ndarray) -> np.ndarray | None:
    """Images ``[T, ...]``, of which the n-th stands wherever ``positions`` [T] says n; None where there are too few.

    Each is copied as it comes, so that the next one finds its memory free: it is warm, and no page of it is new.
    """
    count, held = int(positions.max()) + 1, 0
    places = np.split(np.argsort(positions, kind="stable"), np.cumsum(np.bincount(positions))[:-1])
    frames: np.ndarray | None = None
    for image in images:
        if frames is None:
            frames = np.empty((len(positions), *image.shape), dtype=image.dtype)
        frames[places[held]] = image
        held += 1
    return frames if held == count else None


def _read_linearly(frames: Iterable[Any], unique: list[int], convert: Convert) -> Iterator[np.ndarray]:
    """Convert the frames at the ascending numbers ``unique``; fewer when the video ends before."""
    ahead = iter(unique)
    wanted = next(ahead)
    for number, frame in enumerate(frames):
        if number == wanted:
            yield convert(frame)
            wanted = next(ahead, -1)
            if wanted < 0:
                return


def _read_seeking(
    container: Any, stream: Any, unique: list[int], convert: Convert, stamps: Stamps | None = None
) -> Iterator[np.ndarray]:
    """Frames at the ascending numbers ``unique``, each decoded from the key frame before it.

    ``stamps`` are those of :func:`time_stamps`, where they are known already.

    Fewer, or none, when decoding from the start is as cheap, or when the n-th time stamp is not that of the n-th frame.
    """
    stamps = stamps or time_stamps(container, stream)
    if unique[-1] >= len(stamps.times):
        return
    runs: list[tuple[int, list[int]]] = []  # key frame to begin at, numbers to read from there on
    for number in unique:
        key = stamps.key_before(number)
        if runs and key <= runs[-1][1][-1] + 1 + _SEEK_COST_FRAMES:
            runs[-1][1].append(number)
        else:
            runs.append((key, [number]))
    cost = sum(wanted[-1] - key + 1 + _SEEK_COST_FRAMES for key, wanted in runs)
    if cost > unique[-1] + 1:
        return

    for key, wanted in runs:
        container.seek(stamps.times[key], stream=stream)
        ahead = iter(wanted)
        following = next(ahead)
        for number, frame in numbered(decoded(container, stream), stamps, key):
            if number == following:
                yield convert(frame)
                following = next(ahead, -1)
                if following < 0:
                    break
        if following >= 0:
            return


def _sought(container: Any, stream: Any, start: int, stamps: Stamps) -> Iterator[Any] | None:
    """The frames from ``start`` on, decoded from the key frame before it; None where that is not known to be right."""
    if start >= len(stamps.times):
        return None
    key = stamps.key_before(start)
    container.seek(stamps.times[key], stream=stream)
    frames = decoded(container, stream)
    first = next((frame for number, frame in numbered(frames, stamps, key) if number == start), None)
    return None if first is None else itertools.chain([first], frames)
