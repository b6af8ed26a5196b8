"""Small videos in any container, with any time stamps, whose every frame tells its number in its top row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

WIDTH, HEIGHT = 64, 48
BLOCK = 8  # pixels; one a bit, the lowest one leftmost, white for one


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """RGB: the number, and below it a texture that moves, so that every frame has something to code."""
    x = np.arange(width)
    image = np.empty((height, width, 3), np.uint8)
    image[:] = (60 + ((x + 3 * number) * 37) % 127)[None, :, None]
    image[: 2 * BLOCK] = 0
    for bit in range(WIDTH // BLOCK):
        image[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)
    return image


def numbers_of(frames: np.ndarray) -> list[int]:
    """The numbers of decoded pictures of the usual size."""
    rows = frames[:, 2 : BLOCK - 2].mean(axis=(1, 3))  # [T, W]
    blocks = rows.reshape(len(frames), -1, BLOCK)[..., 2:-2].mean(axis=-1) > 128
    return (blocks * (1 << np.arange(blocks.shape[1]))).sum(axis=1).tolist()


def write(
    path: Path,
    frames: int | Sequence[int],
    *,
    codec: str = "libx264",
    container: str | None = None,
    muxing: Mapping[str, str] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    aspect: Fraction | None = None,
    matrix: Any = None,
    options: Mapping[str, str] | None = None,
    base: Fraction = Fraction(1, 1000),
    target: Any = None,
) -> Path:
    """Write a video.

    Args:
        path: Of the file.
        frames: How many, at 25 a second; or the time of each, in units of ``base``.
        codec: FFmpeg's name of the encoder.
        container: FFmpeg's name; None: by the suffix.
        muxing: Options of the muxer.
        size: Width and height.
        aspect: Of the pixels.
        matrix: The nine numbers of a display matrix.
        options: Of the encoder.
        base: Unit of the times, seconds.
        target: Something to write into instead of the path, where no one can go back.
    """
    times = [40 * number for number in range(frames)] if isinstance(frames, int) else frames
    steady = isinstance(frames, int)
    with av.open(target or str(path), "w", format=container, options=dict(muxing or {})) as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if matrix is not None:
            stream.set_display_matrix(matrix)
        base = Fraction(1, 25) if steady else base
        stream.codec_context.time_base = base
        usual = {"preset": "veryfast", "crf": "16"} if codec == "libx264" else {}
        stream.options = {**usual, **(options or {})}
        if codec != "libx264":
            stream.bit_rate = 600_000
        stream.codec_context.thread_count = 1
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), "rgb24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = (number if steady else time), base
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path
