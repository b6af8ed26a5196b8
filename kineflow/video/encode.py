"""Write H.264 mp4 files that are the same, byte for byte, whenever they are written."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from kineflow.storage.disk import translate_full_disk
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file

_RATE_DENOMINATOR = 1001  # 30000/1001 and its kin stay exact
_X264_SIDE = 16384
_EVEN_SIZED = ("yuv420p",)


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    fps: Fraction | float,
    crf: int = 18,
    gop: int = 12,
    pixel_format: str = "yuv420p",
    source_format: str = "rgb24",
    preset: str = "veryfast",
    tune: str | None = None,
) -> None:
    """Encode ``frames`` as H.264 in mp4 at ``path``, which appears whole or not at all.

    One thread, no B-frames and a key frame every ``gop`` frames: the bytes are deterministic and frame ``n`` is found
    by seeking to the key frame ``n // gop * gop``.

    Args:
        path: Of the file to write; its folder is made when absent.
        frames: uint8 ``[H, W, 3]`` ("rgb24"; "yuv444p": planes Y, U, V stacked last) or ``[H, W]`` ("gray"); all of
            one size.
        fps: Frames per second, above 0.
        crf: Constant rate factor, 0 (lossless) to 51.
        gop: Frames from one key frame to the next, 1 or more.
        pixel_format: Of the file: "yuv420p" (even sizes only) or "yuv444p" (any size).
        source_format: Of the frames: "rgb24", "gray" or "yuv444p".
        preset: Of x264: "veryfast" to "veryslow", slower to write and smaller.
        tune: Of x264, for what is no picture to look at: "psnr" spreads the error evenly, "fastdecode" gives size for
            speed; with a comma, both.

    Raises:
        KineflowError: There are no frames, their sizes differ or are odd for yuv420p, x264 cannot encode them, or the
            disk is full.
    """
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise KineflowError("a video needs at least one frame", where=path)
    height, width = first.shape[:2]
    if pixel_format in _EVEN_SIZED and (height % 2 or width % 2):
        raise KineflowError(
            f"{pixel_format} needs an even width and height, not {width}x{height}",
            where=path,
            remedy="crop or scale the frames to even sizes, or write yuv444p",
        )

    with translate_full_disk(path.parent), atomic_file(path) as partial, _naming_x264(width, height, path):
        reformatter = VideoReformatter()
        with av.open(f"file:{partial}", "w", format="mp4", options={"fflags": "+bitexact"}) as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(_RATE_DENOMINATOR))
            stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
            stream.options = {
                "preset": preset,
                "crf": str(crf),
                "g": str(gop),
                "bf": "0",
                "sc_threshold": "0",
                # x264's macroblock tree reads memory it never wrote when pictures are small (48x48: 5 % of the files
                # differ in their bytes); without it nothing looks ahead.
                "mbtree": "0",
                "rc-lookahead": "0",
            }
            if tune:
                stream.options |= {"tune": tune}
            stream.codec_context.thread_count = 1
            for number, image in enumerate(itertools.chain([first], remaining)):
                if image.shape != first.shape:
                    raise KineflowError(f"frame {number} is {image.shape}, the first one {first.shape}", where=path)
                frame = av.VideoFrame.from_ndarray(image, source_format, channel_last=True)
                frame = reformatter.reformat(frame, format=pixel_format, threads=1)
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode())


@contextmanager
def _naming_x264(width: int, height: int, path: Path) -> Iterator[None]:
    """Turn what FFmpeg says of pictures that it cannot encode into words; trouble with the disk is no such thing."""
    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise KineflowError(
            f"x264 cannot encode pictures of {width}x{height}: {error.strerror}",
            where=path,
            remedy=f"scale the video to at most {_X264_SIDE} pixels a side",
        ) from None
