"""Video that has no end yet: a stream at an address, a camera of this machine, or a file that is being written.

A stream is what its user names, and FFmpeg connects to nothing else: playlists, which name further addresses, are not
opened. Sizes are bounded as of files (:mod:`kineflow.video.opening`). An address may hold a password; no message does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import av.error

from kineflow.spec.video_bounds import MAX_PIXELS
from kineflow.storage.credentials import mask_uri
from kineflow.storage.errors import KineflowError
from kineflow.video.opening import checked_film, opened

_FORMATS = "rtsp,rtp,sdp,mpegts,flv,matroska,mov,mpjpeg,mjpeg,h264,hevc,ogg,avi"
_PROTOCOLS = "rtsp,rtsps,rtp,srtp,rtmp,rtmps,http,https,tcp,udp,tls"
_DEVICE, _DEVICE_FORMAT = "/dev/video", "v4l2"
_POLL_SEC = 0.05


def is_stream(name: str) -> bool:
    """Whether a name is that of a stream or a camera, which can be opened again when it breaks off."""
    return "://" in name or name.startswith(_DEVICE)


@contextmanager
def open_live(
    name: str, *, is_over: Callable[[], bool], idle_sec: float, max_pixels: int = MAX_PIXELS
) -> Iterator[tuple[Any, Any]]:
    """Open what goes on: ``(PyAV container, the stream of its film)``, as :func:`kineflow.video.opening.open_video`.

    Args:
        name: An address that FFmpeg opens (``rtsp://…``, ``http://…``), a camera (``/dev/video0``), or a file.
        is_over: Asked while a file does not grow: whether nobody wants more of it.
        idle_sec: A file that has not grown for so long is at its end; a stream that gives nothing is broken off.
        max_pixels: Most pixels of a picture.

    Raises:
        KineflowError: It cannot be opened, or breaks off with an error.
    """
    if not is_stream(name):
        path = Path(name)
        try:
            content = path.open("rb")
        except OSError as error:
            raise KineflowError(f"cannot be read: {error.strerror}", where=path, remedy="check the path") from None
        with content, opened(_Growing(content, is_over, idle_sec), path, max_pixels) as video:
            yield video
        return
    shown = mask_uri(name)
    is_device = name.startswith(_DEVICE)
    options = {"threads": "1", "max_pixels": str(max_pixels), "rtsp_transport": "tcp", "fflags": "nobuffer"}
    if not is_device:
        options |= {"protocol_whitelist": _PROTOCOLS, "format_whitelist": _FORMATS}
    try:
        with av.open(
            name,
            format=_DEVICE_FORMAT if is_device else None,
            options=options,
            timeout=idle_sec,
            metadata_errors="replace",
        ) as container:
            stream = checked_film(container, shown, max_pixels)
            stream.codec_context.thread_count = 1
            stream.codec_context.options = {"max_pixels": str(max_pixels)}  # pictures that grow on the way
            yield container, stream
    except (av.error.FFmpegError, EOFError) as error:
        cause = getattr(error, "strerror", None) or type(error).__name__
        raise KineflowError(
            f"cannot be read: {cause}", where=shown, remedy="check that it plays: ffplay ADDRESS"
        ) from None


class _Growing:
    """A file as one that cannot be sought in: at its end it waits for more."""

    def __init__(self, content: Any, is_over: Callable[[], bool], idle_sec: float) -> None:
        self._content, self._is_over, self._idle_sec = content, is_over, idle_sec

    def read(self, size: int) -> bytes:
        until = time.monotonic() + self._idle_sec
        while not (part := self._content.read(size)) and time.monotonic() < until and not self._is_over():
            time.sleep(_POLL_SEC)
        return bytes(part)
