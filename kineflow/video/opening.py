"""Open a video file that is not trusted, and decode it.

Only plain video containers are opened (a playlist could name other files), the size of a picture is bounded, and
decoding stays on one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import av
import av.error

from kineflow.spec.video_bounds import MAX_PIXELS
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import Media, RemoteFile
from kineflow.storage.ranges import RangeReader
from kineflow.video.film import film_of
from kineflow.video.foreign import HEAD_BYTES, what_it_is
from kineflow.video.geometry import pixel_aspect, square_size

# Demuxers that read pictures from the file itself; playlists (hls, concat, …) would open files and addresses it names.
_CONTAINERS = "mov,avi,matroska,mpeg,mpegts,flv,asf,ogg"
_NO_PROTOCOL = "none"
_REMEDY = "replace or remove the file"


@contextmanager
def open_video(path: Media, *, max_pixels: int = MAX_PIXELS) -> Iterator[tuple[Any, Any]]:
    """Open an untrusted video file: ``(PyAV container, the stream of its film)``; see :func:`film_of`.

    Raises:
        KineflowError: The file cannot be opened, holds no video, its pictures are larger than the bound, or an FFmpeg
            error ends the block; or S3 failed.
    """
    if isinstance(path, RemoteFile):
        with remote_source(path) as source, opened(source, path, max_pixels) as video:
            yield video
    else:
        # "file:" keeps a name such as "concat:a|b" from being taken for a protocol.
        with opened(f"file:{path}", path, max_pixels) as video:
            yield video


@contextmanager
def remote_source(video: RemoteFile) -> Iterator[RangeReader]:
    """An object on S3 as a file; a failure of S3 is raised over what FFmpeg has made of it, the end of the file."""
    with video.open() as source:
        try:
            yield source
        finally:
            if source.failure is not None:
                raise source.failure


@contextmanager
def opened(source: Any, path: Media, max_pixels: int) -> Iterator[tuple[Any, Any]]:
    """As :func:`open_video`, of an address for FFmpeg, or of a seekable binary file."""
    is_address, has_film = isinstance(source, str), False
    try:
        with av.open(
            source,
            metadata_errors="replace",
            io_open=None if is_address else _open_nothing_else,
            options={
                "format_whitelist": _CONTAINERS,
                "protocol_whitelist": "file" if is_address else _NO_PROTOCOL,
                "max_pixels": str(max_pixels),
                "threads": "1",
            },
        ) as container:
            stream = checked_film(container, path, max_pixels)
            has_film = True
            stream.codec_context.thread_count = 1
            stream.codec_context.options = {"max_pixels": str(max_pixels)}
            yield container, stream
    except (FileNotFoundError, IsADirectoryError):
        raise KineflowError("no such video file", where=str(path), remedy="check the path") from None
    except (av.error.FFmpegError, EOFError, UnicodeError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        kind = "" if has_film else what_it_is(_head(path))
        raise KineflowError(f"not readable as a video: {kind or cause}", where=str(path), remedy=_REMEDY) from None


def checked_film(container: Any, path: Media | str, max_pixels: int) -> Any:
    """The stream of a container's film, whose pictures have at most ``max_pixels`` as they are shown.

    Raises:
        KineflowError: There is no film, or its pictures are larger.
    """
    try:
        stream = film_of(container)
        context = stream.codec_context
        width, height = square_size(context.width, context.height, pixel_aspect(stream))
    except KineflowError as error:
        raise KineflowError(error.problem, where=str(path), remedy=error.remedy or _REMEDY) from None
    if width * height > max_pixels:
        raise KineflowError(
            f"not readable as a video: pictures of {width}x{height} are more than {max_pixels} pixels",
            where=str(path),
            remedy="scale the video down",
        )
    return stream


def decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Every frame of a stream in the order they are shown; see :func:`packets_of`."""
    for packet in packets_of(container, stream):
        yield from packet.decode()


def packets_of(container: Any, stream: Any, *others: Any) -> Iterator[Any]:
    """The packets of a stream, and of ``others``, and last an empty one of each that makes its decoder give the rest.

    Empty ones between them are left out: AVI and Ogg say so that the last frame is shown again, which the time stamp of
    the next one says too, and FFmpeg takes them for mistakes.
    """
    packets = container.demux(stream, *others)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, IndexError):  # the latter for streams that began in mid-file, after ours has ended
            return
        if packet.size or (packet.pts is None and packet.dts is None):
            yield packet


def _head(path: Media) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD_BYTES) or b""
    except OSError:
        return b"?"


def _open_nothing_else(address: str, *_: object) -> NoReturn:
    raise KineflowError(f"the video refers to another file, {address!r}", remedy="replace or remove the video")


def is_mp4(container: Any) -> bool:
    """Whether FFmpeg takes the file for one of the mp4 family."""
    return "mp4" in container.format.name.split(",")
